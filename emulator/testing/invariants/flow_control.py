"""Invariant 5: a flow-control key's parallelism, and its rate in fixed periods (contract 5.2)."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from emulator.testing.invariants.index import RunIndex
from emulator.testing.invariants.overlap import check_overlap, check_pause
from emulator.testing.invariants.record import FlowKeyRecord, MessageRecord, Rate, SettingChange, possible
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

    A setting took effect at an unknown time within its call: only starts that are wrong whenever it did are a
    violation. Calls without an answer leave too much open to tell.
    """
    for key, record in index.record.flow_keys.items():
        if not all(change.is_certain for change in record.rate):
            continue
        excess = first_excess(_starts(index, key), record.rate)
        if excess is not None:
            yield Violation(
                invariant=Invariant.FLOW_CONTROL,
                text=f"flow-control key {key!r}: {excess}",
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


def first_excess(starts: Sequence[int], changes: Sequence[SettingChange[Rate]]) -> str | None:
    """Return the first breach in every course that the periods may have taken, or ``None``.

    ``starts`` are unix milliseconds in order.
    """
    courses = {_Course()}
    fresh = [change for change in changes if change.value.is_fresh]
    for at, limits in _limits_at(starts, changes):
        tried = {
            (limit, course.started(at, limit))
            for limit in limits
            for given in courses
            for course in _with_resets(given, fresh, at)
        }
        courses = {course for limit, course in tried if limit.rate is None or course.attempts <= limit.rate}
        if not courses:
            limit, course = min(tried, key=lambda one: one[1].attempts)
            return (
                f"{course.attempts} attempts started in the {limit.period_seconds} s from {course.period_start}"
                f" to {at}, where {limit.rate} are allowed"
            )
    return None


class _Course(NamedTuple):
    """A course that a key's periods may have taken: the present one, its attempts, and the resets until now."""

    period_start: int = 0
    attempts: int = 0
    resets: int = 0

    def started(self, at: int, limit: Rate) -> "_Course":
        """Return the course with one more attempt, which may begin a period."""
        if at >= self.period_start + limit.period_seconds * 1000:
            return self._replace(period_start=at, attempts=1)
        return self._replace(attempts=self.attempts + 1)


def _with_resets(course: _Course, fresh: Sequence[SettingChange[Rate]], at: int) -> Iterator[_Course]:
    """Yield the course with each number of resets that may have taken effect until ``at``, at the first or the
    last time that they may have.
    """
    least = sum(change.done_at < at for change in fresh)
    most = sum(change.sent_at <= at for change in fresh)
    if course.resets >= least:
        yield course
    for resets in range(max(course.resets + 1, least), most + 1):
        last = fresh[resets - 1]
        for since in {last.sent_at, min(last.done_at, at)}:
            yield _Course(since, 0, resets)


def _limits_at(
    starts: Sequence[int], changes: Sequence[SettingChange[Rate]]
) -> Iterator[tuple[int, set[Rate]]]:
    """Yield each start with the limits that may have been in force then (as `possible` has them, in one sweep)."""
    coming = deque(sorted(enumerate(changes), key=lambda one: one[1].sent_at))
    alive: list[tuple[int, SettingChange[Rate]]] = []
    latest = (-1, -1)
    for at in starts:
        while coming and coming[0][1].sent_at <= at:
            alive.append(coming.popleft())
        latest = max([latest, *((change.sent_at, order) for order, change in alive if change.done_at < at)])
        alive = [(order, change) for order, change in alive if (change.done_at, order) >= latest]
        limits = {replace(change.value, is_fresh=False) for _, change in alive}
        yield at, limits if latest > (-1, -1) else limits | {Rate()}
