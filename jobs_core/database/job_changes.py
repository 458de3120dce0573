"""Changes of jobs from outside their attempts: given up, cancelled, run again, delivered by another message.

Each change of state is one conditional UPDATE, whose condition comes from the table in ``states``; the function
returns whether it happened. Every function runs inside a transaction that its caller commits.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, or_, update

from jobs_core.database.dialects import changed_rows
from jobs_core.database.job_attempts import cancel_running_attempt, close_lost_attempts
from jobs_core.database.outbox_rows import discard_messages
from jobs_core.database.tables import executions
from jobs_core.model.recordable import storable
from jobs_core.model.records import JobRecord
from jobs_core.model.states import Event, JobStatus, sources, target


def abandon(
    connection: Connection, job_id: str, *, error: str, now: datetime, seen: JobRecord | None = None
) -> bool:
    """Fail a job that gets no further attempt. Return false if an attempt runs under a lease that has not ended.

    ``seen`` is the record that the decision was based on: if the job has changed since, nothing is written.
    """
    values = {
        "status": target(Event.ABANDON),
        "error": storable(error),  # the attempts keep their own errors
        "lease_until": None,
        "next_attempt_at": None,
        "completed_at": now,
        "updated_at": now,
    }
    is_idle = or_(executions.c.lease_until.is_(None), executions.c.lease_until <= now)
    is_as_seen = () if seen is None else _is_still(seen)
    changed = _change(connection, job_id, Event.ABANDON, values, is_idle, *is_as_seen)
    if changed:
        close_lost_attempts(connection, job_id, now)
        discard_messages(connection, job_id)
    return changed


def cancel(connection: Connection, job_id: str, *, now: datetime) -> bool:
    """Cancel an unfinished job. Return false if it is finished.

    A running handler is not stopped, but its outcome is not recorded. Its attempt is recorded as cancelled here,
    because its worker may be dead.
    """
    values = {
        "status": target(Event.CANCEL),
        "lease_until": None,
        "next_attempt_at": None,
        "completed_at": now,
        "updated_at": now,
    }
    changed = _change(connection, job_id, Event.CANCEL, values)
    if changed:
        cancel_running_attempt(connection, job_id, now)
        discard_messages(connection, job_id)
    return changed


def revive(connection: Connection, job_id: str, *, now: datetime) -> int | None:
    """Make a finished job pending again. Return the number of its new run, or ``None`` if it is not finished.

    The caller adds the message that delivers it.
    """
    statement = (
        update(executions)
        .where(executions.c.job_id == job_id, executions.c.status.in_(sources(Event.REVIVE)))
        .values(
            status=target(Event.REVIVE),
            run=executions.c.run + 1,
            retry_count=0,
            message_id=None,
            error=None,
            result=None,
            progress=None,
            progress_note=None,
            completed_at=None,
            updated_at=now,
        )
        .returning(executions.c.run)
    )
    run_number: int | None = connection.execute(statement).scalar_one_or_none()
    if run_number is not None:
        discard_messages(connection, job_id)
    return run_number


def release_message(connection: Connection, record: JobRecord, *, now: datetime, next_at: datetime) -> bool:
    """Prepare a job for a further message, which replaces the earlier ones. Return false if the job has changed
    since ``record`` was read.

    ``next_at`` is when the further message is due. It is recorded of a pending job only; a running one has its lease.
    """
    columns = executions.c
    values: dict[str, Any] = {"message_id": None, "updated_at": now}
    if record.status is JobStatus.PENDING:
        values["next_attempt_at"] = next_at
    statement = (
        update(executions)
        .where(
            columns.job_id == record.job_id,
            columns.status == record.status,
            columns.run == record.run,
            columns.attempt_count == record.attempt_count,
            columns.lease_until.is_not_distinct_from(record.lease_until),
        )
        .values(**values)
    )
    changed = changed_rows(connection.execute(statement)) > 0
    if changed:
        discard_messages(connection, record.job_id)
    return changed


def _is_still(record: JobRecord) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that the job has had no attempt and no further message since ``record`` was read."""
    columns = executions.c
    return (
        columns.run == record.run,
        columns.attempt_count == record.attempt_count,
        columns.message_id.is_not_distinct_from(record.message_id),
    )


def _change(
    connection: Connection, job_id: str, event: Event, values: dict[str, Any], *conditions: Any
) -> bool:
    statement = (
        update(executions)
        .where(executions.c.job_id == job_id, executions.c.status.in_(sources(event)), *conditions)
        .values(**values)
    )
    return changed_rows(connection.execute(statement)) > 0
