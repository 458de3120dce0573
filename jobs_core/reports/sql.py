"""The queries behind reports: sums by day and other groups, computed by the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Float, Row, and_, case, cast, func, or_, select
from sqlalchemy.sql.elements import ColumnElement

from jobs_core.billing.tables import subscriptions
from jobs_core.database.tables import executions
from jobs_core.emails.tables import email_deliveries
from jobs_core.model.states import JobStatus
from jobs_core.notifications.tables import notifications
from jobs_core.reports.model import Period

_LONGEST_DAILY = 92  # days; longer periods are told by the month
_Job = executions.c


@dataclass(frozen=True, slots=True)
class JobSum:
    """Counts of one group's jobs by their end, and the total seconds of the finished ones."""

    group: Any
    total: int
    completed: int
    failed: int
    cancelled: int
    retries: int
    timed: int
    seconds: float

    @property
    def unfinished(self) -> int:
        return self.total - self.completed - self.failed - self.cancelled

    @property
    def average_seconds(self) -> float | None:
        return self.seconds / self.timed if self.timed else None


def is_daily(period: Period) -> bool:
    """Return whether the period is shown by the day; if not, by the month."""
    return (period.end - period.start).days <= _LONGEST_DAILY


def step(connection: Connection, column: ColumnElement[datetime], period: Period) -> ColumnElement[str]:
    """Return the day (``2026-05-01``) or month (``2026-05``) of an instant, in UTC."""
    if connection.dialect.name == "sqlite":
        return func.strftime("%Y-%m-%d" if is_daily(period) else "%Y-%m", column)
    pattern = "YYYY-MM-DD" if is_daily(period) else "YYYY-MM"
    return func.to_char(func.timezone("UTC", column), pattern)


def jobs_by(
    connection: Connection,
    group: ColumnElement[Any],
    period: Period,
    *,
    conditions: Sequence[ColumnElement[bool]] = (),
    limit: int | None = None,
) -> list[JobSum]:
    """Return the jobs created in the period, by ``group``; with ``limit``, the largest groups first, else in
    order.
    """
    seconds = _seconds(connection)
    total = func.count()
    statement = (
        select(
            group,
            total,
            _count(_Job.status == JobStatus.COMPLETED),
            _count(_Job.status == JobStatus.FAILED),
            _count(_Job.status == JobStatus.CANCELLED),
            func.coalesce(func.sum(_Job.retry_count), 0),
            func.count(seconds),
            func.coalesce(func.sum(seconds), 0.0),
        )
        .where(_Job.created_at >= period.start, _Job.created_at < period.end, *conditions)
        .group_by(group)
    )
    statement = (
        statement.order_by(group) if limit is None else statement.order_by(total.desc(), group).limit(limit)
    )
    return [JobSum(*row) for row in connection.execute(statement)]


def subscriptions_alive(connection: Connection, at: datetime) -> Sequence[Row[Any]]:
    """Return subscriptions that had started and not ended at that time, and are known by more than an invoice."""
    columns = subscriptions.c
    return connection.execute(
        select(subscriptions).where(
            columns.started_at < at,
            or_(columns.ended_at.is_(None), columns.ended_at >= at),
            columns.status.not_in(("incomplete", "incomplete_expired", "unknown")),
        )
    ).all()


def subscriptions_by_step(
    connection: Connection, column: ColumnElement[datetime], period: Period
) -> dict[str, int]:
    """Return how many subscriptions started (or ended) on each day or in each month."""
    group = step(connection, column, period)
    rows = connection.execute(
        select(group, func.count())
        .select_from(subscriptions)
        .where(column >= period.start, column < period.end)
        .group_by(group)
    )
    return {row[0]: row[1] for row in rows}


def count_notifications(connection: Connection, period: Period) -> int:
    """Return how many notifications were made."""
    columns = notifications.c
    return connection.execute(
        select(func.count()).where(columns.created_at >= period.start, columns.created_at < period.end)
    ).scalar_one()


def emails_by_status(connection: Connection, period: Period) -> dict[str, int]:
    """Return how many e-mails were sent, by status."""
    columns = email_deliveries.c
    rows = connection.execute(
        select(columns.status, func.count())
        .where(columns.created_at >= period.start, columns.created_at < period.end)
        .group_by(columns.status)
        .order_by(columns.status)
    )
    return {row[0]: row[1] for row in rows}


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _seconds(connection: Connection) -> ColumnElement[float]:
    """Return the seconds from the first attempt's start to the end, of jobs that ended by running."""
    if connection.dialect.name == "sqlite":
        span: ColumnElement[float] = (
            func.julianday(_Job.completed_at) - func.julianday(_Job.started_at)
        ) * 86_400.0
    else:
        span = cast(func.extract("epoch", _Job.completed_at - _Job.started_at), Float)
    ended = and_(_Job.status.in_((JobStatus.COMPLETED, JobStatus.FAILED)), _Job.started_at.is_not(None))
    return case((ended, span))
