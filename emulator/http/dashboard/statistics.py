"""The overview's figures, as a pure function of the newest lines of all histories and the time.

Spans are milliseconds. Attempts that began before the window have no start here and count only in figures that need
none.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from emulator.broker.message import State
from emulator.store.attempts import LoggedAttempt, pair_attempts
from emulator.store.dashboard_queries import HistoryStep

_BUCKETS = 60
_LISTED = 5


@dataclass(frozen=True, slots=True)
class _Attempt:
    destination: str
    started_at: int
    lateness_ms: int
    ended_at: int | None = None
    is_success: bool = False
    error: str | None = None

    @property
    def span_ms(self) -> int | None:
        return None if self.ended_at is None else self.ended_at - self.started_at


@dataclass(slots=True)
class _Bucket:
    accepted: int = 0
    delivered: int = 0
    errors: int = 0
    failed: int = 0
    spans: list[int] = field(default_factory=list)
    lateness: list[int] = field(default_factory=list)


def overview(steps: Sequence[HistoryStep], *, now_at: int, window_ms: int) -> dict[str, Any]:
    """Return throughput, success rate, latency and lateness over ``window_ms``, in sixty buckets and by destination."""
    start_at = now_at - window_ms
    width = max(1, math.ceil(window_ms / _BUCKETS))
    buckets = [_Bucket() for _ in range(_BUCKETS)]
    attempts = _attempts(steps)

    def bucket(at: int) -> _Bucket:
        return buckets[min(max((at - start_at) // width, 0), _BUCKETS - 1)]

    for step in steps:
        _count(bucket(step.time_at), step.state)
    for attempt in attempts:
        bucket(attempt.started_at).lateness.append(attempt.lateness_ms)
        if attempt.ended_at is not None:
            bucket(attempt.ended_at).spans.append(attempt.ended_at - attempt.started_at)
    ended = [attempt for attempt in attempts if attempt.ended_at is not None]
    spans = [attempt.ended_at - attempt.started_at for attempt in ended if attempt.ended_at is not None]
    delivered = sum(one.delivered for one in buckets)
    failed = sum(one.failed for one in buckets)
    return {
        "from": start_at,
        "to": now_at,
        "bucketMs": width,
        "accepted": sum(one.accepted for one in buckets),
        "delivered": delivered,
        "failed": failed,
        "attempts": len(attempts),
        "successRate": delivered / (delivered + failed) if delivered + failed else None,
        "attemptSuccessRate": sum(one.is_success for one in ended) / len(ended) if ended else None,
        "latencyMs": percentiles(spans),
        "latenessMs": percentiles([attempt.lateness_ms for attempt in attempts]),
        "buckets": [_bucket_view(one) for one in buckets],
        **_destinations(ended),
    }


def percentiles(values: Iterable[int]) -> dict[str, int] | None:
    """Return the 50th, 95th and 99th percentile by nearest rank, and the maximum; ``None`` without values."""
    ordered = sorted(values)
    if not ordered:
        return None
    ranked = {f"p{rank}": ordered[math.ceil(rank / 100 * len(ordered)) - 1] for rank in (50, 95, 99)}
    return {**ranked, "max": ordered[-1]}


def _attempts(steps: Sequence[HistoryStep]) -> list[_Attempt]:
    """Return the attempts of all histories, with each start's lateness against its due time in the history."""
    not_before_at = {step.message_seq: step.not_before_at for step in steps}
    return [_attempt(attempt) for attempt in pair_attempts(steps, not_before_at)]


def _attempt(attempt: LoggedAttempt[HistoryStep]) -> _Attempt:
    end = attempt.end if attempt.end is not None and attempt.end.state is not State.CANCELED else None
    return _Attempt(
        destination=_destination(attempt.start.url),
        started_at=attempt.started_at,
        lateness_ms=max(0, attempt.started_at - attempt.due_at),
        ended_at=end.time_at if end is not None else None,
        is_success=end is not None and end.state is State.DELIVERED,
        error=end.error if end is not None else None,
    )


def _count(bucket: _Bucket, state: State) -> None:
    if state is State.CREATED:
        bucket.accepted += 1
    elif state is State.DELIVERED:
        bucket.delivered += 1
    elif state is State.ERROR:
        bucket.errors += 1
    elif state is State.FAILED:
        bucket.failed += 1


def _bucket_view(bucket: _Bucket) -> dict[str, Any]:
    latency, lateness = percentiles(bucket.spans), percentiles(bucket.lateness)
    return {
        "accepted": bucket.accepted,
        "delivered": bucket.delivered,
        "errors": bucket.errors,
        "failed": bucket.failed,
        "latencyP50": latency and latency["p50"],
        "latencyP95": latency and latency["p95"],
        "latenessP95": lateness and lateness["p95"],
    }


def _destinations(ended: Sequence[_Attempt]) -> dict[str, Any]:
    grouped: dict[str, list[_Attempt]] = defaultdict(list)
    for attempt in ended:
        grouped[attempt.destination].append(attempt)
    views = [_destination_view(name, attempts) for name, attempts in grouped.items()]
    failing = [view for view in views if view["errors"]]
    return {
        "slowest": sorted(views, key=lambda view: -view["latencyMs"]["p95"])[:_LISTED],
        "failing": sorted(failing, key=lambda view: (-view["errors"], view["destination"]))[:_LISTED],
    }


def _destination_view(name: str, attempts: Sequence[_Attempt]) -> dict[str, Any]:
    errors = [attempt for attempt in attempts if not attempt.is_success]
    return {
        "destination": name,
        "attempts": len(attempts),
        "errors": len(errors),
        "lastError": errors[-1].error if errors else None,
        "latencyMs": percentiles(span for attempt in attempts if (span := attempt.span_ms) is not None),
    }


def _destination(url: str) -> str:
    """Return the URL without its query, which often differs with each message."""
    return url.partition("?")[0]
