"""Invariant 5: a flow-control key's parallelism, and its rate in fixed periods (contract 5.2)."""

from collections.abc import Iterator, Sequence
from functools import partial

from emulator.testing.invariants.index import RunIndex
from emulator.testing.invariants.overlap import check_overlap, check_pause
from emulator.testing.invariants.record import FlowKeyRecord, MessageRecord, Rate, possible
from emulator.testing.invariants.violation import Invariant, Violation


def check_flow_parallelism(index: RunIndex) -> Iterator[Violation]:
    """At most ``parallelism`` attempts of a key are under way at a time."""
    for key, record in index.record.flow_keys.items():
        yield from check_overlap(
            index,
            _members(index, key),
            partial(_limit, record),
            what=f"flow-control key {key!r}",
            invariant=Invariant.FLOW_CONTROL,
        )


def check_flow_pauses(index: RunIndex) -> Iterator[Violation]:
    """No attempt of a key starts while the key is paused."""
    for key, record in index.record.flow_keys.items():
        yield from check_pause(
            index,
            _members(index, key),
            record.is_paused,
            what=f"flow-control key {key!r}",
            invariant=Invariant.FLOW_CONTROL,
        )


def check_flow_rates(index: RunIndex) -> Iterator[Violation]:
    """At most ``rate`` attempts of a key start in one period. The first attempt after a period begins the next.

    Where it is not known when exactly a setting took effect, it is taken to be the call's begin, and then its end:
    only what is wrong under both is a violation. Calls without an answer leave too much open to tell.
    """
    for key, record in index.record.flow_keys.items():
        if not all(change.is_certain for change in record.rate):
            continue
        starts = _starts(index, key)
        early = _first_excess(starts, [(change.sent_at, 0, change.value) for change in record.rate])
        late = _first_excess(starts, [(change.done_at, 2, change.value) for change in record.rate])
        if early is not None and late is not None:
            yield Violation(
                invariant=Invariant.FLOW_CONTROL,
                text=f"flow-control key {key!r}: {late}",
                message_ids=tuple(message.id for message in _members(index, key)),
            )


def _limit(record: FlowKeyRecord, from_at: int, to_at: int) -> int | None:
    values: list[int | None] = possible(record.parallelism, from_at, to_at, None)
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else None


def _members(index: RunIndex, key: str) -> list[MessageRecord]:
    return [message for message in index.record.messages if message.flow_key == key]


def _starts(index: RunIndex, key: str) -> list[int]:
    return sorted(
        index.time_at(position)
        for message in _members(index, key)
        for position in index.positions[message.id]
        if index.record.log[position].state == "ACTIVE"
    )


def _first_excess(starts: Sequence[int], changes: Sequence[tuple[int, int, Rate]]) -> str | None:
    """Return the first breach, in order of time over starts and changes; ``None`` if there is none."""
    limit, period_start, count = Rate(), 0, 0
    events: list[tuple[int, int, Rate | None]] = [*changes, *((at, 1, None) for at in starts)]
    for at, _, change in sorted(events, key=lambda event: event[:2]):
        if change is not None:
            limit = change
            if change.is_fresh:
                period_start, count = at, 0
            continue
        if at >= period_start + limit.period_seconds * 1000:
            period_start, count = at, 0
        count += 1
        if limit.rate is not None and count > limit.rate:
            return (
                f"{count} attempts started in the {limit.period_seconds} s from {period_start} to {at}, where"
                f" {limit.rate} are allowed"
            )
    return None
