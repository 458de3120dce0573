"""Writing job records: the statements that make and change them.

Each change of state is one conditional UPDATE, whose condition comes from the table in ``states``; the
function returns whether it happened. Every function runs inside a transaction that its caller commits.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    CursorResult,
    Dialect,
    Table,
    Update,
    and_,
    delete,
    func,
    not_,
    or_,
    select,
    tuple_,
    update,
)

from jobs_core.database import job_steps
from jobs_core.database.compiled import Row, SqlStatement
from jobs_core.database.statements import ADD_JOB, ADD_MESSAGE, ENDS, FIND_JOB_BY_KEY
from jobs_core.database.tables import attempts, delivers_job, executions, outbox
from jobs_core.model.envelope import Subject
from jobs_core.model.message import Message
from jobs_core.model.options import DeliveryOptions
from jobs_core.model.outcome import Finish
from jobs_core.model.records import JobRecord
from jobs_core.model.states import AttemptOutcome, Event, JobStatus, sources, target

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to record, with the message that delivers it.

    ``message`` is ``None`` for a job that arrives from elsewhere: from a schedule, or from another service.
    """

    job_id: str
    job_type: str
    payload: dict[str, Any]
    options: DeliveryOptions
    max_retries: int
    created_at: datetime
    message: Message | None = None
    user_id: Subject | None = None
    organization_id: Subject | None = None
    idempotency_key: str | None = None
    parent_job_id: str | None = None
    schedule_id: str | None = None
    next_attempt_at: datetime | None = None


# --- new jobs

_AT_ONCE = 1_000  # jobs a statement: PostgreSQL takes 65,535 parameters, and the rows' copies stay few


@dataclass(frozen=True, slots=True)
class NewJobs:
    """One caller's jobs to record. Until ``locked_until`` only that caller publishes their messages."""

    jobs: Sequence[NewJob]
    locked_until: datetime


def insert_jobs(connection: Connection, jobs: Sequence[NewJob], *, locked_until: datetime) -> Sequence[str]:
    """Record jobs and the intent to publish them. Return the id of each.

    Where a job's (type, idempotency key) exists, that job's id is returned and nothing is written. The unique
    constraint decides, so callers may race.
    """
    [job_ids] = insert_jointly(connection, [NewJobs(jobs, locked_until)])
    return job_ids


def insert_jointly(connection: Connection, wanted: Sequence[NewJobs]) -> list[Sequence[str]]:
    """Run ``insert_jobs`` for many callers at once. Return the ids of each one's jobs."""
    jobs = [(job, each.locked_until) for each in wanted for job in each.jobs]
    inserted: set[str] = set()
    earlier: dict[tuple[str, str | None], str] = {}
    for some in (jobs[start : start + _AT_ONCE] for start in range(0, len(jobs), _AT_ONCE)):
        inserted |= job_steps.add_jobs(connection, [_row_with_message(*each) for each in some])
        earlier |= _find_by_key(connection, [job for job, _ in some if job.job_id not in inserted])
    return [
        [
            job.job_id
            if job.job_id in inserted
            else earlier.get((job.job_type, job.idempotency_key), job.job_id)
            for job in each.jobs
        ]
        for each in wanted
    ]


def insert_plainly(
    jobs: Sequence[NewJob], *, locked_until: datetime, dialect: Dialect
) -> Generator[SqlStatement, Sequence[Row], list[str]]:
    """Run ``insert_jobs`` on a connection without SQLAlchemy: yield statements, and be sent the rows they return."""
    job_ids = []
    for job in jobs:
        job_id = job.job_id
        if (yield ADD_JOB.statement(dialect, _row(job))):
            if job.message is not None:
                row = outbox_row(job.message, created_at=job.created_at, locked_until=locked_until)
                yield ADD_MESSAGE.statement(dialect, row)
        elif job.idempotency_key is not None:
            key = {"job_type": job.job_type, "idempotency_key": job.idempotency_key}
            [(job_id,)] = yield FIND_JOB_BY_KEY.statement(dialect, key)
        job_ids.append(job_id)
    return job_ids


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


