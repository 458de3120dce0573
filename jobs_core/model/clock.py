"""The only module that reads the time.

Records and deliveries share one clock, so that a test that turns it moves both; no statement uses the
database's ``now()``. Any object with a ``now()`` is a clock: a test harness may pass its own.
"""

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """A source of the current time."""

    def now(self) -> datetime:
        """Return the current instant, aware and in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class ManualClock:
    """A clock that stands still until it is advanced.

    Raises:
        ValueError: if ``start`` is naive, or the clock is to be turned backwards.
    """

    def __init__(self, start: datetime | None = None) -> None:
        start = datetime.now(UTC) if start is None else start
        if start.tzinfo is None:
            raise ValueError(f"a clock needs an aware instant, not {start!r}")
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        return self._now

    def advance(self, by: timedelta) -> None:
        """Turn the clock forward by ``by``."""
        if by < timedelta(0):
            raise ValueError(f"a clock does not go back, and {by} is negative")
        self._now += by
