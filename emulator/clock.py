"""The only module that knows the time.

Everything that decides is told the time, in unix milliseconds. ``wall_at`` is a second, differently named
reading of the same object: the real time, which signatures need even when the clock is turned, because
receivers check them against their own clocks.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Literal, Protocol

from emulator.errors import Conflict

# A timer is a difference on the monotonic clock; re-reading the wall clock this often bounds how late we
# notice that it was set.
_LONGEST_TIMER_SECONDS = 1.0


def wall_now_at() -> int:
    """The real time, in unix milliseconds."""
    return time.time_ns() // 1_000_000


class Alarm(Protocol):
    """A call that is to come, and can be called off."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """What time it is for one tenant."""

    @property
    def mode(self) -> Literal["system", "manual"]: ...

    def now_at(self) -> int:
        """This clock's time in unix milliseconds."""
        ...

    def call_at(self, when_at: int, callback: Callable[[], None]) -> Alarm | None:
        """Call back when ``now_at()`` may have reached ``when_at``, maybe early; ``None`` if time is turned by hand."""
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
        """Call back once when the clock is turned to ``when_at``, or further."""
        wake = _Wake(when_at, callback)
        self._wakes.append(wake)
        return wake

    def next_wake_at(self) -> int | None:
        """When somebody wants to be called back next."""
        return min((wake.when_at for wake in self._wakes if not wake.is_off), default=None)

    def set(self, now_at: int) -> None:
        """Turn to ``now_at`` (unix ms), and wake who waited for it. Raises Conflict if that is in this clock's past."""
        if now_at < self._now_at:
            raise Conflict(f"the clock stands at {self._now_at} and cannot be turned back to {now_at}")
        self._now_at = now_at
        due = [wake for wake in self._wakes if wake.when_at <= now_at]
        self._wakes = [wake for wake in self._wakes if wake.when_at > now_at]
        for wake in sorted(due, key=lambda wake: wake.when_at):
            if not wake.is_off:
                wake.callback()

    def start_again_at(self, now_at: int) -> None:
        """Stand at ``now_at`` from now on, also if that is in the past: for a state that was taken there."""
        self._now_at = now_at


class _Wake:
    """A call that comes when a manual clock is turned so far."""

    def __init__(self, when_at: int, callback: Callable[[], None]) -> None:
        self.when_at = when_at
        self.callback = callback
        self.is_off = False

    def cancel(self) -> None:
        self.is_off = True