def add_job(connection: Connection, job: NewJob, *, message_id: str | None) -> None:
    """Record a job that arrived from elsewhere by a message, unless its id or its idempotency key is taken."""
    row = _row(job) | {"message_id": message_id}
    connection.execute(insert_into(executions, connection).on_conflict_do_nothing(), row)


def add_message(
    connection: Connection, message: Message, *, created_at: datetime, locked_until: datetime
) -> bool:
    """Write a further message for an existing job. Return false if it exists already."""
    row = outbox_row(message, created_at=created_at, locked_until=locked_until)
    return insert_unless_there(connection, outbox, row)


# --- changes of state


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery's request for its job, for one attempt under a lease."""

    job_id: str
    message_id: str | None
    now: datetime
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job claimed for attempt ``number`` (1, 2, 3, …), with what its record says."""

    number: int
    failures: int  # of the job itself, since it was enqueued or retried by hand
    max_retries: int
    options: DeliveryOptions


@dataclass(frozen=True, slots=True)
class Died:
    """A job that has failed because its workers died too often while they ran it."""

    error: str


# After so many runs in a row whose worker was killed, the job is taken for the cause, by the memory it uses for one.
MOST_DEATHS = 3


def claim(connection: Connection, claims: Sequence[Claim]) -> list[Claimed | Died | None]:
    """Claim jobs for one attempt each; ``None`` where a job cannot be had.

    A job can be had while it is pending, and again when its holder's lease has ended, unless its workers have
    died in `MOST_DEATHS` runs in a row: then it fails. Of two claims for the same job the first wins.
    """
    first: dict[str, Claim] = {}
    for wish in claims:
        first.setdefault(wish.job_id, wish)
    rows = {job_id: _claiming(wish) for job_id, wish in first.items()}
    claimed = {
        job_id: _claimed(*found) for job_id, *found in job_steps.claim(connection, list(rows.values()))
    }
    died: dict[str, Died] = {}
    for job_id, got in claimed.items():
        now = first[job_id].now
        was_lost = got.number > 1 and _close_lost_attempts(connection, job_id, now)
        if was_lost and _deaths(connection, job_id, before=got.number) % MOST_DEATHS == 0:
            died[job_id] = _fail_unrun(connection, job_id, got.number, now)
    again = [
        job_steps.attempt_row(rows[job_id], number=got.number)
        for job_id, got in claimed.items()
        if got.number > 1 and job_id not in died
    ]
    if again:
        job_steps.add_attempts(connection, again)
    found: dict[str, Claimed | Died] = {**claimed, **died}
    return [found.get(wish.job_id) if first[wish.job_id] is wish else None for wish in claims]


def extend_lease(connection: Connection, job_id: str, *, lease_until: datetime) -> None:
    """Set the end of the lease of a job that was claimed in this transaction."""
    connection.execute(
        update(executions).where(executions.c.job_id == job_id).values(lease_until=lease_until)
    )


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended."""

    job_id: str
    number: int
    how: Finish
    now: datetime


def finish(connection: Connection, ended: Sequence[Ended]) -> list[bool]:
    """Record how attempts ended. Return false where the attempt no longer holds the job: taken over, or cancelled."""
    kept: set[tuple[str, int]] = set()
    for event in ENDS:
        rows = [_ending(each) for each in ended if each.how.event is event]
        if rows:
            kept |= job_steps.finish(connection, event, rows)
    changed = [(each.job_id, each.number) in kept for each in ended]
    lost = [each for each, is_kept in zip(ended, changed, strict=True) if not is_kept]
    job_steps.end_attempts(
        connection, [_ending(each) | {"ended_as": AttemptOutcome.CANCELLED.value} for each in lost]
    )
    return changed


def has_ended(connection: Connection, ended: Ended) -> bool:
    """Return whether the attempt is recorded with just this outcome, not taken over or cancelled."""
    found = select(attempts.c.id).where(
        attempts.c.job_id == ended.job_id,
        attempts.c.number == ended.number,
        attempts.c.outcome == ended.how.outcome,
    )
    return connection.execute(found).first() is not None


