"""Deletes old finished data, a batch at a time.

A batch is one short transaction, so that enqueueing waits for one batch at most. Every condition is in the
DELETE itself, not only in the query that finds its rows: a job that is revived between the two is left alone.
"""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection, Table, and_, delete, select
from sqlalchemy.sql.elements import ColumnElement

from jobs_core.database.dialects import changed_rows
from jobs_core.database.tables import executions, outbox
from jobs_core.emails.tables import email_deliveries
from jobs_core.model.states import FINISHED
from jobs_core.notifications.tables import notifications
from jobs_core.webhooks.tables import webhook_events

Batch = Callable[[Connection, datetime, int], int]  # (connection, before, limit) -> how many were removed


def executions_batch(connection: Connection, before: datetime, limit: int) -> int:
    """Delete jobs that ended before then, with their attempts; never unfinished ones, or ones with messages
    to publish.
    """
    columns = executions.c
    waiting = select(outbox.c.job_id).where(outbox.c.job_id == columns.job_id).exists()
    is_old = and_(
        columns.status.in_(sorted(FINISHED)),
        columns.created_at < before,  # implied by the next, and what the index serves
        columns.completed_at < before,
        ~waiting,
    )
    return _delete_batch(connection, executions, is_old, limit)


def notifications_batch(connection: Connection, before: datetime, limit: int) -> int:
    """Delete notifications that were made and read before then; unread ones stay."""
    columns = notifications.c
    return _delete_batch(
        connection, notifications, and_(columns.created_at < before, columns.read_at < before), limit
    )


def webhook_events_batch(connection: Connection, before: datetime, limit: int) -> int:
    """Delete webhook events received before then: their replays are no longer recognized."""
    return _delete_batch(connection, webhook_events, webhook_events.c.received_at < before, limit)


def email_deliveries_batch(connection: Connection, before: datetime, limit: int) -> int:
    """Delete the status of e-mails sent before then."""
    return _delete_batch(connection, email_deliveries, email_deliveries.c.created_at < before, limit)


def _delete_batch(connection: Connection, table: Table, condition: ColumnElement[bool], limit: int) -> int:
    found = select(table.c.id).where(condition).limit(limit)
    return changed_rows(
        connection.execute(delete(table).where(table.c.id.in_(found.scalar_subquery()), condition))
    )
