"""One HTTP request from QStash, and the job that it carries."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobs_core.database.new_jobs import NewJob
from jobs_core.engine.registry import JobDefinition
from jobs_core.engine.requests import max_retries
from jobs_core.model.envelope import JobEnvelope
from jobs_core.model.errors import JobValidationError
from jobs_core.model.ids import scheduled_job_id
from jobs_core.model.options import DeliveryOptions
from jobs_core.tracing import TRACE_HEADERS


@dataclass(frozen=True, slots=True)
class Delivery:
    """One HTTP request from QStash."""

    url: str  # public: BASE_URL and path
    body: bytes
    signature: str | None
    message_id: str | None
    retried: int
    schedule_id: str | None
    trace: Mapping[str, str]  # the trace context it carries, if it does
    max_retries: int | None = None  # of the message, where QStash says it
    region: str | None = None  # not verified: whoever sends it chooses among our own keys

    @classmethod
    def of(cls, url: str, body: bytes, headers: Mapping[str, str]) -> "Delivery":
        """Return the delivery that a request makes. The names in ``headers`` are in lower case."""
        max_retries = headers.get("upstash-max-retries")
        return cls(
            url=url,
            body=body,
            signature=headers.get("upstash-signature"),
            message_id=headers.get("upstash-message-id"),
            retried=_number(headers.get("upstash-retried", "0")),
            schedule_id=headers.get("upstash-schedule-id"),
            trace={name: headers[name] for name in TRACE_HEADERS if name in headers},
            max_retries=None if max_retries is None else _number(max_retries),
            region=headers.get("upstash-region"),
        )


def identify(envelope: JobEnvelope, *, schedule_id: str | None, message_id: str | None) -> str:
    """Return the id of the job in an envelope. Raise JobValidationError if it has none and is not from a schedule."""
    if envelope.job_id is not None:
        return envelope.job_id
    if schedule_id is not None and message_id is not None:
        return scheduled_job_id(schedule_id, message_id)
    raise JobValidationError("the job envelope has no jobId, and was not delivered by a schedule")


def read_envelope(definition: JobDefinition[Any], delivery: Delivery) -> tuple[str, JobEnvelope]:
    """Return the id and the envelope of the delivery's job. Raise JobValidationError if it is none of this type."""
    envelope = JobEnvelope.parse(delivery.body)
    if envelope.type != definition.job_type:
        raise JobValidationError(
            f"{definition.endpoint} takes {definition.job_type!r} jobs, not {envelope.type!r}"
        )
    return identify(envelope, schedule_id=delivery.schedule_id, message_id=delivery.message_id), envelope


def foreign_job(
    definition: JobDefinition[Any],
    job_id: str,
    envelope: JobEnvelope,
    schedule_id: str | None,
    now: datetime,
) -> NewJob:
    """Return the record of a job that was not enqueued here, but by another service or a schedule."""
    options = envelope.metadata.options or DeliveryOptions()
    return NewJob(
        job_id=job_id,
        job_type=definition.job_type,
        payload=envelope.payload,
        options=options,
        max_retries=max_retries(definition, options),
        created_at=now,
        user_id=envelope.metadata.user_id,
        organization_id=envelope.metadata.organization_id,
        idempotency_key=envelope.metadata.idempotency_key,
        parent_job_id=envelope.metadata.parent_job_id,
        schedule_id=schedule_id,
    )


def _number(text: str) -> int:
    """Return the number that up to nine digits spell, otherwise 0. The signature is not checked yet: anyone may send
    this.
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0
