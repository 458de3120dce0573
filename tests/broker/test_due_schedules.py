"""Schedules are due work like any other: in order, in slices, and once for what was missed."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from emulator.broker.due_schedules import DueSchedules
from emulator.broker.resources import Schedule
from emulator.testing import Harness, Receiver

_MINUTE_MS = 60_000


def _schedule(number: int, next_at: int) -> Schedule:
    return Schedule(
        id=f"s{number}", cron="* * * * *", destination="https://example.com", query="", lines=(),
        body_seq=None, caller_ip=None, created_at=0, next_at=next_at,
    )  # fmt: skip


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "pause", "delete", "pop"]),
        st.integers(min_value=0, max_value=5),
        st.integers(min_value=0, max_value=30),
    ),
    max_size=60,
)


@given(_STEPS)
def test_what_comes_out_is_what_the_schedules_say_at_that_moment(steps: list[tuple[str, int, int]]) -> None:
    schedules: dict[str, Schedule] = {}
    due = DueSchedules(schedules)
    for verb, number, at in steps:
        schedule = schedules.get(f"s{number}")
        if verb == "put":
            schedules[f"s{number}"] = _schedule(number, at)
            due.put(schedules[f"s{number}"])
        elif verb == "pause" and schedule is not None:
            schedules[schedule.id] = replace(schedule, is_paused=True)
        elif verb == "delete":
            schedules.pop(f"s{number}", None)
        elif verb == "pop":
            active = [
                (s.next_at, s.id) for s in schedules.values() if not s.is_paused and s.next_at is not None
            ]
            expected = min(active, default=None)
            assert due.next_due_at() == (expected[0] if expected else None)
            popped = due.pop_due(at)
            assert popped == (expected[1] if expected and expected[0] <= at else None)
            if popped is not None:  # as the broker does: fired, and put again
                schedules[popped] = replace(schedules[popped], next_at=at + 7)
                due.put(schedules[popped])


async def _make(qstash: Harness, count: int) -> None:
    for number in range(count):
        headers = {"Upstash-Cron": "* * * * *", "Upstash-Schedule-Id": f"s{number:03}"}
        answer = await qstash.client.post("/v2/schedules/https://example.com/tick", headers=headers)
        assert answer.is_success, answer.text


async def test_many_schedules_of_one_minute_all_fire_a_slice_at_a_time(
    qstash: Harness, receiver: Receiver
) -> None:
    await _make(qstash, 200)
    state = qstash.runtime.broker.state
    due_at = state.due_schedules.next_due_at()
    assert due_at is not None
    effects = qstash.runtime.broker.step(due_at)
    assert 0 < effects.fired <= 50  # a bound of its own: with 10,000 due, others wait for no more than these
    assert (
        qstash.runtime.broker.next_change_at(due_at) == due_at
    )  # the next slice, after others had their turn


async def test_a_minute_that_is_turned_fires_them_all_once(qstash: Harness, receiver: Receiver) -> None:
    count = 61
    await _make(qstash, count)
    turned = await qstash.advance("1m")
    assert (turned.fired, len(receiver.got)) == (count, count)


async def test_what_passed_while_nobody_was_there_is_fired_once(qstash: Harness) -> None:
    await _make(qstash, 1)
    state = qstash.runtime.broker.state
    schedule = state.schedules["s000"]
    assert schedule.next_at is not None
    # The machine slept for half an hour: its monotonic clock, and so every timer, stood still.
    effects = qstash.runtime.broker.step(schedule.next_at + 30 * _MINUTE_MS)
    assert effects.fired == 1
    assert state.due_schedules.next_due_at() == schedule.next_at + 31 * _MINUTE_MS
