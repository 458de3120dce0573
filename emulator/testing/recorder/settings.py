"""Derive the settings that certainly were in force from calls about queues, flow-control keys and schedules."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeVar

from emulator.testing.invariants import FlowKeyRecord, QueueRecord, Rate, ScheduleRecord, SettingChange
from emulator.testing.recorder.calls import Calls, FlowEvent, ScheduleEvent

T = TypeVar("T")

_NEVER_AT = 2**53


def queue_of(calls: Calls, name: str | None, at: int) -> str | None:
    """Return which queue's limits apply, ``None`` if unsure. A queue that was deleted and made again is
    another one.
    """
    if name is None:
        return None
    number = 0
    for deletion in calls.queue_deletions[name]:
        if deletion.sent_at > at:
            break
        if not deletion.is_certain or deletion.done_at >= at:
            return None
        number += 1
    return f"{name}#{number}"


def queue_records(calls: Calls, names: set[str]) -> dict[str, QueueRecord]:
    """Return each queue's settings, for each time it was made."""
    records: dict[str, QueueRecord] = {}
    for name in sorted({*names, *calls.queue_parallelism, *calls.queue_pauses}):
        bounds = pairwise([0, *(deletion.sent_at for deletion in calls.queue_deletions[name]), _NEVER_AT])
        for number, (since, until) in enumerate(bounds):
            # Attempts under way when their queue is deleted are no longer subject to its pause.
            records[f"{name}#{number}"] = QueueRecord(
                parallelism=[one for one in calls.queue_parallelism[name] if since <= one.sent_at < until],
                is_paused=[one for one in calls.queue_pauses[name] if since <= one.sent_at <= until],
            )
    return records


def flow_record(events: Sequence[FlowEvent], pauses: Sequence[SettingChange[bool]]) -> FlowKeyRecord:
    """Return the limits of the newest message, except while they are pinned (contract 5.2).

    Where it cannot be told what held, no limit is checked.
    """
    ordered = sorted(events, key=lambda one: one.done_at)
    pins = [event for event in ordered if event.kind in ("pin", "unpin")]
    if any(event.kind in ("message", "pin") and event.limits is None for event in ordered) or any(
        not pin.is_certain or any(pin is not one and _overlap(pin, one) for one in ordered) for pin in pins
    ):
        return FlowKeyRecord(is_paused=pauses)
    parallelism: list[SettingChange[int | None]] = []
    rates: list[SettingChange[Rate]] = []
    is_pinned_parallelism = is_pinned_rate = False
    held = Rate()
    for event in ordered:
        most, rate = event.limits or (None, Rate())
        if event.kind == "unpin":
            is_pinned_parallelism = is_pinned_rate = False
        elif event.kind == "reset":
            rates.append(_change(event, _fresh(held)))
        else:
            is_pin = event.kind == "pin"
            if (is_pin and most is not None) or not (is_pin or is_pinned_parallelism):
                parallelism.append(_change(event, most))
                is_pinned_parallelism |= is_pin
            if (is_pin and rate.rate is not None) or not (is_pin or is_pinned_rate):
                held = rate
                rates.append(_change(event, _fresh(rate) if is_pin else rate))
                is_pinned_rate |= is_pin
    return FlowKeyRecord(
        parallelism=_without_repeats(parallelism, lambda one, other: one == other),
        is_paused=pauses,
        rate=_without_repeats(rates, lambda one, other: not other.is_fresh and _fresh(one) == _fresh(other)),
    )


def _fresh(rate: Rate) -> Rate:
    return Rate(rate=rate.rate, period_seconds=rate.period_seconds, is_fresh=True)


def _without_repeats(
    changes: Sequence[SettingChange[T]], is_same: Callable[[T, T], bool]
) -> list[SettingChange[T]]:
    """Return the changes without those that change nothing: the same limits again do not matter, answered or not."""
    kept: list[SettingChange[T]] = []
    for change in changes:
        if not kept or not is_same(kept[-1].value, change.value):
            kept.append(change)
    return kept


def _overlap(one: FlowEvent, other: FlowEvent) -> bool:
    return one.sent_at <= other.done_at and other.sent_at <= one.done_at


def _change(event: FlowEvent, value: Any) -> SettingChange[Any]:
    return SettingChange(
        value=value, sent_at=event.sent_at, done_at=event.done_at, is_certain=event.is_certain
    )


def schedule_records(
    schedule_id: str, events: Sequence[ScheduleEvent], end_at: int, groups_since: Mapping[str, int | None]
) -> list[ScheduleRecord]:
    """Return when a schedule certainly was active, and had a destination."""
    spans: list[ScheduleRecord] = []
    cron: str | None = None
    is_paused: bool | None = False
    least_at: int | None = 0
    ordered = sorted(events, key=lambda one: one.sent_at)
    for event, later in zip(ordered, [*ordered[1:], None], strict=True):
        if event.kind == "save":
            # Overwriting a paused schedule leaves it paused (contract 5.4).
            cron = event.cron if event.is_certain else None
            least_at = 0 if event.group is None else groups_since.get(event.group)
        elif event.kind == "delete":
            cron, is_paused = None, False if event.is_certain else None
        else:
            is_paused = event.kind == "pause" if event.is_certain else None
        until_at = end_at if later is None else later.sent_at
        if least_at is None or cron is None or is_paused is not False:
            continue
        from_at = max(event.done_at, least_at)
        if from_at < until_at:
            spans.append(
                ScheduleRecord(
                    schedule_id=schedule_id,
                    cron=cron,
                    from_at=from_at,
                    until_at=until_at,
                    since_at=min(event.sent_at, from_at),
                )
            )
    return spans
