"""The tasks of one tenant, and how much of what is due is still to be done."""

import asyncio
import logging
from collections.abc import Coroutine

from emulator.errors import StoreUnavailable

log: logging.Logger = logging.getLogger(__name__)


class Work:
    """Counts what has begun and not ended; who waits for ``settled`` goes on when that is nothing."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._left = 0
        self._none_left = asyncio.Event()
        self._none_left.set()

    @property
    def is_settled(self) -> bool:
        """Whether everything that has begun has ended."""
        return not self._left

    def begin(self, count: int = 1) -> None:
        """Count ``count`` things more that are to be done."""
        self._left += count

    def end(self, count: int = 1) -> None:
        """Count ``count`` of them as done, or as nothing to wait for; a negative count takes that back."""
        self._left -= count
        if not self._left:
            self._none_left.set()

    async def settled(self) -> None:
        """Return when nothing is left."""
        while self._left:
            self._none_left.clear()
            await self._none_left.wait()

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Do ``work`` in a task of its own; what it raises is logged."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    async def join(self, grace_seconds: float) -> None:
        """Wait for the tasks, and cancel those that take longer."""
        if self._tasks and grace_seconds > 0:
            await asyncio.wait(self._tasks, timeout=grace_seconds)
        await self.cancel()

    async def cancel(self) -> None:
        """End all tasks but the one that asks."""
        own = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not own]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        failure = None if task.cancelled() else task.exception()
        # A store that refuses says so itself.
        if failure is not None and not isinstance(failure, StoreUnavailable):
            log.error("an attempt could not be carried out", exc_info=failure)
