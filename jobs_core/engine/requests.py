"""Makes a job's record and its message from what a caller asks for. Nothing is stored or sent here.

The record holds what was asked; the message holds how QStash delivers it. Both are made together, so that
they can be written in one transaction.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from jobs_core.database.new_jobs import NewJob
from jobs_core.engine.job import current_job_id
from jobs_core.engine.payloads import wire_payload
from jobs_core.engine.registry import FAILURE_CALLBACK_PATH, JobDefinition, Registry
from jobs_core.model.clock import Clock
from jobs_core.model.envelope import JobEnvelope, Metadata, Subject
from jobs_core.model.errors import JobValidationError
from jobs_core.model.ids import new_job_id
from jobs_core.model.message import Message
from jobs_core.model.options import DeliveryOptions, forwarded, not_before_header, publish_headers, seconds
from jobs_core.model.records import JobRecord
from jobs_core.tracing import carried, enqueue_span

P = TypeVar("P", bound=BaseModel)
Duration = timedelta | float  # seconds, where it is a number


@dataclass(frozen=True, slots=True)
class JobRequest:
    """One job to enqueue: the arguments of ``enqueue`` as a value, for ``enqueue_many``."""

    job_type: str | JobDefinition[Any]
    payload: BaseModel | Mapping[str, Any]
    user_id: Subject | None = None
    organization_id: Subject | None = None
    idempotency_key: str | None = None
    parent_job_id: str | None = None
    delay: Duration | None = None
    not_before: datetime | None = None
    options: Mapping[str, Any] = field(default_factory=dict)  # of DeliveryOptions

    @classmethod
    def of(
        cls,
        job_type: str | JobDefinition[P],
        payload: P | Mapping[str, Any],
        *,
        user_id: Subject | None = None,
        organization_id: Subject | None = None,
        idempotency_key: str | None = None,
        parent_job_id: str | None = None,
        delay: Duration | None = None,
        not_before: datetime | None = None,
        timeout: Duration | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> "JobRequest":
        """Make one from the arguments of ``enqueue``. Nothing is checked yet."""
        return cls(
            job_type,
            payload,
            user_id=user_id,
            organization_id=organization_id,
            idempotency_key=idempotency_key,
            parent_job_id=parent_job_id,
            delay=delay,
            not_before=not_before,
            options=_given(
                timeout_seconds=None if timeout is None else _seconds("timeout", timeout),
                headers=dict(headers) if headers else None,
                **options,
            ),
        )


class Composer:
    """Makes the records and messages of one application, from its job types and public URL."""

    def __init__(self, registry: Registry, clock: Clock, *, base_url: str) -> None:
        self._registry = registry
        self._clock = clock
        self._base_url = base_url

    def prepare(self, request: JobRequest) -> NewJob:
        """Return the record and the message of a request. Nothing is stored.

        Raises:
            JobValidationError, UnknownJobTypeError: as ``enqueue``.
        """
        definition = self.definition(request.job_type)
        if request.idempotency_key == "":
            # Most likely a variable without a value: the second job of the type would never be made.
            raise JobValidationError(
                f"the idempotency_key of {definition.job_type} must not be empty; leave it out for none"
            )
        with enqueue_span(definition.job_type):
            return self._prepare(definition, request)

    def _prepare(self, definition: JobDefinition[Any], request: JobRequest) -> NewJob:
        payload = wire_payload(definition, request.payload)
        options = parse_options(definition, request.options)
        now = self._clock.now()
        job_id = new_job_id(now)
        metadata = parse_metadata(
            definition,
            user_id=request.user_id,
            organization_id=request.organization_id,
            idempotency_key=request.idempotency_key,
            parent_job_id=request.parent_job_id or current_job_id.get(),
            created_at=now,
        )
        deliver_at = _deliver_at(definition, request, now)
        not_before = _not_before(definition, request)
        message = self.message(
            definition,
            JobEnvelope(job_id=job_id, type=definition.job_type, payload=payload, metadata=metadata),
            options,
            deduplication_id=job_id,
            deliver_at=deliver_at,
            not_before=not_before,
        )
        return NewJob(
            job_id=job_id,
            job_type=definition.job_type,
            payload=payload,
            options=options,
            max_retries=max_retries(definition, options),
            created_at=now,
            message=message,
            user_id=metadata.user_id,
            organization_id=metadata.organization_id,
            idempotency_key=metadata.idempotency_key,
            parent_job_id=metadata.parent_job_id,
            next_attempt_at=not_before or deliver_at or now,
        )

    def definition(self, job_type: str | JobDefinition[Any]) -> JobDefinition[Any]:
        """Return the registry's definition of a job type. Raise UnknownJobTypeError."""
        return self._registry.get(job_type.job_type if isinstance(job_type, JobDefinition) else job_type)

    def message(
        self,
        definition: JobDefinition[Any],
        envelope: JobEnvelope,
        options: DeliveryOptions,
        *,
        deduplication_id: str,
        deliver_at: datetime | None = None,
        not_before: datetime | None = None,
    ) -> Message:
        """Return the message that delivers ``envelope``."""
        headers = forwarded(carried()) | self.headers(definition, options)
        if not_before is not None:
            headers["Upstash-Not-Before"] = not_before_header(not_before)
        return Message(
            job_id=envelope.job_id or "",
            destination=self.url(definition),
            body=envelope.to_json(),
            headers=headers,
            deduplication_id=deduplication_id,
            queue=options.queue,
            deliver_at=deliver_at,
        )

    def headers(self, definition: JobDefinition[Any], options: DeliveryOptions) -> dict[str, str]:
        """Return the headers that tell QStash how to deliver jobs of this type."""
        return publish_headers(
            options,
            retries=max_retries(definition, options),
            timeout=handler_timeout(definition, options),
            label=definition.job_type,
            failure_callback=f"{self._base_url}{FAILURE_CALLBACK_PATH}",
        )

    def url(self, definition: JobDefinition[Any]) -> str:
        """Return the URL that jobs of this type are delivered to, which is also the one that signatures are
        made for.
        """
        return f"{self._base_url}{definition.endpoint}"


