"""An event loop whose time is simulated and whose threads are not threads.

When nothing is ready, time jumps to the next timer. Work for a thread pool runs on the loop itself, in the pool's
order, after a latency that the seed decides; its result arrives a little later. A crash between the two finds the
work done but not reported.
"""

import asyncio
import math
import selectors
from collections.abc import Callable
from typing import Any, TypeVar

from tests.simulation.simulator.timeline import Timeline

T = TypeVar("T")

_QUICKEST_US = 20
_SLOWEST_US = 4_000


class Stalled(RuntimeError):
    """Nothing is ready, and no timer is set."""


class _NoWaiting(selectors.SelectSelector):
    """A selector that never waits: the requested time passes at once."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self._timeline = timeline

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stalled("nothing is ready and nothing will ever be")
        self._timeline.now_us += math.ceil(max(0.0, timeout) * 1_000_000)
        return []


class SimulationLoop(asyncio.SelectorEventLoop):
    """One process's event loop. It calls ``before_work`` and ``after_work`` around each piece of disk work."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(_NoWaiting(timeline))
        self._timeline = timeline
        # The simulated clock's resolution. With the real one's, a timer after half a year would be due but never run.
        self._clock_resolution = 0.000_000_5
        self._free_us: dict[int, int] = {}
        self._unanswered = 0
        self.is_dead = False
        self.before_work: Callable[[], None] = lambda: None
        self.after_work: Callable[[], None] = lambda: None
        self.set_exception_handler(self._note_exception)
        self.unexpected: list[str] = []

    @property
    def is_idle(self) -> bool:
        """Return whether no disk work is under way."""
        return self._unanswered == 0

    def time(self) -> float:
        return self._timeline.now_us / 1_000_000

    def call_at_us(self, when_us: int, callback: Callable[..., None], *args: Any) -> asyncio.TimerHandle:
        """Call at a time in microseconds, or at once if that is past."""
        return self.call_at(when_us / 1_000_000, callback, *args)

    def run_in_executor(  # type: ignore[override]  # the stub asks for positional type variables of 3.11+
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        if self.is_dead:
            return future
        now_us = self._timeline.now_us
        start_us = max(now_us, self._free_us.get(id(executor), 0)) + self._latency("disk")
        end_us = start_us + self._latency("disk answer")
        self._free_us[id(executor)] = end_us
        self._unanswered += 1
        future.add_done_callback(self._note_answered)
        self.call_at_us(start_us, self._work, future, end_us, func, args)
        return future

    def _work(
        self, future: asyncio.Future[T], end_us: int, func: Callable[..., T], args: tuple[Any, ...]
    ) -> None:
        if self.is_dead:
            return
        self.before_work()
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001  every error goes to the caller
            self.call_at_us(end_us, _settle, future, None, error)
        else:
            self.call_at_us(end_us, _settle, future, result, None)
        self.after_work()

    def _note_answered(self, _future: asyncio.Future[Any]) -> None:
        self._unanswered -= 1

    def _latency(self, what: str) -> int:
        return self._timeline.latency_us(what, _QUICKEST_US, _SLOWEST_US)

    def _note_exception(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self.is_dead:
            self.unexpected.append(f"{context.get('message')}: {context.get('exception')!r}")


def _settle(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
