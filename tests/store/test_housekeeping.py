"""On the machine's clock, expired records are deleted at intervals."""

import asyncio
from pathlib import Path

from sqlalchemy import text

from emulator.runtime.intervals import IntervalWork
from emulator.server import Emulator
from emulator.settings import Settings
from emulator.store.store import SqlStore
from emulator.testing import Harness, Receiver
from tests.bounds import HANG_SECONDS

LONG_AGO_AT = 1_600_000_000_000


async def test_a_server_that_is_left_on_deletes_what_is_over(tmp_path: Path) -> None:
    db = str(tmp_path / "state.db")
    async with Harness(now_at=LONG_AGO_AT, db=db) as harness:
        harness.mount("https://example.com", Receiver(now=lambda: harness.now))
        answer = await harness.client.post("/v2/publish/https://example.com/x", content=b"body")
        assert answer.status_code == 201
        await harness.settle()
    emulator = Emulator(Settings(db=db), housekeeping_seconds=0.05)
    await emulator.start()
    try:
        assert await emulator.writer.read(_message_count) == 1
        async with asyncio.timeout(HANG_SECONDS):
            while await emulator.writer.read(_message_count):
                await asyncio.sleep(0)
    finally:
        await emulator.close()


def _message_count(store: SqlStore) -> int:
    with store.connect() as connection:
        count: int = connection.execute(text("SELECT count(*) FROM messages")).scalar_one()
    return count


async def test_runs_go_on_after_an_error_and_do_not_overlap() -> None:
    running, most, count, thrice = 0, 0, 0, asyncio.Event()

    async def work() -> None:
        nonlocal running, most, count
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.03)  # three intervals long
        running -= 1
        count += 1
        if count == 3:
            thrice.set()
        raise RuntimeError("boom")

    interval = IntervalWork(work, seconds=0.01)
    interval.start()
    try:
        await asyncio.wait_for(thrice.wait(), HANG_SECONDS)
    finally:
        interval.close()
    assert most == 1


async def test_a_server_that_stops_early_starts_no_run() -> None:
    runs: list[str] = []
    twice = asyncio.Event()

    async def stopped() -> None:
        runs.append("stopped")

    async def left_on() -> None:
        runs.append("left on")
        if runs.count("left on") == 2:
            twice.set()

    first, second = IntervalWork(stopped, seconds=0.01), IntervalWork(left_on, seconds=0.01)
    first.start()
    second.start()
    first.close()
    try:
        await asyncio.wait_for(twice.wait(), HANG_SECONDS)
    finally:
        second.close()
    assert "stopped" not in runs
