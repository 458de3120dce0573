"""The rules of alerts. They are pure: figures in, alerts out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from jobs_core.monitoring.statistics import Health, Stuck, TypeFigures


@dataclass(frozen=True, slots=True)
class Thresholds:
    """``None`` turns a rule off. Rates are shares from 0 to 1."""

    failure_rate: float | None = 0.05
    least_jobs: int = 10
    """So many must have ended before their rate of failures says anything."""
    processing_for: timedelta | None = timedelta(minutes=10)
    expects_jobs: bool = False
    average_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that is wrong. ``name`` stays the same while it lasts, so that it is sent once."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Observed:
    """The input of the rules: the last hour's figures, and the stuck jobs."""

    health: Health
    types: Sequence[TypeFigures]
    stuck: Sequence[Stuck]


def judge(observed: Observed, thresholds: Thresholds) -> list[Alert]:
    """Return the alerts of these figures and thresholds."""
    return [
        *_failures(observed.health, thresholds),
        *_stuck(observed.stuck, thresholds.processing_for),
        *_silence(observed.health, thresholds),
        *_slowness(observed.types, thresholds.average_seconds),
    ]


def _failures(health: Health, thresholds: Thresholds) -> list[Alert]:
    limit = thresholds.failure_rate
    if limit is None or health.failure_rate <= limit or health.ended < thresholds.least_jobs:
        return []
    text = f"{health.failure_rate:.1%} of the jobs of the last hour failed (limit {limit:.1%})"
    return [Alert("failure-rate", text)]


def _stuck(stuck: Sequence[Stuck], limit: timedelta | None) -> list[Alert]:
    if limit is None or not stuck:
        return []
    minutes = limit.total_seconds() / 60
    named = ", ".join(f"{job.job_type} {job.job_id} since {job.started_at:%H:%M} UTC" for job in stuck[:5])
    more = f", and {len(stuck) - 5} more" if len(stuck) > 5 else ""
    return [Alert("stuck-jobs", f"processing for over {minutes:g} minutes: {named}{more}")]


def _silence(health: Health, thresholds: Thresholds) -> list[Alert]:
    if not thresholds.expects_jobs or health.total:
        return []
    return [Alert("no-jobs", "no job was enqueued in the last hour, and some are expected")]


def _slowness(types: Sequence[TypeFigures], limit: float | None) -> list[Alert]:
    return [
        Alert(
            f"slow-{each.job_type}",
            f"{each.job_type} takes {each.average_seconds:.1f} s on average (limit {limit:g} s)",
        )
        for each in types
        if limit is not None and each.average_seconds is not None and each.average_seconds > limit
    ]
