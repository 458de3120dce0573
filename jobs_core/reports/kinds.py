"""The kinds of report: figures, charts and tables from the queries' sums."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Literal

from sqlalchemy import Connection
from sqlalchemy.sql.elements import ColumnElement

from jobs_core.billing.money import format_with_code
from jobs_core.billing.tables import subscriptions
from jobs_core.database.tables import executions
from jobs_core.model.states import JobStatus
from jobs_core.reports import sql
from jobs_core.reports.model import Chart, Figure, Period, Report, Series, Table, Value, percent, shown
from jobs_core.reports.sql import JobSum

GroupBy = Literal["jobType", "status", "userId", "organizationId", "day"]
_LARGEST_GROUPS = 20
_BARS = 12  # more are hard to read
_Job = executions.c

# How many of an interval a year has, for what a subscription brings in a month.
_A_YEAR = {"day": Decimal(365), "week": Decimal(52), "month": Decimal(12), "year": Decimal(1)}


@dataclass(frozen=True, slots=True)
class CustomQuery:
    """The jobs that a custom report counts: by ``group_by``, of these types and states (empty: all)."""

    group_by: GroupBy = "jobType"
    job_types: Sequence[str] = field(default_factory=tuple)
    statuses: Sequence[JobStatus] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Request:
    """Which report, when it was requested, and by whom."""

    kind: Literal["analytics", "usage", "billing", "custom"]
    period: Period
    title: str | None
    brand: str
    now: datetime
    custom: CustomQuery = CustomQuery()


def build(connection: Connection, request: Request) -> Report:
    """Return the report, from the present rows."""
    title, make = _KINDS[request.kind]
    figures, charts, tables = make(connection, request)
    return Report(
        kind=request.kind,
        title=request.title or title,
        period=request.period,
        generated_at=request.now,
        brand=request.brand,
        figures=figures,
        charts=charts,
        tables=tables,
    )


Parts = tuple[Sequence[Figure], Sequence[Chart], Sequence[Table]]


def _analytics(connection: Connection, request: Request) -> Parts:
    period = request.period
    by_step = sql.jobs_by(connection, sql.step(connection, _Job.created_at, period), period)
    by_type = sql.jobs_by(connection, _Job.job_type, period)
    charts = (_over_time("Jobs over time", by_step, period), _bars("Jobs by type", by_type))
    return _job_figures(by_type), charts, (_job_table("By type", "Type", by_type),)


def _usage(connection: Connection, request: Request) -> Parts:
    period = request.period
    by_step = sql.jobs_by(connection, sql.step(connection, _Job.created_at, period), period)
    by_type = sql.jobs_by(connection, _Job.job_type, period)
    organizations = sql.jobs_by(connection, _Job.organization_id, period, limit=_LARGEST_GROUPS)
    users = sql.jobs_by(connection, _Job.user_id, period, limit=_LARGEST_GROUPS)
    emails = sql.emails_by_status(connection, period)
    sent, told = sum(emails.values()), sql.count_notifications(connection, period)
    figures = (
        *_job_figures(by_type)[:1],
        Figure("E-mails", sent, shown(sent)),
        Figure("Notifications", told, shown(told)),
    )
    charts = (
        _over_time("Jobs over time", by_step, period),
        _bars("Jobs by organization", organizations),
    )
    tables = (
        _job_table("Largest organizations", "Organization", organizations),
        _job_table("Largest users", "User", users),
        _job_table("By type", "Type", by_type),
        Table("E-mails", ("Status", "E-mails"), [(status, count) for status, count in emails.items()]),
    )
    return figures, charts, tables


def _billing(connection: Connection, request: Request) -> Parts:
    period = request.period
    alive = sql.subscriptions_alive(connection, period.end)
    started = sql.subscriptions_by_step(connection, subscriptions.c.started_at, period)
    ended = sql.subscriptions_by_step(connection, subscriptions.c.ended_at, period)
    monthly = monthly_revenue(alive)
    unpaid = sum(1 for each in alive if each.payment_status == "failed")
    figures = [
        Figure("Subscriptions", len(alive), shown(len(alive))),
        *(
            Figure(f"Monthly revenue ({currency.upper()})", amount, format_with_code(amount, currency))
            for currency, amount in monthly.items()
        ),
        Figure("Started", sum(started.values()), shown(sum(started.values()))),
        Figure("Ended", sum(ended.values()), shown(sum(ended.values()))),
        Figure("Failed payments", unpaid, shown(unpaid)),
    ]
    labels = steps(period)
    changes = Chart(
        "Subscriptions started and ended",
        "stacked",
        labels,
        (
            Series("Started", [started.get(label, 0) for label in labels], "good"),
            Series("Ended", [ended.get(label, 0) for label in labels], "bad"),
        ),
    )
    plans = _plans(alive)
    by_plan = Chart(
        "Subscriptions by plan", "bars", [f"{plan[0]} ({plan[1]})" for plan in plans[:_BARS]],
        (Series("Subscriptions", [float(plan[2]) for plan in plans[:_BARS]]),),
    )  # fmt: skip
    statuses = Counter(each.status for each in alive)
    tables = (
        Table("By plan", ("Plan", "Currency", "Subscriptions", "Monthly revenue"), plans),
        Table("By status", ("Status", "Subscriptions"), sorted(statuses.items())),
    )
    return figures, (changes, by_plan), tables


def _custom(connection: Connection, request: Request) -> Parts:
    query, period = request.custom, request.period
    conditions: list[ColumnElement[bool]] = []
    if query.job_types:
        conditions.append(_Job.job_type.in_(query.job_types))
    if query.statuses:
        conditions.append(_Job.status.in_(query.statuses))
    groups: dict[str, tuple[str, ColumnElement[Any]]] = {
        "jobType": ("Type", _Job.job_type),
        "status": ("Status", _Job.status),
        "userId": ("User", _Job.user_id),
        "organizationId": ("Organization", _Job.organization_id),
        "day": ("Day", sql.step(connection, _Job.created_at, period)),
    }
    heading, column = groups[query.group_by]
    is_open = query.group_by in {"userId", "organizationId"}
    found = sql.jobs_by(connection, column, period, conditions=conditions, limit=100 if is_open else None)
    title = f"Jobs by {heading.lower()}"
    chart = _over_time(title, found, period) if query.group_by == "day" else _bars(title, found)
    total = sql.jobs_by(connection, _Job.status, period, conditions=conditions)
    return _job_figures(total), (chart,), (_job_table(title, heading, found),)


_KINDS: dict[str, tuple[str, Callable[[Connection, Request], Parts]]] = {
    "analytics": ("Job analytics", _analytics),
    "usage": ("Usage", _usage),
    "billing": ("Billing", _billing),
    "custom": ("Jobs", _custom),
}


def monthly_revenue(alive: Sequence[Any]) -> dict[str, int]:
    """Return the monthly revenue of paying subscriptions by currency, in minor units.

    Trials pay nothing yet. A subscription without a price or an interval is left out.
    """
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for each in alive:
        if each.status != "trialing" and each.currency is not None:
            sums[each.currency] += _monthly(each)
    return {currency: _whole(amount) for currency, amount in sorted(sums.items()) if amount}


def steps(period: Period) -> list[str]:
    """Return every day or month of the period, as the queries spell them."""
    pattern = "%Y-%m-%d" if sql.is_daily(period) else "%Y-%m"
    days = (period.end - period.start).days + 1
    moments = [period.start + timedelta(days=number) for number in range(days)]
    return list(dict.fromkeys(moment.strftime(pattern) for moment in moments if moment < period.end))


def _monthly(subscription: Any) -> Decimal:
    a_year = _A_YEAR.get(subscription.interval or "")
    if a_year is None or subscription.amount is None:
        return Decimal(0)
    return Decimal(subscription.amount) * a_year / (subscription.interval_count or 1) / 12


def _whole(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def _plans(alive: Sequence[Any]) -> list[tuple[Value, Value, Value, Value]]:
    groups: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for each in alive:
        groups[(each.plan_name or "(no name)", each.currency or "")].append(each)
    rows: list[tuple[Value, Value, Value, Value]] = []
    for (plan, currency), members in groups.items():
        revenue = monthly_revenue(members).get(currency)
        rows.append(
            (plan, currency.upper(), len(members), format_with_code(revenue, currency) if revenue else "-")
        )
    return sorted(rows, key=lambda row: (-int(row[2]), row[0]))


def _job_figures(sums: Sequence[JobSum]) -> tuple[Figure, ...]:
    total = sum(each.total for each in sums)
    completed, failed = sum(each.completed for each in sums), sum(each.failed for each in sums)
    retries, timed = sum(each.retries for each in sums), sum(each.timed for each in sums)
    average = sum(each.seconds for each in sums) / timed if timed else 0.0
    return (
        Figure("Jobs", total, shown(total)),
        Figure("Completed", completed, shown(completed)),
        Figure("Failed", failed, shown(failed)),
        percent(failed, completed + failed),
        Figure("Retries", retries, shown(retries)),
        Figure("Average duration", round(average, 3), duration(average)),
    )


def duration(seconds: float) -> str:
    """A span as people read it.

    >>> duration(0.0421), duration(2.5), duration(754)
    ('42 ms', '2.5 s', '12 min 34 s')
    """
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _over_time(title: str, sums: Sequence[JobSum], period: Period) -> Chart:
    by_step = {each.group: each for each in sums}
    labels = steps(period)

    def values(count: Callable[[JobSum], int]) -> list[float]:
        return [count(by_step[label]) if label in by_step else 0 for label in labels]

    series = (
        Series("Completed", values(lambda each: each.completed), "good"),
        Series("Failed", values(lambda each: each.failed), "bad"),
        Series("Cancelled", values(lambda each: each.cancelled), "neutral"),
        Series("Unfinished", values(lambda each: each.unfinished), "waiting"),
    )
    return Chart(title, "stacked", labels, [each for each in series if any(each.values)] or series[:1])


def _bars(title: str, sums: Sequence[JobSum]) -> Chart:
    largest = sorted(sums, key=lambda each: -each.total)[:_BARS]
    return Chart(
        title,
        "bars",
        [_name(each.group) for each in largest],
        (Series("Jobs", [each.total for each in largest]),),
    )


def _job_table(title: str, heading: str, sums: Sequence[JobSum]) -> Table:
    headings = (heading, "Jobs", "Completed", "Failed", "Failure rate", "Average")
    rows = [
        (
            _name(each.group),
            each.total,
            each.completed,
            each.failed,
            percent(each.failed, each.completed + each.failed).shown,
            "-" if each.average_seconds is None else duration(each.average_seconds),
        )
        for each in sums
    ]
    return Table(title, headings, rows)


def _name(group: Any) -> str:
    return "(none)" if group is None else str(group)
