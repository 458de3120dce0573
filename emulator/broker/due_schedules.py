"""The schedules' next times in a heap, like the timeline's of messages.

An entry that no longer agrees with its schedule (which was fired, changed, paused or deleted since) is dropped when it
reaches the top.
"""

import heapq
from collections.abc import Mapping

from emulator.broker.resources import Schedule


class DueSchedules:
    """The next times of ``schedules``, in order of time, then of id."""

    def __init__(self, schedules: Mapping[str, Schedule]) -> None:
        self._schedules = schedules
        self._heap: list[tuple[int, str]] = []

    def put(self, schedule: Schedule) -> None:
        """Add the schedule's next time, if it has one."""
        if schedule.next_at is not None and not schedule.is_paused:
            heapq.heappush(self._heap, (schedule.next_at, schedule.id))

    def next_due_at(self) -> int | None:
        """Return when the next schedule fires, in unix milliseconds; ``None`` if none does."""
        while self._heap and not self._is_current(*self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now_at: int) -> str | None:
        """Take the id of the next schedule whose time has come, or ``None``."""
        next_at = self.next_due_at()
        return None if next_at is None or next_at > now_at else heapq.heappop(self._heap)[1]

    def _is_current(self, next_at: int, schedule_id: str) -> bool:
        schedule = self._schedules.get(schedule_id)
        return schedule is not None and schedule.next_at == next_at and not schedule.is_paused
