"""The writes that must be on disk before an attempt starts, and those that need not be."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from emulator.clock import ManualClock
from emulator.testing import Harness, Receiver
from tests.bounds import HANG_SECONDS

URL = "https://example.com/hook"


@pytest.fixture
async def stored(tmp_path: Path) -> AsyncIterator[tuple[Harness, Receiver]]:
    async with Harness(db=str(tmp_path / "q.db")) as qstash:
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount("https://example.com", receiver)
        yield qstash, receiver


@asynccontextmanager
async def _slow_disk(qstash: Harness) -> AsyncIterator[None]:
    """Nothing becomes durable meanwhile."""
    writer, gate = qstash.emulator.writer, threading.Event()
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(_store: object) -> None:
        loop.call_soon_threadsafe(begun.set)
        gate.wait(HANG_SECONDS)

    holding = asyncio.create_task(writer.read_after_writes(hold))
    await begun.wait()
    try:
        yield
    finally:
        gate.set()
        await holding


async def _until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0)


async def test_an_attempt_of_what_is_on_disk_does_not_wait_for_the_line_that_it_is_under_way(
    stored: tuple[Harness, Receiver],
) -> None:
    qstash, receiver = stored
    await qstash.client.post(f"/v2/publish/{URL}", headers={"Upstash-Delay": "1h"})
    async with _slow_disk(qstash):
        # Not by turning the clock, which is itself written down.
        assert isinstance(qstash.clock, ManualClock)
        qstash.clock.set(qstash.now + 3_600_000)
        turning = asyncio.ensure_future(qstash.runtime.change(lambda _state, _now_at: None))
        await asyncio.wait_for(_until(lambda: bool(receiver.got)), HANG_SECONDS)
    await turning
    assert [one.retried for one in receiver.got] == [0]


@pytest.mark.parametrize("needs_disk", ["a used rate", "the message itself"])
async def test_what_an_attempt_rests_on_is_on_disk_first(
    stored: tuple[Harness, Receiver], needs_disk: str
) -> None:
    qstash, receiver = stored
    flow = {"Upstash-Flow-Control-Key": "k", "Upstash-Flow-Control-Value": "rate=1,period=1m"}
    if needs_disk == "a used rate":
        await qstash.client.post(f"/v2/publish/{URL}", headers={"Upstash-Delay": "1h", **flow})
    async with _slow_disk(qstash):
        going_on = (
            asyncio.ensure_future(qstash.advance("1h"))
            if needs_disk == "a used rate"
            else asyncio.ensure_future(qstash.client.post(f"/v2/publish/{URL}"))
        )
        await asyncio.wait_for(_until(lambda: not qstash.emulator.writer.is_idle), HANG_SECONDS)
        for _ in range(100):
            await asyncio.sleep(0)
        assert receiver.got == []
    await going_on
    await qstash.settle()
    assert len(receiver.got) == 1
