"""The wall clock jumps by half an hour, as after a sleep of the machine, while the monotonic clock does not.

Timers wait on the monotonic clock, which does not jump. Due messages go out at once, without any request.
"""

import asyncio
import time
from types import SimpleNamespace

import pytest

from emulator import clock
from emulator.clock import Clock, SystemClock
from emulator.testing import Harness, Receiver
from tests.bounds import HANG_SECONDS

_JUMP_SECONDS = 30 * 60


class _Wall:
    """A wall clock that the test sets; all other clocks go on."""

    def __init__(self) -> None:
        self.ahead_seconds = 0

    def module(self) -> SimpleNamespace:
        return SimpleNamespace(
            time=lambda: time.time() + self.ahead_seconds,  # noqa: TID251  the clock that is set
            time_ns=lambda: time.time_ns() + self.ahead_seconds * 10**9,  # noqa: TID251
        )


class _Real(Harness):
    """An emulator in this process under the system's clock."""

    def _make_clock(self, kept_at: int | None) -> Clock:
        return SystemClock()


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> _Wall:
    wall = _Wall()
    monkeypatch.setattr(clock, "time", wall.module())
    monkeypatch.setattr(clock, "_LONGEST_TIMER_SECONDS", 0.05)
    return wall


async def test_a_schedule_fires_once_and_a_delayed_message_goes_out_at_once(wall: _Wall) -> None:
    async with _Real() as qstash:
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount("https://example.com", receiver)
        # The jump passes six of its times; the next is at least half a minute away.
        minutes = sorted(
            {(time.gmtime(qstash.now // 1000 + 90).tm_min + 5 * number) % 60 for number in range(12)}
        )
        cron = f"{','.join(map(str, minutes))} * * * *"
        made = await qstash.client.post(
            "/v2/schedules/https://example.com/scheduled", headers={"Upstash-Cron": cron}
        )
        await qstash.client.post("/v2/publish/https://example.com/delayed", headers={"Upstash-Delay": "20m"})
        await qstash.client.post("/v2/publish/https://example.com/later", headers={"Upstash-Delay": "2h"})
        await qstash.settle()
        assert receiver.got == []

        wall.ahead_seconds = _JUMP_SECONDS
        async with asyncio.timeout(HANG_SECONDS):
            while len(receiver.got) < 2:
                await asyncio.sleep(0.01)
        await qstash.settle()
        paths = sorted(one.url.rpartition("/")[2] for one in receiver.got)
        assert paths == ["delayed", "scheduled"]
        schedule_id = made.json()["scheduleId"]
        schedule = (await qstash.client.get(f"/v2/schedules/{schedule_id}")).json()
        assert qstash.now < schedule["nextScheduleTime"] <= qstash.now + 5 * 60_000
