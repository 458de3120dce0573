"""The only module that reads the time.

Decisions get the time as an argument, in unix milliseconds. ``wall_now_at`` is the real time, which signatures need
even under a manual clock, because receivers check them against their own clocks.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Literal, Protocol

from emulator.errors import Conflict

# Timers use the monotonic clock; reading the wall clock this often bounds how late a change of it is noticed.
_LONGEST_TIMER_SECONDS = 1.0


def wall_now_at() -> int:
    """Return the real time, in unix milliseconds."""
    return time.time_ns() // 1_000_000


class Alarm(Protocol):
    """A scheduled call, which can be cancelled."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """The clock of one tenant."""

    @property
    def mode(self) -> Literal["system", "manual"]: ...

    def now_at(self) -> int:
        """Return this clock's time in unix milliseconds."""
        ...

    def call_at(self, when_at: int, callback: Callable[[], None]) -> Alarm | None:
        """Call back when ``now_at()`` may have reached ``when_at``, perhaps early; ``None`` for a manual clock."""
        ...


class SystemClock:
    """The machine's clock."""

    mode: Literal["system"] = "system"

    def now_at(self) -> int:
        return wall_now_at()

    def call_at(self, when_at: int, callback: Callable[[], None]) -> Alarm:
        delay_seconds = max(0.0, when_at / 1000 - time.time())
        return asyncio.get_running_loop().call_later(min(delay_seconds, _LONGEST_TIMER_SECONDS), callback)


class ManualClock:
    """A clock that stands still until it is set, and never goes back."""

    mode: Literal["manual"] = "manual"

    def __init__(self, now_at: int | None = None) -> None:
        self._now_at = wall_now_at() if now_at is None else now_at
        self._wakes: list[_Wake] = []

    def now_at(self) -> int:
        return self._now_at

    def call_at(self, when_at: int, callback: Callable[[], None]) -> None:
        return None

    def wake_at(self, when_at: int, callback: Callable[[], None]) -> Alarm:
        """Call back once when the clock is set to ``when_at`` or later."""
        wake = _Wake(when_at, callback)
        self._wakes.append(wake)
        return wake

    def next_wake_at(self) -> int | None:
        """Return the time of the next call, or ``None``."""
        return min((wake.when_at for wake in self._wakes if not wake.is_off), default=None)

    def set(self, now_at: int) -> None:
        """Set the clock to ``now_at`` (unix ms) and make the calls due by then. Raises Conflict for a past time."""
        if now_at < self._now_at:
            raise Conflict(f"the clock stands at {self._now_at} and cannot be turned back to {now_at}")
        self._now_at = now_at
        due = [wake for wake in self._wakes if wake.when_at <= now_at]
        self._wakes = [wake for wake in self._wakes if wake.when_at > now_at]
        for wake in sorted(due, key=lambda wake: wake.when_at):
            if not wake.is_off:
                wake.callback()

    def start_again_at(self, now_at: int) -> None:
        """Set the clock to ``now_at``, even in the past: an imported state was exported at that time."""
        self._now_at = now_at


class _Wake:
    """A call that a manual clock makes when it reaches a time."""

    def __init__(self, when_at: int, callback: Callable[[], None]) -> None:
        self.when_at = when_at
        self.callback = callback
        self.is_off = False

    def cancel(self) -> None:
        self.is_off = True
