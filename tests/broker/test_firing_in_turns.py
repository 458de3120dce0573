"""Many schedules of one minute leave others their turn: time alone fires them, and each slice waits for the disk."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from emulator.broker import schedule_operations
from emulator.broker.message import AttemptResult
from emulator.broker.state import BrokerState
from emulator.clock import Alarm, ManualClock, SystemClock
from emulator.delivery.request import OutboundRequest
from emulator.runtime.loop import Runtime
from emulator.server import Emulator
from emulator.settings import Settings
from emulator.testing import Harness, Receiver
from emulator.wire.cron import Cron
from tests.bounds import HANG_SECONDS
from tests.conftest import NOW_AT

_COUNT = 120
# A bound of its own, well under the number of schedules.
_SLICE = 50


def _make(state: BrokerState, now_at: int) -> None:
    for number in range(_COUNT):
        schedule_operations.save_schedule(
            state, now_at, schedule_id=f"s{number:03}", cron=Cron.parse("* * * * *"),
            destination="https://example.com/tick", query="", lines=(), body=b"", caller_ip=None,
        )  # fmt: skip


class _Clock(SystemClock):
    """Rings like the machine's, and stands where it is put."""

    def __init__(self) -> None:
        self.at = NOW_AT
        self._next: Callable[[], None] | None = None

    def now_at(self) -> int:
        return self.at

    def call_at(self, when_at: int, callback: Callable[[], None]) -> Alarm:
        loop = asyncio.get_running_loop()
        if when_at <= self.at:
            return loop.call_soon(callback)
        self._next = callback
        return loop.call_later(HANG_SECONDS, callback)

    def turn_to(self, now_at: int) -> None:
        assert self._next is not None
        self.at = now_at
        self._next()


class _Destination:
    def __init__(self) -> None:
        self.called = 0
        self.all_came = asyncio.Event()

    async def send(self, request: OutboundRequest) -> AttemptResult:
        self.called += 1
        if self.called == _COUNT:
            self.all_came.set()
        return AttemptResult(status=200)

    async def close(self) -> None:
        pass


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_next_slice_fires_when_the_one_before_is_on_disk(tmp_path: Path) -> None:
    clock, destination = _Clock(), _Destination()
    emulator = Emulator(
        Settings(db=str(tmp_path / "q.db")), transport=destination, make_clock=lambda _kept_at: clock
    )
    async with _started(emulator) as runtime:
        await runtime.change(_make)
        may_write = threading.Event()
        held = asyncio.create_task(
            emulator.writer.read_after_writes(lambda _store: may_write.wait(HANG_SECONDS))
        )
        await _turns(1)
        clock.turn_to(NOW_AT + 60_000)
        # What somebody asks for now is stored with the first slice, not after the last.
        paused = asyncio.create_task(runtime.change(_pause_last))
        await _turns(100)
        fired_meanwhile, was_answered = runtime.schedules_fired, await runtime.read(lambda _store: True)
        may_write.set()
        assert 0 < fired_meanwhile <= _SLICE
        assert was_answered
        async with asyncio.timeout(HANG_SECONDS):
            await asyncio.gather(held, paused)
            assert runtime.schedules_fired <= 2 * _SLICE
            await runtime.change(_resume_last)
            destination.called += 1  # the paused one has missed its minute
            await destination.all_came.wait()
        assert runtime.schedules_fired == _COUNT - 1


@asynccontextmanager
async def _started(emulator: Emulator) -> AsyncIterator[Runtime]:
    await emulator.start()
    try:
        yield emulator.runtimes[0]
    finally:
        await emulator.close()


def _pause_last(state: BrokerState, now_at: int) -> None:
    schedule_operations.pause_schedule(state, now_at, schedule_id=f"s{_COUNT - 1:03}", is_paused=True)


def _resume_last(state: BrokerState, now_at: int) -> None:
    schedule_operations.pause_schedule(state, now_at, schedule_id=f"s{_COUNT - 1:03}", is_paused=False)


async def test_what_others_do_fires_no_slice_of_its_own(qstash: Harness, receiver: Receiver) -> None:
    await qstash.runtime.change(_make)
    assert isinstance(qstash.clock, ManualClock)
    qstash.clock.set(qstash.runtime.next_due_at() or 0)
    for _ in range(3):
        answer = await qstash.client.post("/v2/publish/https://example.com/other")
        assert answer.is_success
    await qstash.settle()
    assert (qstash.runtime.schedules_fired, len(receiver.got)) == (0, 3)
    await qstash.advance("1s")
    assert (qstash.runtime.schedules_fired, len(receiver.got)) == (_COUNT, _COUNT + 3)


async def test_a_cancel_fails_the_last_run_alone(qstash: Harness) -> None:
    schedule = {"Upstash-Cron": "* * * * *", "Upstash-Schedule-Id": "s", "Upstash-Delay": "1h"}
    await qstash.client.post("/v2/schedules/https://example.com/tick", headers=schedule)
    await qstash.advance("1m")
    first = list(qstash.runtime.broker.state.schedules["s"].last_states)
    await qstash.advance("1m")
    second = list(qstash.runtime.broker.state.schedules["s"].last_states)
    await qstash.client.delete(f"/v2/messages/{first[0]}")
    assert qstash.runtime.broker.state.schedules["s"].last_states == {second[0]: "IN_PROGRESS"}
    await qstash.client.delete(f"/v2/messages/{second[0]}")
    assert qstash.runtime.broker.state.schedules["s"].last_states == {second[0]: "FAIL"}
