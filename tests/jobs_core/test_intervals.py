"""Work at intervals: begun at once where that is asked, never twice at a time, and not ended by a failure."""

import asyncio
import logging

import pytest

from jobs_core.engine.intervals import Interval, at_intervals


async def test_work_goes_on_at_its_interval_after_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    enough = asyncio.Event()
    runs: list[int] = []

    async def work() -> None:
        runs.append(len(runs))
        if len(runs) == 3:
            enough.set()
        raise RuntimeError("as asked")

    with caplog.at_level(logging.INFO):
        async with at_intervals([Interval("the work", 0.01, work, begins_at_once=True)]):
            await enough.wait()
    assert runs[:3] == [0, 1, 2]
    assert {record.name for record in caplog.records} == {"jobs_core.engine.intervals"}
    assert caplog.records[0].getMessage() == "the work failed; trying again"


async def test_a_run_that_has_not_ended_is_not_begun_again_and_ends_with_the_block() -> None:
    begun = asyncio.Event()
    other = asyncio.Event()
    state = {"running": 0, "most": 0, "cancelled": 0}

    async def slow() -> None:
        state["running"] += 1
        state["most"] = max(state["most"], state["running"])
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            state["cancelled"] += 1
            raise
        finally:
            state["running"] -= 1

    turns = 0

    async def quick() -> None:
        nonlocal turns
        turns += 1
        if turns == 5:
            other.set()

    intervals = [Interval("slow", 0.01, slow, begins_at_once=True), Interval("quick", 0.01, quick)]
    async with at_intervals(intervals):
        await begun.wait()
        await other.wait()
    while state["running"]:
        await asyncio.sleep(0)
    assert state == {"running": 0, "most": 1, "cancelled": 1}
