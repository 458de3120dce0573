"""Simulated time in whole microseconds, and the emulator's clock that reads it."""

import zlib
from collections.abc import Callable
from typing import Literal, Protocol

# Monday 2026-06-01 12:00:00 UTC
BASE_AT = 1_780_315_200_000

# How often the system clock checks the time, which bounds how late it notices that it was set.
_LONGEST_TIMER_US = 1_000_000


class Handle(Protocol):
    """The handle of a scheduled call, as event loops return it."""

    def cancel(self) -> None: ...


CallAtUs = Callable[[int, Callable[[], None]], Handle]


class Timeline:
    """The time of the simulated world, from 0, and the random latencies of its moments."""

    def __init__(self, seed: int) -> None:
        self.now_us = 0
        # The offset of the emulator's clock from the world's time, in milliseconds.
        self.skew_ms = 0
        self._seed = seed

    def now_at(self) -> int:
        """Return the emulator's clock in unix milliseconds."""
        return BASE_AT + self.skew_ms + self.now_us // 1000

    def us_of(self, at: int) -> int:
        """Return when the emulator's clock will be ``at`` (unix ms), as it is set now."""
        return (at - BASE_AT - self.skew_ms) * 1000

    def latency_us(self, what: str, least: int, most: int) -> int:
        """Return the latency of something that begins now, by seed and moment, so that other steps do not
        change it.
        """
        roll = zlib.crc32(f"{self._seed} {what} {self.now_us}".encode())
        return least + roll % (most - least + 1)


class SimulatedClock:
    """The emulator's clock in the simulated world. Its alarms work like the system clock's; the simulation sets it."""

    # The simulated world, not the scheduler's own loop, decides when work at intervals is due.
    mode: Literal["manual"] = "manual"

    def __init__(self, timeline: Timeline, call_at_us: CallAtUs) -> None:
        self._timeline = timeline
        self._call_at_us = call_at_us
        self._alarms: dict[_Alarm, None] = {}

    def now_at(self) -> int:
        return self._timeline.now_at()

    def call_at(self, when_at: int, callback: Callable[[], None]) -> "_Alarm":
        alarm = _Alarm(self, callback)
        self._alarms[alarm] = None
        alarm.set_off_at(self._timeline.us_of(when_at), self._call_at_us)
        return alarm

    def notice_jump(self) -> None:
        """After the clock was set, let every alarm ring at the time of the system clock's next check."""
        for alarm in self._alarms:
            soon_us = self._timeline.now_us + self._timeline.latency_us("alarm", 0, _LONGEST_TIMER_US)
            alarm.set_off_at(soon_us, self._call_at_us)

    def forget(self, alarm: "_Alarm") -> None:
        self._alarms.pop(alarm, None)


class _Alarm:
    def __init__(self, clock: SimulatedClock, callback: Callable[[], None]) -> None:
        self._clock = clock
        self._callback = callback
        self._handle: Handle | None = None

    def set_off_at(self, at_us: int, call_at_us: CallAtUs) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = call_at_us(at_us, self._ring)

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._clock.forget(self)

    def _ring(self) -> None:
        self._clock.forget(self)
        self._callback()
