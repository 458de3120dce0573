"""Queries for job records. Each runs inside its caller's transaction and changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Row, Select, and_, func, or_, select

from jobs_core.database.tables import attempts, delivers_job, executions, outbox
from jobs_core.model.backoff import LONGEST_WAIT
from jobs_core.model.envelope import PROBE_JOB_TYPE, Subject, SubjectValue
from jobs_core.model.errors import JobValidationError
from jobs_core.model.recordable import storable
from jobs_core.model.records import AttemptRecord, JobRecord
from jobs_core.model.states import Event, JobStatus, sources

_SUBJECT: TypeAdapter[Subject | None] = TypeAdapter(SubjectValue)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list. ``before_id`` is the previous page's ``next_before_id``."""

    status: JobStatus | None = None
    job_type: str | None = None
    user_id: Subject | None = None
    organization_id: Subject | None = None
    schedule_id: str | None = None
    parent_job_id: str | None = None
    text: str | None = None
    """Part of an id, type, idempotency key or error."""
    created_after: datetime | None = None
    created_before: datetime | None = None
    before_id: int | None = None
    limit: int = 50

    def __post_init__(self) -> None:
        """Raise JobValidationError for a value that no job can have: the databases refuse it, each in its own way."""
        for name in ("user_id", "organization_id"):
            object.__setattr__(self, name, _subject(name, getattr(self, name)))
        for name in ("job_type", "schedule_id", "parent_job_id", "text"):
            _check_text(name, getattr(self, name))


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of jobs, the newest first; ``next_before_id`` is ``None`` on the last page."""

    jobs: tuple[JobRecord, ...] = field(default_factory=tuple)
    next_before_id: int | None = None


@dataclass(frozen=True, slots=True)
class TypeStats:
    """Number of jobs of one type in one state."""

    job_type: str
    status: JobStatus
    count: int


def get(connection: Connection, job_id: str, *, with_attempts: bool = True) -> JobRecord | None:
    """Return one job, by default with its attempts in order; ``None`` if there is none."""
    row = connection.execute(select(executions).where(executions.c.job_id == job_id)).one_or_none()
    if row is None:
        return None
    record = _record(row)
    if not with_attempts:
        return record
    found = connection.execute(
        select(attempts).where(attempts.c.job_id == job_id).order_by(attempts.c.number)
    )
    return record.model_copy(update={"attempts": tuple(AttemptRecord.model_validate(each) for each in found)})


def unpublished(connection: Connection, job_id: str) -> set[str]:
    """Return the deduplication ids of the messages with which the job is still to be delivered, or which are not
    yet noted as published.
    """
    query = select(outbox.c.deduplication_id).where(outbox.c.job_id == job_id, delivers_job)
    return set(connection.execute(query).scalars())


def page(connection: Connection, wanted: JobFilter) -> JobPage:
    """Return one page of the jobs that match, the newest first."""
    rows = connection.execute(_page_query(wanted)).all()
    shown = rows[: wanted.limit]
    has_more = len(rows) > wanted.limit
    return JobPage(tuple(_record(row) for row in shown), shown[-1].id if has_more else None)


def stats(connection: Connection, *, since: datetime) -> list[TypeStats]:
    """Return, by job type, how many jobs created from ``since`` on are in each state."""
    columns = executions.c
    rows = connection.execute(
        select(columns.job_type, columns.status, func.count())
        .where(columns.created_at >= since, columns.job_type != PROBE_JOB_TYPE)
        .group_by(columns.job_type, columns.status)
        .order_by(columns.job_type, columns.status)
    )
    return [TypeStats(job_type, JobStatus(status), count) for job_type, status, count in rows]


def working_seconds(connection: Connection, job_ids: Sequence[str]) -> dict[str, float]:
    """Return, by job id, the seconds its handler worked over all ended attempts. Jobs without one are left out."""
    found: dict[str, float] = {}
    columns = attempts.c
    query = select(columns.job_id, columns.started_at, columns.finished_at).where(
        columns.job_id.in_(job_ids), columns.finished_at.is_not(None)
    )
    for job_id, started_at, finished_at in connection.execute(query):
        found[job_id] = found.get(job_id, 0.0) + (finished_at - started_at).total_seconds()
    return found


def overdue(connection: Connection, *, expected_before: datetime, limit: int) -> list[JobRecord]:
    """Return unfinished jobs whose next change was expected before ``expected_before``, the oldest first.

    A running attempt is expected to change when its lease ends; a pending job at its next attempt, or, if
    that is not known, a day after its last change: QStash waits no longer than that between attempts.
    """
    columns = executions.c
    known = func.coalesce(columns.lease_until, columns.next_attempt_at, type_=columns.lease_until.type)
    is_due = or_(
        known <= expected_before,
        and_(known.is_(None), columns.updated_at <= expected_before - LONGEST_WAIT),
    )
    waiting = select(outbox.c.job_id).where(outbox.c.job_id == executions.c.job_id, delivers_job).exists()
    statement = (
        select(executions)
        .where(executions.c.status.in_(sources(Event.ABANDON)), is_due, ~waiting)
        .order_by(executions.c.id)
        .limit(limit)
    )
    return [_record(row) for row in connection.execute(statement)]


def _page_query(wanted: JobFilter) -> Select[Any]:
    columns = executions.c
    conditions = [
        getattr(columns, name) == value
        for name in ("status", "job_type", "user_id", "organization_id", "schedule_id", "parent_job_id")
        if (value := getattr(wanted, name)) is not None
    ]
    if wanted.text is not None:
        sought = (columns.job_id, columns.job_type, columns.idempotency_key, columns.error)
        conditions.append(or_(*(column.contains(wanted.text, autoescape=True) for column in sought)))
    if wanted.job_type is None:
        conditions.append(columns.job_type != PROBE_JOB_TYPE)
    if wanted.created_after is not None:
        conditions.append(columns.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        conditions.append(columns.created_at < wanted.created_before)
    if wanted.before_id is not None:
        conditions.append(columns.id < wanted.before_id)
    return select(executions).where(*conditions).order_by(columns.id.desc()).limit(wanted.limit + 1)


def _subject(name: str, value: object) -> Subject | None:
    """Return the id of a user or organization as ``enqueue`` records it. Raise JobValidationError."""
    try:
        return _SUBJECT.validate_python(value)
    except ValidationError:
        raise JobValidationError(
            f"{name} must be a number of up to 63 bits, or a text of up to 250 characters without NUL, not "
            f"{value!r:.100}"
        ) from None


def _check_text(name: str, value: object) -> None:
    if value is not None and not (isinstance(value, str) and value == storable(value)):
        raise JobValidationError(
            f"{name} must be a text without NUL and without half a surrogate pair, not {value!r:.100}"
        )


def _record(row: Row[Any]) -> JobRecord:
    return JobRecord.model_validate(row)