def abandon(
    connection: Connection, job_id: str, *, error: str, now: datetime, seen: JobRecord | None = None
) -> bool:
    """Fail a job that gets no further attempt, unless one runs under a lease that has not ended. Return
    whether it did.

    ``seen`` is the record that the decision rests on: a job that has gone on since is left alone.
    """
    values = {
        "status": target(Event.ABANDON),
        "error": error,  # the attempts keep their own errors
        "lease_until": None,
        "next_attempt_at": None,
        "completed_at": now,
        "updated_at": now,
    }
    is_idle = or_(executions.c.lease_until.is_(None), executions.c.lease_until <= now)
    is_as_seen = () if seen is None else _is_still(seen)
    changed = _change(connection, job_id, Event.ABANDON, values, is_idle, *is_as_seen)
    if changed:
        _close_lost_attempts(connection, job_id, now)
        discard_messages(connection, job_id)
    return changed


def cancel(connection: Connection, job_id: str, *, now: datetime) -> bool:
    """Cancel an unfinished job. A running handler is not stopped, but its outcome is not recorded.

    Its attempt ends here, for its worker may be dead already.
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
        connection.execute(_running(job_id).values(outcome=AttemptOutcome.CANCELLED, finished_at=now))
        discard_messages(connection, job_id)
    return changed


def revive(connection: Connection, job_id: str, *, now: datetime) -> int | None:
    """Make a finished job pending again, to be continued by a message that is still to be published. Return the
    number of its new run, or ``None`` if it is not finished.
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


def report_progress(
    connection: Connection,
    job_id: str,
    attempt_number: int,
    *,
    fraction: float,
    note: str | None,
    now: datetime,
) -> bool:
    """Store the attempt's progress. Return false if the attempt no longer holds the job."""
    statement = (
        update(executions)
        .where(
            executions.c.job_id == job_id,
            executions.c.status == JobStatus.PROCESSING,
            executions.c.attempt_count == attempt_number,
        )
        .values(progress=fraction, progress_note=note, updated_at=now)
    )
    return changed_rows(connection.execute(statement)) > 0


def release_message(connection: Connection, record: JobRecord, *, now: datetime, next_at: datetime) -> bool:
    """Set a job to be continued by a message that is still to be published, and by no earlier one. Return false
    if the job has changed meanwhile.

    ``next_at`` is when that message is due; for a running attempt the lease says so already.
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


CUT_OFF_STATUS = 503  # what the worker would have answered; an attempt whose worker died has none


def give_back(connection: Connection, job_id: str, attempt_number: int, *, now: datetime) -> None:
    """End the lease of an interrupted attempt, and record it as lost."""
    columns = executions.c
    connection.execute(
        update(executions)
        .where(
            columns.job_id == job_id,
            columns.status == JobStatus.PROCESSING,
            columns.attempt_count == attempt_number,
        )
        .values(lease_until=now, updated_at=now)
    )
    connection.execute(
        update(attempts)
        .where(
            attempts.c.job_id == job_id,
            attempts.c.number == attempt_number,
            attempts.c.outcome == AttemptOutcome.RUNNING,
        )
        .values(
            outcome=AttemptOutcome.LOST,
            status_code=CUT_OFF_STATUS,
            error="cut off: the worker was stopped",
            finished_at=now,
        )
    )


def discard_messages(connection: Connection, job_id: str) -> None:
    """Delete the messages that are still to be published, or to be noted as published, to deliver the job."""
    connection.execute(delete(outbox).where(outbox.c.job_id == job_id, delivers_job))


# --- helpers


def _is_still(record: JobRecord) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that no attempt and no further message has come since ``record`` was read."""
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


def _claimed(number: int, failures: int, max_retries: int, options: dict[str, Any]) -> Claimed:
    return Claimed(number, failures, max_retries, DeliveryOptions.model_validate(options))


def _claiming(wish: Claim) -> dict[str, Any]:
    return {
        "of_job": wish.job_id,
        "now": wish.now,
        "until": wish.lease_until,
        "delivered_as": wish.message_id,
    }


def _ending(ended: Ended) -> dict[str, Any]:
    how = ended.how
    return {
        "of_job": ended.job_id,
        "of_number": ended.number,
        "ended_as": how.outcome.value,
        "answered": how.status_code,
        "what_failed": how.error,
        "where_failed": how.traceback,
        "again_at": how.next_attempt_at,
        "now": ended.now,
        "returned": how.result,
    }


