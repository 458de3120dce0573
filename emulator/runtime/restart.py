"""Restarting one tenant from its store: after a crash on purpose, a reset of everything, or an import."""

import asyncio
from collections.abc import Awaitable, Callable

from emulator.clock import Clock, ManualClock
from emulator.errors import StoreUnavailable
from emulator.runtime.task_counter import Work
from emulator.store.store import SqlStore
from emulator.store.writer import StoreWriter


class Restarter:
    """Restarts one tenant, one restart at a time. Nothing is accepted while ``is_under_way``."""

    def __init__(
        self,
        clock: Clock,
        *,
        work: Work,
        writer: StoreWriter,
        forget: Callable[[], Awaitable[None]],
        start: Callable[[], Awaitable[None]],
        keep_clock: Callable[[], Awaitable[None]],
        note_restarted: Callable[[], None],
    ) -> None:
        """``forget`` stops all tasks and drops what is in memory; ``start`` reads the store again.

        ``keep_clock`` stores where a manual clock stands. ``note_restarted`` is called when all of it is done.
        """
        self.is_under_way: bool = False
        self.crashed_at: list[int] = []
        """When the tenant lost its memory on purpose, in unix milliseconds."""
        self._clock = clock
        self._work = work
        self._writer = writer
        self._forget = forget
        self._start = start
        self._keep_clock = keep_clock
        self._note_restarted = note_restarted

    async def crash(self) -> None:
        """Discard everything that is not durable, as ``kill -9`` does, and restart from the store."""
        self.crashed_at.append(self._clock.now_at())
        await self.restart(lambda _store: None)

    def begin_crash(self) -> None:
        """Crash soon, unless a restart is under way by then. For a caller whose own task the crash cancels."""
        self._work.begin()
        # A task of its own: the crash cancels those of the tenant.
        self._crash_task = asyncio.create_task(self._crash_unless_restarting())
        self._crash_task.add_done_callback(lambda _: self._work.end())

    async def _crash_unless_restarting(self) -> None:
        # Asked only now: a fault may crash several deliveries of one moment.
        if not self.is_under_way:
            await self.crash()

    async def restart(self, change: Callable[[SqlStore], None], now_at: int | None = None) -> None:
        """Stop at once, apply ``change`` to the store, and start from the result.

        ``now_at`` is the new time of a manual clock, in unix milliseconds. Raise StoreUnavailable if a restart is
        under way.
        """
        if self.is_under_way:
            raise StoreUnavailable("the emulator is starting again")
        self.is_under_way = True
        self._work.begin()
        try:
            await self._forget()
            try:
                await self._writer.read_after_writes(change)
                if now_at is not None and isinstance(self._clock, ManualClock):
                    self._clock.start_again_at(now_at)
                    await self._keep_clock()
            finally:
                await self._start()
            self._note_restarted()
        finally:
            self.is_under_way = False
            self._work.end()
