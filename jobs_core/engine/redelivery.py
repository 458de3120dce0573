"""A further message for a job that is not finished although its message is, or soon will be.

A job's retries are its own failures, counted in its record. QStash counts deliveries, and gives up a message
when they are used up for any reason. So where a delivery met a running attempt, or was the last that QStash
makes while the job has retries left, the job gets another message: written with the change of its record,
published by the outbox. It asks for as many retries as the job has left. See docs/core-concepts.md, "Lease
and retry".
"""

import hashlib
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from jobs_core.database import job_changes, outbox_rows
from jobs_core.engine.registry import JobDefinition
from jobs_core.engine.requests import Composer, envelope_of
from jobs_core.model.message import Message
from jobs_core.model.records import JobRecord


def further_message(
    composer: Composer,
    definition: JobDefinition[Any],
    record: JobRecord,
    *,
    instead_of: str | None,
    not_before: datetime,
) -> Message:
    """Return the message that delivers the job again, not before an instant.

    ``instead_of`` is the id of the message that ended: of several who notice its end, all make the same message.
    """
    left = max(0, record.max_retries - record.retry_count)
    options = record.options.model_copy(update={"retries": left})
    ended = hashlib.sha256((instead_of or "").encode()).hexdigest()[:16]
    return composer.message(
        definition,
        envelope_of(record),
        options,
        deduplication_id=f"{record.job_id}.{record.run}.{record.attempt_count}.{ended}",
        not_before=not_before,
    )


def write_further(
    connection: Connection, record: JobRecord, message: Message, *, now: datetime, not_before: datetime
) -> bool:
    """Write the message. Return false, and write nothing, if the job has changed since ``record`` was read."""
    if not job_changes.release_message(connection, record, now=now, next_at=not_before):
        return False
    outbox_rows.add_message(connection, message, created_at=now, locked_until=now)
    return True
