"""The threads that blocking handlers run in: one each, so many at most, and no queue before them.

A handler's timeout begins when it begins, so a job that finds no thread must not wait for one: its delivery is told to
come back. A thread that outlives its handler's timeout cannot be stopped. It keeps its place, and is counted as hung.
The threads are daemons: a process that ends does not wait for them.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any


class HandlerThreads:
    """Up to ``size`` threads. ``busy`` are running a handler; ``hung`` of them are no longer waited for."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.busy: int = 0
        self.hung: int = 0
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take one, for ``run`` or to ``put_back``; false if there is none."""
        with self._lock:
            if self.busy >= self.size:
                return False
            self.busy += 1
            return True

    def put_back(self) -> None:
        """Put back one that was taken and did not run."""
        with self._lock:
            self.busy -= 1

    async def run(self, call: Callable[[], Any]) -> Any:
        """Run ``call`` in the thread that was taken, and return or raise what it does.

        If the waiting is cancelled the call runs on, as hung, and the thread is put back at its end.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
        run = _Run(self)
        context = contextvars.copy_context()

        def work() -> None:
            outcome: tuple[Any, BaseException | None]
            try:
                outcome = context.run(call), None
            except BaseException as error:  # noqa: BLE001 -- StopIteration would never leave a future
                outcome = None, error
            run.end()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, ended, outcome)

        threading.Thread(target=work, name="jobs_core-handler", daemon=True).start()
        try:
            result, error = await ended
        except asyncio.CancelledError:
            run.leave()
            raise
        if error is not None:
            raise error
        return result

    def _ended(self, *, was_left: bool) -> None:
        with self._lock:
            self.busy -= 1
            self.hung -= was_left

    def _left(self) -> None:
        with self._lock:
            self.hung += 1


class _Run:
    """One call: it ends, or is left, whichever is first."""

    def __init__(self, threads: HandlerThreads) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._is_over = self._is_left = False

    def end(self) -> None:
        with self._lock:
            self._is_over = True
            self._threads._ended(was_left=self._is_left)  # noqa: SLF001 -- two halves of one thing

    def leave(self) -> None:
        with self._lock:
            if not self._is_over:
                self._is_left = True
                self._threads._left()  # noqa: SLF001 -- as above


def _settle(
    ended: "asyncio.Future[tuple[Any, BaseException | None]]", outcome: tuple[Any, BaseException | None]
) -> None:
    if not ended.done():
        ended.set_result(outcome)
