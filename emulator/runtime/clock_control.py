"""Advance a manual clock from due time to due time, finishing everything due before time goes on."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from emulator.clock import Clock, ManualClock
from emulator.errors import Conflict
from emulator.runtime.task_counter import Work
from emulator.store import queries
from emulator.store.writer import StoreWriter
from emulator.wire.durations import format_duration


class ClockTurner:
    """Advances one tenant's clock, one caller at a time. Every call raises Conflict for the system's clock."""

    def __init__(
        self,
        clock: Clock,
        tenant_id: int,
        *,
        work: Work,
        writer: StoreWriter,
        next_due_at: Callable[[], int | None],
        next_pending_at: Callable[[], int | None],
        run_due: Callable[[int], Awaitable[None]],
        keep: Callable[[], Awaitable[None]],
        tidy: Callable[[], Awaitable[None]],
    ) -> None:
        """``next_due_at`` includes schedules, ``next_pending_at`` does not; ``run_due`` does the work due by then.

        ``keep`` stores each time of the clock, before the work due at it, and is awaited before the caller is answered,
        so that a restarted process continues from there. ``tidy`` is called once the clock has reached its target.
        """
        self._clock = clock
        self._tenant_id = tenant_id
        self._work = work
        self._writer = writer
        self._next_due_at = next_due_at
        self._next_pending_at = next_pending_at
        self._run_due = run_due
        self._keep = keep
        self._tidy = tidy
        self._turning = asyncio.Lock()

    async def advance_to(self, target_at: int) -> None:
        """Advance to ``target_at`` (unix ms), stopping at every due time. Raises Conflict for a past time."""
        clock = self._manual_clock()
        if target_at < clock.now_at():
            clock.set(target_at)
        async with self._turning:
            await self._work.settled()
            while (due_at := self._next_due_at()) is not None and due_at <= target_at:
                clock.set(max(due_at, clock.now_at()))
                self._keep()
                await self._run_due(clock.now_at())
                await self._work.settled()
            clock.set(max(target_at, clock.now_at()))
            await self._keep()
            await self._tidy()

    async def run_until_idle(self, limit_ms: int) -> None:
        """Advance until no message waits for its time, by at most ``limit_ms``.

        Schedules are not pending work, but fire when their times pass. Raises Conflict at the limit, naming the
        destinations whose messages never end.
        """
        clock = self._manual_clock()
        deadline_at = clock.now_at() + limit_ms
        await self._work.settled()
        while self._next_pending_at() is not None:
            next_at = self._next_due_at()
            assert next_at is not None
            if next_at > deadline_at:
                raise Conflict(await self._what_goes_round(limit_ms))
            await self.advance_to(next_at)

    async def _what_goes_round(self, limit_ms: int) -> str:
        select = partial(
            queries.busiest_urls, tenant_id=self._tenant_id, since_at=self._clock.now_at() - limit_ms, count=5
        )
        busiest = await self._writer.read_after_writes(select)
        counted = ", ".join(f"{url} ({count} messages)" for url, count in busiest)
        return f"not idle after {format_duration(limit_ms)}; what keeps going round: {counted}"

    def _manual_clock(self) -> ManualClock:
        if not isinstance(self._clock, ManualClock):
            raise Conflict("the clock is the system's and cannot be turned; start with --clock manual")
        return self._clock
