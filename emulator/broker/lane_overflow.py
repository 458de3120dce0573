"""The part of a crowded lane that is left to the store.

A lane holds the first few thousand of its due messages. Those behind them are remembered by the store alone, and are
read back when few are left: a destination that takes nothing for a day costs the memory of one window, not of a day's
messages.
"""

from collections.abc import Container

from emulator.broker.message import Pending
from emulator.broker.place import Place
from emulator.broker.stored_tail import Key, StoredTail, key_of


class LaneOverflow:
    """The part of one lane that is not in memory; empty until the lane is full.

    Everything that was ever admitted to the lane lies before its start, so that what lies behind is certainly
    neither under way nor finished.
    """

    __slots__ = ("_last_admitted", "count", "latest_due_at", "stored")

    def __init__(self) -> None:
        self.stored: StoredTail = StoredTail(Place.OVERFLOW)
        self.count: int = 0
        self.latest_due_at: int = 0
        """The latest due time of what was left, in unix milliseconds; 0 for nothing."""
        self._last_admitted: Key = (0, 0)

    @property
    def is_empty(self) -> bool:
        return self.stored.start is None

    @property
    def wants_reading(self) -> bool:
        return not self.is_empty and not self.stored.is_being_read

    def takes(self, pending: Pending, *, is_full: bool) -> bool:
        """Return whether a due message is left to the store; count it if so. ``is_full`` says that the lane is."""
        key, stored = (pending.due_at, pending.seq), self.stored
        if stored.start is None and is_full and key > self._last_admitted:
            stored.start = key
        if stored.start is None or key < stored.start:
            self._last_admitted = max(self._last_admitted, key)
            return False
        stored.join(pending)
        self.count += 1
        self.latest_due_at = max(self.latest_due_at, pending.due_at)
        return True

    def remove(self, pending: Pending) -> None:
        """Forget a message that was left to the store."""
        self.count -= 1
        self.stored.leave(pending.seq)

    def end_reading(
        self,
        read: list[Pending],
        *,
        lane: str,
        is_complete: bool,
        horizon: Key | None,
        held: Container[int],
    ) -> list[Pending]:
        """Take what was read (messages of all lanes, in order); return those of ``lane``, to be placed anew.

        From ``horizon`` on messages come from the timeline, in their time. So do those that are ``held`` in memory,
        by seq: where the clock was set back, a message may wait for a time that the lane has seen already.
        """
        nearer = read if horizon is None else [one for one in read if key_of(one) < horizon]
        found = self.stored.end_reading(nearer, is_complete=is_complete or len(nearer) < len(read))
        found = [pending for pending in found if pending.lane == lane and pending.seq not in held]
        self.count = 0 if self.is_empty else max(0, self.count - len(found))
        if self.is_empty:
            self.latest_due_at = 0
        return found