def _close_lost_attempts(connection: Connection, job_id: str, now: datetime) -> bool:
    """Record that a running attempt's worker died. Return false if none was running."""
    closed = connection.execute(
        _running(job_id).values(
            outcome=AttemptOutcome.LOST,
            error="the worker died, or ran longer than its lease, without an answer",
            finished_at=now,
        )
    )
    return changed_rows(closed) > 0


def _running(job_id: str) -> Update:
    return update(attempts).where(attempts.c.job_id == job_id, attempts.c.outcome == AttemptOutcome.RUNNING)


def _deaths(connection: Connection, job_id: str, *, before: int) -> int:
    """Return in how many attempts in a row, up to the one before number ``before``, the worker died."""
    columns = attempts.c
    is_death = and_(columns.outcome == AttemptOutcome.LOST, columns.status_code.is_(None))
    other = connection.execute(
        select(func.max(columns.number)).where(
            columns.job_id == job_id, columns.number < before, not_(is_death)
        )
    ).scalar()
    return before - 1 - (other or 0)


def _fail_unrun(connection: Connection, job_id: str, number: int, now: datetime) -> Died:
    """Fail a job instead of starting attempt ``number``, for which it was claimed in this transaction."""
    error = f"its worker died in {MOST_DEATHS} runs in a row (killed? out of memory?); it is not run again"
    connection.execute(
        update(executions)
        .where(executions.c.job_id == job_id)
        .values(
            status=target(Event.FAIL),
            attempt_count=number - 1,
            error=error,
            lease_until=None,
            completed_at=now,
            updated_at=now,
        )
    )
    discard_messages(connection, job_id)
    return Died(error)


def _find_by_key(connection: Connection, jobs: Sequence[NewJob]) -> dict[tuple[str, str | None], str]:
    keys = [(job.job_type, job.idempotency_key) for job in jobs if job.idempotency_key is not None]
    if not keys:
        return {}
    columns = executions.c.job_type, executions.c.idempotency_key
    found = connection.execute(select(*columns, executions.c.job_id).where(tuple_(*columns).in_(keys)))
    return {(row.job_type, row.idempotency_key): row.job_id for row in found}


def insert_unless_there(connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert ``row`` unless one of its unique keys exists. Return whether it was inserted.

    Drivers do not agree on the row count of an INSERT (psycopg's is -1 where SQLAlchemy does not ask for it),
    so the statement returns what it wrote.
    """
    statement = insert_into(table, connection).values(row).on_conflict_do_nothing().returning(table.c[0])
    return connection.execute(statement).first() is not None


def changed_rows(result: CursorResult[Any]) -> int:
    """Return how many rows an UPDATE or DELETE changed.

    Raises:
        RuntimeError: the driver does not know; taken for a number, its -1 would mean yes.
    """
    if result.rowcount < 0:
        raise RuntimeError("the database driver does not say how many rows were changed")
    return result.rowcount


def insert_into(table: Table, connection: Connection) -> "sqlite.Insert | postgresql.Insert":
    """An INSERT of the connection's own dialect, which knows ON CONFLICT."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # slow to import, and only needed on PostgreSQL

    return postgresql.insert(table)


def _row_with_message(job: NewJob, locked_until: datetime) -> dict[str, Any]:
    message = job.message
    if message is None:
        return {**job_steps.NO_MESSAGE, **_row(job)}
    return outbox_row(message, created_at=job.created_at, locked_until=locked_until) | _row(job)


def _row(job: NewJob) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "job_type": job.job_type,
        "status": JobStatus.PENDING,
        "payload": job.payload,
        "options": job.options.to_record(),
        "retry_count": 0,
        "max_retries": job.max_retries,
        "attempt_count": 0,
        "run": 0,
        "user_id": job.user_id,
        "organization_id": job.organization_id,
        "idempotency_key": job.idempotency_key,
        "parent_job_id": job.parent_job_id,
        "schedule_id": job.schedule_id,
        "next_attempt_at": job.next_attempt_at or job.created_at,
        "created_at": job.created_at,
        "updated_at": job.created_at,
    }
