"""Figures read from the records: the same whichever of several workers is asked.

Durations are the time that the handlers worked, over all attempts of a job, in seconds; waits between them are left
out. Percentiles are nearest-rank:
the smallest duration that so many per cent of the jobs did not exceed.
"""

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Float, and_, case, cast, func, select

from jobs_core.database.tables import attempts, executions, outbox
from jobs_core.model.envelope import PROBE_JOB_TYPE
from jobs_core.model.states import JobStatus

# Above this share of failures the job system is not healthy.
UNHEALTHY_FAILURE_RATE = 0.05


@dataclass(frozen=True, slots=True)
class Health:
    """The states of the jobs created since ``since``; ``counts`` has every status."""

    since: datetime
    counts: dict[JobStatus, int]

    @property
    def total(self) -> int:
        """Return how many jobs there were."""
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        """Return how many completed or failed."""
        return self.counts[JobStatus.FAILED] + self.counts[JobStatus.COMPLETED]

    @property
    def failure_rate(self) -> float:
        """Return the share of failed jobs among those that ended, from 0 to 1; 0 if there were none."""
        return self.counts[JobStatus.FAILED] / self.ended if self.ended else 0.0

    @property
    def is_healthy(self) -> bool:
        """Return whether fewer than one in twenty failed."""
        return self.failure_rate < UNHEALTHY_FAILURE_RATE


@dataclass(frozen=True, slots=True)
class TypeFigures:
    """Jobs of one type: how many in which state, and the durations of the completed ones in seconds."""

    job_type: str
    counts: dict[JobStatus, int] = field(default_factory=dict)
    average_seconds: float | None = None
    percentiles: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stuck:
    """A job that has been processing for too long."""

    job_id: str
    job_type: str
    started_at: datetime


PERCENTILES = (50, 95, 99)


def health(connection: Connection, *, since: datetime) -> Health:
    """Return the counts by status of the jobs created from ``since`` on."""
    columns = executions.c
    rows = connection.execute(
        select(columns.status, func.count())
        .where(columns.created_at >= since, columns.job_type != PROBE_JOB_TYPE)
        .group_by(columns.status)
    )
    found = {JobStatus(status): count for status, count in rows}
    return Health(since, {status: found.get(status, 0) for status in JobStatus})


def by_type(connection: Connection, *, since: datetime) -> list[TypeFigures]:
    """Return counts by type and status, and the completed jobs' durations, of the jobs created from ``since`` on."""
    columns = executions.c
    counts: dict[str, dict[JobStatus, int]] = {}
    for job_type, status, count in connection.execute(
        select(columns.job_type, columns.status, func.count())
        .where(columns.created_at >= since, columns.job_type != PROBE_JOB_TYPE)
        .group_by(columns.job_type, columns.status)
        .order_by(columns.job_type)
    ):
        counts.setdefault(job_type, {})[JobStatus(status)] = count
    durations = _durations(connection, since)
    return [
        TypeFigures(job_type, found, *durations.get(job_type, (None, {})))
        for job_type, found in counts.items()
    ]


def stuck(connection: Connection, *, started_before: datetime, limit: int = 20) -> list[Stuck]:
    """Return jobs in ``processing`` whose present attempt began before ``started_before``, the oldest first."""
    columns = executions.c
    rows = connection.execute(
        select(columns.job_id, columns.job_type, attempts.c.started_at)
        .join(
            attempts,
            and_(attempts.c.job_id == columns.job_id, attempts.c.number == columns.attempt_count),
        )
        .where(
            columns.status == JobStatus.PROCESSING,
            attempts.c.started_at < started_before,
            columns.job_type != PROBE_JOB_TYPE,
        )
        .order_by(attempts.c.started_at)
        .limit(limit)
    )
    return [Stuck(*row) for row in rows]


def outbox_size(connection: Connection) -> int:
    """Return how many messages are still to be published."""
    return connection.execute(select(func.count()).select_from(outbox)).scalar_one()


