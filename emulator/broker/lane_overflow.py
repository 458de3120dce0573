"""What of a crowded lane is left to the store.

A lane holds the first few thousand of its due messages. Those behind them are remembered by the store alone, from
one ``(due_at, seq)`` on, and are read back when few are left: a destination that takes nothing for a day costs
the memory of one window, not of a day's messages.
"""

from emulator.broker.message import Pending

Key = tuple[int, int]


class Backlog:
    """The part of one lane that is not in memory; empty until the lane is full.

    Everything that was ever admitted to the lane lies before ``start``, so that what lies behind is certainly
    neither under way nor finished.
    """

    def __init__(self) -> None:
        self.start: Key | None = None
        self.count: int = 0
        self._is_reading = False
        self._last_admitted: Key = (0, 0)
        self._left_meanwhile: Key | None = None
        self._removed_meanwhile: set[int] = set()

    @property
    def wants_reading(self) -> bool:
        return self.start is not None and not self._is_reading

    def takes(self, pending: Pending, *, is_full: bool) -> bool:
        """Whether a due message is left to the store; counts it if so."""
        key = (pending.due_at, pending.seq)
        if self.start is None:
            if not is_full or key <= self._last_admitted:
                self._last_admitted = max(self._last_admitted, key)
                return False
            self.start = key
        elif key < self.start:
            return False
        if self._is_reading:
            self._left_meanwhile = min(self._left_meanwhile or key, key)
        self.count += 1
        return True

    def holds(self, pending: Pending) -> bool:
        """Whether an unfinished message of the lane is one of those left."""
        return self.start is not None and (pending.due_at, pending.seq) >= self.start

    def remove(self, pending: Pending) -> None:
        """A message that was left is taken back."""
        if self.holds(pending):
            self.count -= 1
            self._removed_meanwhile.add(pending.seq)

    def begin_reading(self) -> Key:
        """From which key to read."""
        assert self.start is not None
        self._is_reading = True
        self._removed_meanwhile.clear()
        return self.start

    def end_reading(
        self, read: list[Pending], *, lane: str, is_complete: bool, horizon: Key | None
    ) -> list[Pending]:
        """Take what was read (messages of all lanes, in order); those of ``lane`` that are to be admitted.

        From ``horizon`` on messages come from the timeline, in their time. What was left while reading is read
        again.
        """
        limits = [key for key in (horizon, self._left_meanwhile) if key is not None]
        end = min(limits, default=None)
        admitted = [
            pending
            for pending in read
            if pending.lane == lane
            and pending.seq not in self._removed_meanwhile
            and (end is None or (pending.due_at, pending.seq) < end)
        ]
        behind = None if is_complete or not read else (read[-1].due_at, read[-1].seq + 1)
        if behind is not None and horizon is not None and behind > horizon:
            behind = None
        if admitted:
            last = admitted[-1]
            self._last_admitted = max(self._last_admitted, (last.due_at, last.seq))
        starts = [key for key in (behind, self._left_meanwhile) if key is not None]
        self.start = min(starts, default=None)
        self.count = 0 if self.start is None else max(0, self.count - len(admitted))
        self._is_reading, self._left_meanwhile = False, None
        return admitted
