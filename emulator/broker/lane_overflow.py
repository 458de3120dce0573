"""The part of a crowded lane that is only in the store.

A lane holds the first few thousand of its due messages in memory. Those behind them are only in the store, and are
read back when few are left. A destination that accepts nothing for a day then takes the memory of one window, not of
a day's messages.
"""

from collections.abc import Container

from emulator.broker.message import Pending
from emulator.broker.place import Place
from emulator.broker.stored_tail import Key, StoredTail, key_of


class LaneOverflow:
    """The part of one lane that is not in memory; empty until the lane is full.

    Every message that was admitted to the lane lies before its start, so messages behind the start are neither under
    way nor finished.
    """

    __slots__ = ("_last_admitted", "count", "latest_due_at", "stored")

    def __init__(self) -> None:
        self.stored: StoredTail = StoredTail(Place.OVERFLOW)
        self.count: int = 0
        self.latest_due_at: int = 0
        """The latest due time of the messages left to the store, in unix milliseconds; 0 without any."""
        self._last_admitted: Key = (0, 0)

    @property
    def is_empty(self) -> bool:
        return self.stored.start is None

    @property
    def wants_reading(self) -> bool:
        return not self.is_empty and not self.stored.is_being_read

    def takes(self, pending: Pending, *, is_full: bool) -> bool:
        """Return whether a due message is left to the store, and count it then. ``is_full`` tells of the lane."""
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
        """Remove a message that was left to the store."""
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
        """Take the result of a read (messages of all lanes, in order); return those of ``lane``, to be placed.

        Messages from ``horizon`` on will come from the timeline at their times. So will those ``held`` in memory, by
        seq: after the clock was set back, a message may wait for a time that the lane has already passed.
        """
        nearer = read if horizon is None else [one for one in read if key_of(one) < horizon]
        found = self.stored.end_reading(nearer, is_complete=is_complete or len(nearer) < len(read))
        found = [pending for pending in found if pending.lane == lane and pending.seq not in held]
        self.count = 0 if self.is_empty else max(0, self.count - len(found))
        if self.is_empty:
            self.latest_due_at = 0
        return found
