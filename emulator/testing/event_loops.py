"""Event loops of emulators: an async test's own, or for a plain test one in a thread.

In an async test emulator, app and test share one loop and one thread: everything happens in one order, the same
in every run. A plain test blocks its thread while it waits, so its emulator lives on a loop that runs on a thread
of its own, one for the whole process. What must run in the test's thread all the same (WSGI apps: Django binds
database connections, and with them the test's transaction, to a thread) is handed back to it as an errand while
it waits for the emulator.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from queue import SimpleQueue
from typing import Any, TypeVar

from emulator.errors import EmulatorError

T = TypeVar("T")


class LoopUnavailable(EmulatorError):
    """The emulator cannot answer here, because its event loop is blocked, or has ended."""


def is_in_loop() -> bool:
    """Return whether an event loop is running in this thread."""
    return running_loop() is not None


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, if any."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Home:
    """An emulator's event loop, and the ways to call it from elsewhere."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def perform(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` for blocking code. Raise LoopUnavailable if that would never end."""
        if running_loop() is self.loop:
            return drive(work)
        if self.loop.is_running():
            return self._wait_for(work)
        if self.loop.is_closed() or is_in_loop():
            work.close()
            raise LoopUnavailable(_GONE)
        return self.loop.run_until_complete(work)

    async def join(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` for code in any event loop. Raise LoopUnavailable."""
        if running_loop() is self.loop:
            return await work
        if self.loop.is_running():
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))
        work.close()
        raise LoopUnavailable(_GONE)

    async def call_blocking(self, call: Callable[[], T]) -> T:
        """Run a blocking call of the emulator, on a thread, so that the loop goes on."""
        return await asyncio.to_thread(call)

    def _wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()


class BackgroundHome(Home):
    """The event loop of plain tests. A thread that waits for the emulator runs its blocking calls meanwhile."""

    def __init__(self) -> None:
        super().__init__(background_loop())
        self._errands: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def perform_with_errands(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work``, and in this thread the blocking calls that it hands back."""
        if is_in_loop():
            return self.perform(work)
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        future.add_done_callback(lambda _done: self._errands.put(None))
        while not future.done():
            errand = self._errands.get()
            if errand is not None:
                errand()
        return future.result()

    async def call_blocking(self, call: Callable[[], T]) -> T:
        """Have the thread that waits for this emulator, or the next that does, run ``call``."""
        done: asyncio.Future[T] = self.loop.create_future()

        def settle(set_outcome: Callable[[Any], None], outcome: object) -> None:
            if not done.done():
                set_outcome(outcome)

        def errand() -> None:
            if done.cancelled():
                return
            try:
                value = call()
            except BaseException as error:
                self.loop.call_soon_threadsafe(settle, done.set_exception, error)
                if not isinstance(error, Exception):
                    raise
            else:
                self.loop.call_soon_threadsafe(settle, done.set_result, value)

        self._errands.put(errand)
        return await done


_GONE = (
    "the emulator was first used in an event loop that does not run any more; use one loop scope for the test "
    "and its fixtures"
)
_BLOCKED = (
    "a blocking client was called inside the event loop in which the emulator lives, and this call needs that "
    "loop to go on: use the async client there, or run the blocking one with asyncio.to_thread"
)


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end inside the running loop, without returning to the loop. Raise LoopUnavailable.

    On a memory store the API waits for nothing, so a blocking client can be answered even in the emulator's
    own loop; the deliveries that follow are tasks, and start when the loop runs again.
    """
    try:
        contextvars.copy_context().run(work.send, None)
    except StopIteration as ended:
        value: T = ended.value
        return value
    work.close()
    raise LoopUnavailable(_BLOCKED)


_lock = threading.Lock()
_background: tuple[asyncio.AbstractEventLoop, threading.Thread] | None = None


def background_loop() -> asyncio.AbstractEventLoop:
    """Return the process's loop for plain tests, which the first call starts."""
    global _background  # noqa: PLW0603  one for the process: starting a thread for each test would cost more than the test
    with _lock:
        if _background is None:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="qstash-emulator", daemon=True)
            thread.start()
            _background = loop, thread
        return _background[0]


def close_background_loop() -> None:
    """Stop the loop and its thread, if they were started."""
    global _background  # noqa: PLW0603  see above
    with _lock:
        if _background is None:
            return
        loop, thread = _background
        _background = None
    asyncio.run_coroutine_threadsafe(_end_tasks(), loop).result(timeout=10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=10)
    loop.close()


async def _end_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