def unfinished(connection: Connection) -> list[tuple[str, JobStatus, int]]:
    """Return how many jobs of which type are pending or processing, however old."""
    columns = executions.c
    rows = connection.execute(
        select(columns.job_type, columns.status, func.count())
        .where(
            columns.status.in_((JobStatus.PENDING, JobStatus.PROCESSING)), columns.job_type != PROBE_JOB_TYPE
        )
        .group_by(columns.job_type, columns.status)
        .order_by(columns.job_type, columns.status)
    )
    return [(job_type, JobStatus(status), count) for job_type, status, count in rows]


def oldest_overdue_at(connection: Connection, *, now: datetime) -> datetime | None:
    """Return since when the most overdue pending job should have been tried; ``None`` if none is overdue."""
    columns = executions.c
    due_at: datetime | None = connection.execute(
        select(func.min(columns.next_attempt_at, type_=columns.next_attempt_at.type)).where(
            columns.status == JobStatus.PENDING,
            columns.next_attempt_at <= now,
            columns.job_type != PROBE_JOB_TYPE,
        )
    ).scalar_one()
    return due_at


def _durations(connection: Connection, since: datetime) -> dict[str, tuple[float, dict[int, float]]]:
    """Return average and percentiles for each type, in one pass: the database picks the ranks that are needed."""
    columns = executions.c
    working = (
        select(func.sum(_seconds_between(connection, attempts.c.started_at, attempts.c.finished_at)))
        .where(attempts.c.job_id == columns.job_id, attempts.c.finished_at.is_not(None))
        .scalar_subquery()
    )
    timed = (
        select(
            columns.job_type,
            func.coalesce(
                working, _seconds_between(connection, columns.started_at, columns.completed_at)
            ).label("seconds"),
        )
        .where(
            columns.created_at >= since,
            columns.status == JobStatus.COMPLETED,
            columns.started_at.is_not(None),
            columns.completed_at.is_not(None),
        )
        .subquery()
    )
    ranked = select(
        timed.c.job_type,
        timed.c.seconds,
        func.row_number().over(partition_by=timed.c.job_type, order_by=timed.c.seconds).label("rank"),
        func.count().over(partition_by=timed.c.job_type).label("total"),
    ).subquery()
    picks = [_at_percentile(ranked.c.rank, ranked.c.total, percent) for percent in PERCENTILES]
    rows = connection.execute(
        select(
            ranked.c.job_type,
            func.avg(ranked.c.seconds),
            *(func.max(case((picked, ranked.c.seconds))) for picked in picks),
        ).group_by(ranked.c.job_type)
    )
    return {
        job_type: (float(average), dict(zip(PERCENTILES, map(float, at), strict=True)))
        for job_type, average, *at in rows
    }


def _at_percentile(rank: ColumnElement[int], total: ColumnElement[int], percent: int) -> ColumnElement[bool]:
    """Return whether ``rank`` is ceil(percent / 100 * total), in whole numbers."""
    return and_(rank * 100 >= total * percent, (rank - 1) * 100 < total * percent)


def _seconds_between(
    connection: Connection, earlier: ColumnElement[datetime], later: ColumnElement[datetime]
) -> ColumnElement[float]:
    if connection.dialect.name == "sqlite":
        # julianday() counts days, and keeps microseconds of a span this long well enough.
        return (func.julianday(later) - func.julianday(earlier)) * 86_400.0
    return cast(func.extract("epoch", later - earlier), Float)


def rounded(seconds: float | None) -> float | None:
    """Return seconds rounded to the millisecond."""
    return None if seconds is None or not math.isfinite(seconds) else round(seconds, 3)


def is_recent(connection: Connection, *, since: datetime) -> bool:
    """Return whether any job was created from ``since`` on."""
    columns = executions.c
    return (
        connection.execute(select(columns.id).where(columns.created_at >= since).limit(1)).first() is not None
    )


HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
