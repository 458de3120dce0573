"""The attempts that run in this process: what is still to be done for them when it stops."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

_LONGEST_STOP_SECONDS = 5.0


class RunningAttempts:
    """Running attempts of one worker, by their tasks."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._ending: set[asyncio.Task[Any]] = set()

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Count the present task as an attempt while the block runs."""
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            yield
        finally:
            self._running.discard(task)

    async def shielded(self, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work`` to its end, also when the attempt is cancelled once more."""
        task = asyncio.create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        await asyncio.shield(task)

    async def stop(self) -> None:
        """Cancel what runs and was not yet cancelled, and wait for the end of it all, for some seconds at most."""
        running = [task for task in self._running if task is not asyncio.current_task()]
        for task in running:
            if not task.cancelling():
                task.cancel()
        if running:
            await asyncio.wait(running, timeout=_LONGEST_STOP_SECONDS)
        if self._ending:
            await asyncio.wait(self._ending, timeout=_LONGEST_STOP_SECONDS)
