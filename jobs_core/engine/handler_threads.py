"""The threads that blocking handlers run in: one a handler, up to a limit, without a queue.

A handler's timeout begins when the handler begins, so a job that finds no free thread does not wait for one:
its delivery is answered so that QStash sends it again. A thread that outlives its handler's timeout cannot be
stopped. It keeps its place and counts as hung. The threads are daemons: a process does not wait for them when
it ends.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any


class HandlerThreads:
    """Up to ``size`` threads. ``busy`` of them run a handler; ``hung`` of those are past the handler's timeout."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.busy: int = 0
        self.hung: int = 0
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Reserve a thread, for ``run`` or ``put_back``. Return false if none is free."""
        with self._lock:
            if self.busy >= self.size:
                return False
            self.busy += 1
            return True

    def put_back(self) -> None:
        """Release a reserved thread that has run nothing."""
        with self._lock:
            self.busy -= 1

    async def run(self, call: Callable[[], Any]) -> Any:
        """Run ``call`` in the reserved thread, and return or raise what it does.

        If this wait is cancelled, the call runs on and counts as hung; its thread is released when it ends.
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


class ReservedThread:
    """A thread that is reserved for one handler, as a context manager that releases it if nothing has run in it.

    For a handler that needs no thread, ``is_taken`` is false and nothing is released.
    """

    def __init__(self, threads: HandlerThreads, *, is_taken: bool) -> None:
        self._threads = threads
        self._is_taken = is_taken

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        if self._is_taken:
            self._is_taken = False
            self._threads.put_back()

    async def run(self, call: Callable[[], Any]) -> Any:
        self._is_taken = False
        return await self._threads.run(call)


class _Run:
    """One call, which ends or is abandoned, whichever is first."""

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
