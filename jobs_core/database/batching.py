"""Groups the work of concurrent callers: one commit, or one request, for many of them.

There is no background task to start or stop. The first caller after a pause starts the work; callers that
come while it runs wait for the next round; the work ends when nobody waits.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

Item = TypeVar("Item")
Answer = TypeVar("Answer")


T = TypeVar("T")


class PerLoop(Generic[T]):
    """One object for each event loop, for objects that must not be awaited on another loop.

    A program has several loops where it calls ``asyncio.run`` repeatedly, or awaits in several threads.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def here(self) -> T:
        """Return the running loop's object; the first call makes it."""
        loop = asyncio.get_running_loop()
        if (found := self._made.get(loop)) is not None:
            return found
        with self._lock:
            return self._made.setdefault(loop, self._make())


class Coalescer(Generic[Item, Answer]):
    """Groups concurrent ``submit`` calls.

    ``perform`` gets up to ``limit`` items in the order of submission, and returns a result or an exception
    for each. At most ``lanes`` groups run at a time.
    """

    def __init__(
        self,
        perform: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | BaseException]]],
        *,
        limit: int,
        lanes: int = 1,
    ) -> None:
        self._perform = perform
        self._limit = limit
        self._lanes = lanes
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._busy_lanes = 0
        self._running: set[asyncio.Task[None]] = set()

    async def submit(self, item: Item) -> Answer:
        """Submit ``item`` and return its result. Cancelling the caller does not stop the work."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._busy_lanes < self._lanes:
            self._busy_lanes += 1
            task = asyncio.create_task(self._drain())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await future

    async def join(self) -> None:
        """Wait until no group is running."""
        while self._running:
            # Not gather: it may return at once for finished tasks, before their callbacks discard them.
            await asyncio.wait(self._running)

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await self._next_group()
        finally:
            # Now, not when the task is done: a caller that submits in between needs a free lane.
            self._busy_lanes -= 1

    async def _next_group(self) -> None:
        group = [self._waiting.popleft() for _ in range(min(self._limit, len(self._waiting)))]
        try:
            answers = await self._perform([item for item, _ in group])
        except BaseException as error:
            _settle(group, [error] * len(group))
            if not isinstance(error, Exception):
                raise
        else:
            _settle(group, answers)


def _settle(
    group: Sequence[tuple[Item, asyncio.Future[Answer]]], answers: Sequence[Answer | BaseException]
) -> None:
    for (_, future), answer in zip(group, answers, strict=True):
        if future.done():
            continue
        if isinstance(answer, asyncio.CancelledError):
            future.cancel()
        elif isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
