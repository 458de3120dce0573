"""Recording new jobs, each with the message that delivers it.

The functions that take a connection run inside a transaction that their caller commits.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Dialect, select, tuple_

from jobs_core.database import job_steps
from jobs_core.database.compiled import Row, SqlStatement
from jobs_core.database.dialects import insert_into
from jobs_core.database.outbox_rows import outbox_row
from jobs_core.database.statements import ADD_JOB, ADD_MESSAGE, FIND_JOB_BY_KEY
from jobs_core.database.tables import executions
from jobs_core.model.envelope import Subject
from jobs_core.model.message import Message
from jobs_core.model.options import DeliveryOptions
from jobs_core.model.states import JobStatus

_AT_ONCE = 1_000  # jobs a statement: PostgreSQL takes 65,535 parameters, and the rows' copies stay few


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


@dataclass(frozen=True, slots=True)
class NewJobs:
    """The jobs that one caller records. Until ``locked_until`` only that caller publishes their messages."""

    jobs: Sequence[NewJob]
    locked_until: datetime


def insert_jobs(connection: Connection, jobs: Sequence[NewJob], *, locked_until: datetime) -> Sequence[str]:
    """Record jobs, and their messages in the outbox. Return the id of each job.

    Where a job with the same type and idempotency key exists, return that job's id and write nothing. The unique
    constraint decides, so callers may race.
    """
    [job_ids] = insert_jointly(connection, [NewJobs(jobs, locked_until)])
    return job_ids


def insert_jointly(connection: Connection, wanted: Sequence[NewJobs]) -> list[Sequence[str]]:
    """Do what ``insert_jobs`` does for several callers at once. Return the ids of each caller's jobs."""
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
    """Do what ``insert_jobs`` does on a connection without SQLAlchemy: yield each statement, and receive its rows."""
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


def add_job(connection: Connection, job: NewJob, *, message_id: str | None) -> None:
    """Record a job that another service or a schedule published, unless its id or its idempotency key is taken."""
    row = _row(job) | {"message_id": message_id}
    connection.execute(insert_into(executions, connection).on_conflict_do_nothing(), row)


def _find_by_key(connection: Connection, jobs: Sequence[NewJob]) -> dict[tuple[str, str | None], str]:
    keys = [(job.job_type, job.idempotency_key) for job in jobs if job.idempotency_key is not None]
    if not keys:
        return {}
    columns = executions.c.job_type, executions.c.idempotency_key
    found = connection.execute(select(*columns, executions.c.job_id).where(tuple_(*columns).in_(keys)))
    return {(row.job_type, row.idempotency_key): row.job_id for row in found}


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
