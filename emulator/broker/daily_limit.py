"""The plan's limit of messages from one midnight (UTC) to the next (contract 1.10)."""

from emulator.errors import DailyLimitReached

_DAY_MS = 86_400_000


class DailyLimit:
    """Counts the messages of the day; ``most`` is ``None`` for a plan without such a limit."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._day = 0
        self._count = 0

    def restore(self, count: int, now_at: int) -> None:
        """Restore the count of an earlier process on the day of ``now_at``."""
        self._day, self._count = now_at // _DAY_MS, count

    def check(self, further: int, now_at: int) -> None:
        """Raise DailyLimitReached if ``further`` messages would exceed the limit."""
        if self._most is None:
            return
        count = self._count if now_at // _DAY_MS == self._day else 0
        if count + further > self._most:
            raise DailyLimitReached(
                "quota maxDailyMessages exceeded",
                limit=self._most,
                remaining=max(self._most - count, 0),
                reset_at_seconds=(now_at // _DAY_MS + 1) * _DAY_MS // 1000,
            )

    def note(self, now_at: int) -> None:
        """Count one more."""
        day = now_at // _DAY_MS
        if day != self._day:
            self._day, self._count = day, 0
        self._count += 1


def day_start_at(now_at: int) -> int:
    """Return the last midnight (UTC), in unix milliseconds."""
    return now_at // _DAY_MS * _DAY_MS
