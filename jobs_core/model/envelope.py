"""A job on the wire: one JSON object in camelCase, so that services in other languages can share queues.

::

    {"jobId": "…", "type": "send-email", "payload": {…},
     "metadata": {"userId": 1, "organizationId": "acme", "idempotencyKey": "signup-1", "createdAt": "…Z"}}

A schedule delivers the same body every time, so its envelope has no ``jobId``; each firing's id follows from
the schedule and the message (``ids.scheduled_job_id``). It may have ``metadata.options``, what was said of the
delivery beside what the job type says.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_serializer,
)
from pydantic.alias_generators import to_camel

from jobs_core.model.errors import JobValidationError
from jobs_core.model.ids import JobId
from jobs_core.model.options import DeliveryOptions

PROBE_JOB_TYPE = "check-round-trip"
"""What ``jobs-core check`` sends: counted and listed nowhere, unless it is asked for."""

Subject = int | str  # whose job it is: applications number their users, or name them
Json = dict[str, Any]

# As long as its column, less the quotes that ``tables.SubjectId`` may add; PostgreSQL keeps no NUL.
Name = Annotated[str, StringConstraints(max_length=250, pattern=r"^[^\x00]*$")]


def _no_truth(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number or a text, not true or false")  # noqa: TRY004 -- pydantic's way
    return value


# An application's own numbers, which its database counts to 2**63.
SubjectValue = Annotated[
    Annotated[int, Field(ge=-(2**63), lt=2**63)] | Name | None, BeforeValidator(_no_truth)
]


def subject_of(text: str) -> Subject:
    """Return the subject that a text names, where numbers and names are spelled alike: a whole number of up to
    eighteen digits as an int.

    >>> subject_of("7"), subject_of("-7"), subject_of("seven")
    (7, -7, 'seven')
    """
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else text


class _Wire(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
    )


class Metadata(_Wire):
    """A job's data beside its payload."""

    user_id: SubjectValue = None
    organization_id: SubjectValue = None
    idempotency_key: Name | None = None
    parent_job_id: JobId | None = None
    created_at: AwareDatetime | None = None
    options: DeliveryOptions | None = None  # only in a schedule's template: how its firings are delivered

    @field_serializer("created_at")
    def _utc(self, value: datetime | None) -> str | None:
        return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")


class JobEnvelope(_Wire):
    """A job as it is delivered. ``job_id`` is ``None`` only in a schedule's template."""

    job_id: JobId | None = None
    type: str = Field(min_length=1, max_length=255)
    payload: Json
    metadata: Metadata = Field(default_factory=Metadata)

    def to_json(self) -> str:
        """Return the body to publish; absent values are left out."""
        return self.model_dump_json(by_alias=True, exclude_none=True)

    @classmethod
    def parse(cls, body: bytes) -> "JobEnvelope":
        """Return a delivered body as its model.

        Raises:
            JobValidationError: if it is not an envelope, with the path of every field that is wrong.
        """
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise JobValidationError.from_pydantic("the job envelope", error) from None
