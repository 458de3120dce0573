"""The rows of the outbox: messages that are still to be published.

Every function runs inside a transaction that its caller commits.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete

from jobs_core.database.dialects import insert_unless_there
from jobs_core.database.tables import delivers_job, outbox
from jobs_core.model.message import Message


def outbox_row(message: Message, *, created_at: datetime, locked_until: datetime) -> dict[str, Any]:
    """Return a message as a row of the outbox."""
    return {
        "job_id": message.job_id,
        "deduplication_id": message.deduplication_id,
        "destination": message.destination,
        "queue": message.queue,
        "headers": dict(message.headers),
        "body": message.body,
        "deliver_at": message.deliver_at,
        "locked_until": locked_until,
        "failures": 0,
        "created_at": created_at,
    }


def add_message(
    connection: Connection, message: Message, *, created_at: datetime, locked_until: datetime
) -> bool:
    """Add a further message for an existing job. Return false if its deduplication id is there already."""
    row = outbox_row(message, created_at=created_at, locked_until=locked_until)
    return insert_unless_there(connection, outbox, row)


def discard_messages(connection: Connection, job_id: str) -> None:
    """Delete the job's messages that are not yet published, or published and not yet noted in the job's record."""
    connection.execute(delete(outbox).where(outbox.c.job_id == job_id, delivers_job))
