"""Makes a genuine event into a job: recorded once, in one transaction, and answered without waiting for QStash.

The event's id is the job's idempotency key, and is stored in ``webhook_events``, which outlives the job.
Where the id is not signed, anyone with one signed body could send it again under another id, so there the
body itself must be new as well.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, or_, select

from jobs_core.database import dialects, new_jobs
from jobs_core.engine.app_context import AppContext
from jobs_core.engine.registry import JobType
from jobs_core.engine.requests import JobRequest
from jobs_core.model.errors import JobValidationError
from jobs_core.webhooks.events import STRIPE, STRIPE_ENVELOPE
from jobs_core.webhooks.tables import webhook_events
from jobs_core.webhooks.verifiers import Received

_THIN = "v2.core.event"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of receiving an event. ``is_new`` is false for one that was received before."""

    job_id: str
    is_new: bool


async def accept(
    context: AppContext, source: str, received: Received, body: bytes, *, ip_address: str | None = None
) -> Receipt:
    """Record the event and its job, and publish the job after the commit. Return after the commit.

    Raises:
        JobValidationError: the event cannot be carried by a job.
    """
    job = context.composer.prepare(_request(source, received, ip_address))
    digest = hashlib.sha256(body).hexdigest()
    now = context.clock.now()

    def write(connection: Connection) -> Receipt:
        if (earlier := _earlier(connection, source, received, digest)) is not None:
            return Receipt(earlier, is_new=False)
        (job_id,) = new_jobs.insert_jobs(connection, [job], locked_until=now)
        _remember(connection, source, received, digest, job_id, now)
        return Receipt(job_id, is_new=job_id == job.job_id)

    receipt = await context.database.write(write)
    if receipt.is_new:
        context.observer.enqueued(job.job_type)
        context.outbox.wake()
    return receipt


def _request(source: str, received: Received, ip_address: str | None) -> JobRequest:
    for name, text in (("event", received.event), ("event id", received.event_id)):
        if "\0" in text:
            raise JobValidationError(f"the {name} {text!r} holds a NUL character, which is not accepted")
    key = f"{source}:{received.event_id}"
    if source != STRIPE:
        payload: dict[str, Any] = {
            "source": source,
            "event": received.event,
            "data": received.data,
            "deliveryId": received.event_id,
        }
        return JobRequest(JobType.PROCESS_WEBHOOK, payload, idempotency_key=key)
    subject = _object(received.data)
    around = _around(received.data)
    payload = {
        "eventType": received.event,
        "eventId": received.event_id,
        "eventData": subject | ({STRIPE_ENVELOPE: around} if around else {}),
        "created": _seconds(received.data.get("created")),
        "customerId": _id_of(subject, "customer"),
        "subscriptionId": _id_of(subject, "subscription"),
        "ipAddress": ip_address,
    }
    return JobRequest(JobType.PROCESS_STRIPE_WEBHOOK, payload, idempotency_key=key)


def _object(event: dict[str, Any]) -> dict[str, Any]:
    data = event.get("data")
    if event.get("object") == _THIN:
        return data if isinstance(data, dict) else {}
    subject = data.get("object") if isinstance(data, dict) else None
    return subject if isinstance(subject, dict) else {}


def _around(event: dict[str, Any]) -> dict[str, Any]:
    """Return the given fields of Stripe's event beside its object."""
    data = event.get("data")
    found = {name: event.get(name) for name in ("account", "livemode", "context", "related_object")}
    found["previous_attributes"] = data.get("previous_attributes") if isinstance(data, dict) else None
    return {name: value for name, value in found.items() if value is not None}


def _seconds(created: object) -> object:
    """Return an event's time in unix seconds; thin events spell it as ISO 8601."""
    if not isinstance(created, str):
        return created
    try:
        return int(datetime.fromisoformat(created).timestamp())
    except (ValueError, OverflowError):
        return created  # refused by its field, in words


def _id_of(subject: dict[str, Any], kind: str) -> str | None:
    """Return the id of the ``kind`` that the object is, or refers to (by an id or as the expanded object)."""
    value = subject.get("id") if subject.get("object") == kind else subject.get(kind)
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, str) else None


def _earlier(connection: Connection, source: str, received: Received, digest: str) -> str | None:
    columns = webhook_events.c
    is_same = columns.event_id == received.event_id
    if not received.is_id_signed:
        is_same = or_(is_same, columns.body_digest == digest)
    found: str | None = connection.execute(
        select(columns.job_id).where(columns.source == source, is_same).limit(1)
    ).scalar_one_or_none()
    return found


def _remember(
    connection: Connection, source: str, received: Received, digest: str, job_id: str, now: datetime
) -> None:
    row = {
        "source": source,
        "event_id": received.event_id,
        "event": received.event,
        "body_digest": digest,
        "job_id": job_id,
        "received_at": now,
    }
    connection.execute(dialects.insert_into(webhook_events, connection).on_conflict_do_nothing(), row)
