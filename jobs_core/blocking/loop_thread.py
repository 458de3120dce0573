"""An event loop in a thread of its own, for code without one."""

import asyncio
import logging
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

log: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")


class BackgroundLoop:
    """Runs coroutines for threads that wait for them.

    The thread starts with the first use. So an object made before a server forks works in each child,
    provided it was not used before.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._process = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the running loop."""
        with self._lock:
            if self._loop is not None and self._process != os.getpid():
                raise RuntimeError(
                    "the job system was used before this process was forked, and its thread is the parent's. Use it "
                    "only after the fork (gunicorn without --preload, or in post_fork)"
                )
            if self._loop is None:
                self._process = os.getpid()
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_run, args=(self._loop,), name=self._name, daemon=True)
                self._thread.start()
            return self._loop

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Wait for ``call`` and return its result.

        Raises:
            RuntimeError: from within the loop itself, or after a fork: both would wait for ever.
        """
        if threading.current_thread() is self._thread:
            call.close()
            raise RuntimeError(
                "blocking here would stop the event loop that does the work; await JobDispatcher"
            )
        try:
            loop = self.loop
        except RuntimeError:
            call.close()
            raise
        return asyncio.run_coroutine_threadsafe(call, loop).result()

    def close(self) -> None:
        """Stop the thread. A later use starts another."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Run ``loop`` until it is stopped. A task that raises SystemExit or KeyboardInterrupt ends only itself."""
    while True:
        try:
            loop.run_forever()
        except BaseException:
            log.exception("a task left by an exit", extra={"event": "task_exited"})
        else:
            return
