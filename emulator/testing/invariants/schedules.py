"""Invariant 6 for schedules: one firing for each cron time that passes, never two."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from emulator.testing.invariants.index import RunIndex
from emulator.testing.invariants.record import ScheduleRecord
from emulator.testing.invariants.violation import Invariant, Violation

# A firing is on record within this much of its time, unless the emulator was not there.
PUNCTUAL_MS = 2_000


def check_schedules(index: RunIndex) -> Iterator[Violation]:
    """An active schedule fires once at each of its times; times that were missed fire once, together."""
    fired = _firings(index)
    for span in index.record.schedules:
        times = cron_times(span.cron, span.from_at, span.until_at)
        firings = [at for at in fired[span.schedule_id] if span.from_at < at < span.until_at]
        yield from _twice(span, times, firings)
        yield from _missed(index, span, times, firings)


def cron_times(cron: str, from_at: int, until_at: int) -> list[int]:
    """Return the times of a cron line from ``from_at`` to ``until_at``, both exclusive, in unix milliseconds."""
    # croniter is slow to import, and most runs have no schedule.
    from croniter import croniter

    zone: tzinfo = UTC
    if cron.startswith(("CRON_TZ=", "TZ=")):
        prefix, _, cron = cron.partition(" ")
        zone = ZoneInfo(prefix.partition("=")[2])
    times: list[int] = []
    walk = croniter(cron, datetime.fromtimestamp(from_at / 1000, zone))
    while (at := round(walk.get_next(float) * 1000)) < until_at:
        local = datetime.fromtimestamp(at / 1000, zone)
        # Where clocks go forward a time of the line may not exist: the walk then names the next that does.
        minutes, hours = walk.expanded[:2]
        if _holds(minutes, local.minute) and _holds(hours, local.hour):
            times.append(at)
    return times


def _holds(values: list[Any], value: int) -> bool:
    return values == ["*"] or value in values


def _firings(index: RunIndex) -> dict[str, list[int]]:
    """Return when each schedule fired; the messages of one firing have the same time."""
    times: dict[str, set[int]] = defaultdict(set)
    for message in index.record.messages:
        created = index.first(message.id, "CREATED")
        if message.schedule_id is not None and created is not None:
            times[message.schedule_id].add(index.time_at(created))
    return defaultdict(list, {schedule_id: sorted(found) for schedule_id, found in times.items()})


def _twice(span: ScheduleRecord, times: list[int], firings: list[int]) -> Iterator[Violation]:
    for before, after in pairwise(firings):
        if not any(before < at <= after for at in times):
            yield _violation(span, f"fired at {before} and at {after}, and none of its times lies between")
    # A time that passed while the call was under way, as when the clock was turned then, fires once it is answered.
    early = [] if span.since_at is None else cron_times(span.cron, span.since_at, span.from_at + 1)
    if firings and not any(at <= firings[0] for at in (*early, *times)):
        yield _violation(span, f"fired at {firings[0]}, before the first of its times")


def _missed(
    index: RunIndex, span: ScheduleRecord, times: list[int], firings: list[int]
) -> Iterator[Violation]:
    gaps = [(gap.from_at - PUNCTUAL_MS, gap.to_at) for gap in index.record.interruptions]
    for at in times:
        latest = at + PUNCTUAL_MS
        # What passed while the emulator was away is due when it is back, with all that passed since.
        while (
            back_at := max((to for start, to in gaps if start <= latest <= to + PUNCTUAL_MS), default=0)
        ) and (back_at + PUNCTUAL_MS > latest):
            latest = back_at + PUNCTUAL_MS
        if latest < span.until_at and not any(at <= fired <= latest for fired in firings):
            yield _violation(span, f"did not fire for {at} by {latest}")


def _violation(span: ScheduleRecord, text: str) -> Violation:
    return Violation(invariant=Invariant.TIME, text=f"schedule {span.schedule_id} ({span.cron}) {text}")
