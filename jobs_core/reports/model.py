"""A report before it has a format: figures, charts and tables. Each format (PDF, HTML, JSON) is made from this."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

Value = int | float | str


@dataclass(frozen=True, slots=True)
class Period:
    """From ``start`` (inclusive) to ``end`` (exclusive), in UTC."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        """Return the days it covers: ``1 May 2026 to 31 May 2026``; instants where it does not cover whole days."""
        if _is_midnight(self.start) and _is_midnight(self.end):
            first, last = self.start, self.end - timedelta(days=1)
            return _day(first) if first == last else f"{_day(first)} to {_day(last)}"
        return f"{_day(self.start)}, {self.start:%H:%M} to {_day(self.end)}, {self.end:%H:%M} UTC"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, and how it is shown."""

    label: str
    value: Value
    shown: str


@dataclass(frozen=True, slots=True)
class Series:
    """One value for each label of a chart. ``tone`` is its meaning, which decides the colour."""

    name: str
    values: Sequence[float]
    tone: Literal["good", "bad", "neutral", "waiting", "plain"] = "plain"


@dataclass(frozen=True, slots=True)
class Chart:
    """``stacked``: columns over time, the series on top of each other. ``bars``: one bar for each label."""

    title: str
    kind: Literal["stacked", "bars"]
    labels: Sequence[str]
    series: Sequence[Series]

    @property
    def is_empty(self) -> bool:
        return not any(value for series in self.series for value in series.values)

    @property
    def largest(self) -> float:
        """Return the greatest column or bar; at least 1, so that an axis can be drawn."""
        totals = [
            float(sum(values)) for values in zip(*(series.values for series in self.series), strict=True)
        ]
        return max([1.0, *totals])


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings. Numbers are aligned right."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Value]]


@dataclass(frozen=True, slots=True)
class Report:
    """The whole content of a report."""

    kind: str
    title: str
    period: Period
    generated_at: datetime
    brand: str
    figures: Sequence[Figure]
    charts: Sequence[Chart] = field(default_factory=tuple)
    tables: Sequence[Table] = field(default_factory=tuple)

    def to_json(self) -> dict[str, Any]:
        """Return it in camelCase, with times as ISO 8601 in UTC."""
        return {
            "reportType": self.kind,
            "title": self.title,
            "period": {"from": _iso(self.period.start), "to": _iso(self.period.end)},
            "generatedAt": _iso(self.generated_at),
            "figures": [
                {"label": figure.label, "value": figure.value, "shown": figure.shown}
                for figure in self.figures
            ],
            "charts": [
                {
                    "title": chart.title,
                    "kind": chart.kind,
                    "labels": list(chart.labels),
                    "series": [
                        {"name": series.name, "values": list(series.values)} for series in chart.series
                    ],
                }
                for chart in self.charts
            ],
            "tables": [
                {
                    "title": table.title,
                    "headings": list(table.headings),
                    "rows": [list(row) for row in table.rows],
                }
                for table in self.tables
            ],
        }


def shown(value: Value) -> str:
    """A value as tables show it.

    >>> shown(12480), shown(0.5), shown("a")
    ('12,480', '0.5', 'a')
    """
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}".rstrip("0").rstrip(".")


def percent(part: float, whole: float) -> Figure:
    """Return the failure rate; 0 without any jobs."""
    rate = part / whole if whole else 0.0
    return Figure("Failure rate", round(rate, 6), f"{rate:.1%}")


def _iso(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _is_midnight(instant: datetime) -> bool:
    return instant == instant.replace(hour=0, minute=0, second=0, microsecond=0)


def _day(instant: datetime) -> str:
    return f"{instant.day} {instant:%B %Y}"
