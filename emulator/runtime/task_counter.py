"""The tasks of one tenant, and a counter of unfinished due work."""

import asyncio
import logging
from collections.abc import Coroutine

from emulator.errors import StoreUnavailable

log: logging.Logger = logging.getLogger(__name__)


class Work:
    """Counts work that has begun and not ended; ``settled`` waits until the count is zero."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._left = 0
        self._none_left = asyncio.Event()
        self._none_left.set()

    @property
    def is_settled(self) -> bool:
        """Return whether all work that has begun has ended."""
        return not self._left

    def begin(self, count: int = 1) -> None:
        """Add ``count`` pieces of work."""
        self._left += count

    def end(self, count: int = 1) -> None:
        """Remove ``count`` pieces of work that are done, or need not be waited for; a negative count adds them."""
        self._left -= count
        if not self._left:
            self._none_left.set()

    async def settled(self) -> None:
        """Wait until no work is left."""
        while self._left:
            self._none_left.clear()
            await self._none_left.wait()

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run ``work`` in a task of its own. Its exceptions are logged."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    async def join(self, grace_seconds: float) -> None:
        """Wait for the tasks, and cancel those that take longer than the grace period."""
        if self._tasks and grace_seconds > 0:
            await asyncio.wait(self._tasks, timeout=grace_seconds)
        await self.cancel()

    async def cancel(self) -> None:
        """Cancel all tasks but the calling one."""
        own = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not own]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        failure = None if task.cancelled() else task.exception()
        # A refusing store logs the reason itself.
        if failure is not None and not isinstance(failure, StoreUnavailable):
            log.error("an attempt could not be carried out", exc_info=failure)