def max_retries(definition: JobDefinition[Any], options: DeliveryOptions) -> int:
    """Return how often a failed attempt of this job is repeated."""
    return definition.retries if options.retries is None else options.retries


def handler_timeout(definition: JobDefinition[Any], options: DeliveryOptions) -> timedelta:
    """Return how long the handler may run for this job."""
    given = options.timeout_seconds
    return definition.timeout if given is None else timedelta(seconds=given)


def parse_options(definition: JobDefinition[Any], given: Mapping[str, Any]) -> DeliveryOptions:
    """Return delivery options as their model. Raise JobValidationError."""
    try:
        return DeliveryOptions.model_validate(dict(given))
    except ValidationError as error:
        raise JobValidationError.from_pydantic(f"the delivery of {definition.job_type}", error) from None


def parse_metadata(definition: JobDefinition[Any], **given: Any) -> Metadata:
    """Return a job's metadata as its model. Raise JobValidationError."""
    try:
        return Metadata(**given)
    except ValidationError as error:
        raise JobValidationError.from_pydantic(f"the metadata of {definition.job_type}", error) from None


def _given(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _seconds(name: str, value: object) -> float:
    """Return a duration argument in seconds. Raise JobValidationError."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (isinstance(value, timedelta) or is_number) or not math.isfinite(length := seconds(value)):  # type: ignore[arg-type]
        raise JobValidationError(f"{name} must be a timedelta, or a number of seconds, not {value!r}")
    return length


def _deliver_at(definition: JobDefinition[Any], request: JobRequest, now: datetime) -> datetime | None:
    if request.not_before is not None or request.delay is None:
        return None
    delay = _seconds(f"the delay of {definition.job_type}", request.delay)
    if delay < 0:
        raise JobValidationError(f"the delay of {definition.job_type} must not be negative, but is {delay} s")
    try:
        return now + timedelta(seconds=delay)
    except OverflowError:
        raise JobValidationError(
            f"the delay of {definition.job_type} must end before the year 10000, but is {delay:g} s"
        ) from None


def _not_before(definition: JobDefinition[Any], request: JobRequest) -> datetime | None:
    instant: Any = request.not_before
    if instant is not None and (not isinstance(instant, datetime) or instant.utcoffset() is None):
        raise JobValidationError(
            f"not_before of {definition.job_type} must be a datetime with a time zone, not {instant!r}"
        )
    return instant


def envelope_of(record: JobRecord) -> JobEnvelope:
    """Return the envelope of an existing job, to deliver it again."""
    metadata = Metadata(
        user_id=record.user_id,
        organization_id=record.organization_id,
        idempotency_key=record.idempotency_key,
        parent_job_id=record.parent_job_id,
        created_at=record.created_at,
    )
    return JobEnvelope(job_id=record.job_id, type=record.job_type, payload=record.payload, metadata=metadata)
