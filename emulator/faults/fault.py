"""One fault: what it does, and what it strikes. Values only."""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from emulator.errors import InvalidInput
from emulator.wire.durations import format_duration, parse_duration
from emulator.wire.headers import Headers
from emulator.wire.json_text import as_json


class Kind(StrEnum):
    """The effect of a fault. *Called* means that the destination gets the request."""

    REFUSE = "refuse"
    """Deliveries: the connection is refused. Not called."""
    DROP = "drop"
    """Deliveries: called, but the connection ends before its answer."""
    ANSWER = "answer"
    """Deliveries: answered with ``status`` (500 by default), ``responseHeaders``, ``responseBody``. Not called."""
    DELAY = "delay"
    """Deliveries: called after ``delay`` of the emulator's time."""
    TIME_OUT = "time-out"
    """Deliveries: called, but no answer comes within the message's timeout, which passes on the emulator's clock."""
    CUT_RESPONSE = "cut-response"
    """Deliveries: called, but only half of the answer's body arrives, or half of its head if it has no body."""
    DELIVER_TWICE = "deliver-twice"
    """Deliveries: called twice with the same message id; the second answer counts."""
    OUT_OF_ORDER = "out-of-order"
    """Deliveries: called after the other attempts that are under way, in reverse order."""
    WRONG_SIGNATURE = "wrong-signature"
    """Deliveries: signed with an unknown key."""
    EXPIRED_SIGNATURE = "expired-signature"
    """Deliveries: signed ten minutes ago, so that the signature expired five minutes ago."""
    NEXT_KEY_SIGNATURE = "next-key-signature"
    """Deliveries: signed with the next key, as after a rotation whose keys the receiver does not have yet."""
    OTHER_URL_SIGNATURE = "other-url-signature"
    """Deliveries: signed for another URL, as behind a proxy that rewrites it."""
    CRASH = "crash"
    """Deliveries: the emulator loses its non-durable state between accept and delivery, and starts again."""
    PUBLISH_ANSWER = "publish-answer"
    """Publish API: answers with ``status`` (429 by default), ``responseHeaders``, ``responseBody``."""
    PUBLISH_SILENCE = "publish-silence"
    """Publish API: never answers."""

    @property
    def strikes_publishing(self) -> bool:
        """Return whether it strikes calls of the publish API, not deliveries."""
        return self in (Kind.PUBLISH_ANSWER, Kind.PUBLISH_SILENCE)

    @property
    def is_in_signature(self) -> bool:
        """Return whether only the signature is wrong."""
        return self in (
            Kind.WRONG_SIGNATURE,
            Kind.EXPIRED_SIGNATURE,
            Kind.NEXT_KEY_SIGNATURE,
            Kind.OTHER_URL_SIGNATURE,
        )


_ANSWERING = (Kind.ANSWER, Kind.PUBLISH_ANSWER)


class Fault(BaseModel):
    """One fault and its conditions. An absent condition always holds; the given ones must all hold."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    id: str = ""
    kind: Kind
    destination: str | None = Field(
        None, min_length=1, description="The URL, or where it begins; * stands for any characters."
    )
    queue: str | None = Field(None, min_length=1, description="The queue's name.")
    label: str | None = Field(None, min_length=1, description="One of the message's labels.")
    header: str | dict[str, str] | None = Field(
        None, description="The name of a forwarded header, or headers with their values."
    )
    body: str | dict[str, Any] | None = Field(
        None, description="Text that the body contains, or members that its JSON object has."
    )
    step: str | None = Field(
        None,
        min_length=1,
        description="The workflow step whose result, plan or call is delivered; init: the trigger.",
    )
    skip: int = Field(0, ge=0, description="Number of matches that pass first.")
    count: int | None = Field(
        None, ge=1, description="Number of matches that it strikes; all without a count."
    )
    probability: float = Field(1.0, gt=0, le=1, description="Probability with which each match is struck.")
    seed: int | None = Field(None, description="Seed of the probability; by default the emulator's.")
    status: int | None = Field(None, ge=100, le=599, description="Status of the answer.")
    response_headers: dict[str, str] = Field(default_factory=dict, description="Headers of that answer.")
    response_body: str = Field("", description="Body of that answer.")
    delay: str | None = Field(None, description="How long a delivery is held, such as 30s.")
    accepted: bool = Field(False, description="Whether the publish takes effect although it fails.")

    @staticmethod
    def parse(fields: Mapping[str, Any]) -> "Fault":
        """Return a fault from fields by their JSON or Python names.

        Raises InvalidInput naming the field and what is accepted.
        """
        try:
            return Fault.model_validate(dict(fields))
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"][:1])
            raise InvalidInput(_refusal(name, first)) from None

    @field_validator("delay", mode="before")
    @classmethod
    def _duration(cls, value: Any) -> Any:
        if isinstance(value, timedelta):
            return format_duration(value // timedelta(milliseconds=1))
        if isinstance(value, str):
            try:
                parse_duration(value, field="delay")
            except InvalidInput as error:
                raise ValueError(str(error)) from None
        return value

    @model_validator(mode="before")
    @classmethod
    def _count_crashes(cls, fields: Any) -> Any:
        # The delivery is repeated after the crash, so without a count every attempt would crash.
        if isinstance(fields, dict) and fields.get("kind") == Kind.CRASH and fields.get("count") is None:
            return {**fields, "count": 1}
        return fields

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind is Kind.DELAY and self.delay is None:
            raise ValueError("a fault of kind delay needs a delay, such as 30s")
        if self.kind is not Kind.DELAY and self.delay is not None:
            raise ValueError(f"delay belongs to the kind delay, not to {self.kind.value}")
        if self.kind not in _ANSWERING and (self.status or self.response_headers or self.response_body):
            raise ValueError(
                "status, responseHeaders and responseBody belong to the kinds "
                f"{' and '.join(kind.value for kind in _ANSWERING)}, not to {self.kind.value}"
            )
        if self.accepted and not self.kind.strikes_publishing:
            raise ValueError(f"accepted belongs to faults of the publish API, not to {self.kind.value}")
        return self

    @property
    def delay_ms(self) -> int:
        """Return how long a delivery is held, in milliseconds."""
        return 0 if self.delay is None else parse_duration(self.delay, field="delay")

    @property
    def answer_headers(self) -> Headers:
        """Return the header lines of the response."""
        return tuple(self.response_headers.items())


def _refusal(name: str, error: Any) -> str:
    if error["type"] == "extra_forbidden":
        known = ", ".join(to_camel(field) for field in Fault.model_fields if field != "id")
        return f"invalid fault: unknown field {name!r}; accepted: {known}"
    if error["type"] == "missing":
        return f"invalid fault: {name} is missing; accepted: {', '.join(Kind)}"
    if not name:
        return f"invalid fault: {error['msg'].removeprefix('Value error, ')}"
    if error["type"] == "enum":
        return f"invalid fault: {name} {as_json(error['input'])} is unknown; accepted: {', '.join(Kind)}"
    return f"invalid fault: {name} {as_json(error['input'])}: {error['msg'].removeprefix('Value error, ')}"
