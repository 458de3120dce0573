"""The end of an ordered line of messages that is only in the store.

The timeline, the lanes and the queues' lines hold their first messages. Those behind take no memory, and are read back
when few are left. Messages come and go while the store is read; this module handles that for all of them.
"""

from collections.abc import Callable

from emulator.broker.message import Pending
from emulator.broker.place import Place

Key = tuple[int, int]
"""``(due_at, seq)``: the order of the timeline and of the lanes, and of the store's index; of a queue ``(0, seq)``."""


def key_of(pending: Pending) -> Key:
    """Return a message's key on the timeline, or in its lane."""
    return pending.due_at, pending.seq


def key_in_queue(pending: Pending) -> Key:
    """Return a message's key in its queue: the order of publishing, whatever its time."""
    return 0, pending.seq


class StoredTail:
    """The messages of a line from the key ``start`` on; none while that is ``None``."""

    def __init__(self, place: Place, key: Callable[[Pending], Key] = key_of) -> None:
        """``place`` is the place of its messages, ``key`` their order."""
        self.place = place
        self._key = key
        self.start: Key | None = None
        # Messages that joined and left (``None``), by seq, since the read began; ``None`` without a read.
        self._changes: dict[int, Pending | None] | None = None

    @property
    def is_being_read(self) -> bool:
        return self._changes is not None

    def holds(self, pending: Pending) -> bool:
        """Return whether an unfinished message of the line belongs to its end."""
        return self.start is not None and self._key(pending) >= self.start

    def join(self, pending: Pending) -> None:
        """Add a message for which ``holds`` is true."""
        if self._changes is not None:
            self._changes[pending.seq] = pending

    def leave(self, seq: int) -> None:
        """Remove a message that is finished, or has another due time."""
        if self._changes is not None:
            self._changes[seq] = None

    def begin_reading(self) -> Key:
        """Return the key to read from; the store must have all writes from before this call."""
        assert self.start is not None
        self._changes = {}
        return self.start

    def end_reading(self, read: list[Pending], *, is_complete: bool) -> list[Pending]:
        """Take the messages read, in order; ``is_complete`` says that none lies behind them in the store.

        Return all messages to be placed, in order: those read, without those that have left since, and those that
        joined since. Some of them may belong to the remaining end.
        """
        for pending in read:
            pending.place = self.place
        if is_complete or not read:
            self.start = None
        else:
            due_at, seq = self._key(read[-1])
            self.start = (due_at, seq + 1)
        changes, self._changes = self._changes or {}, None
        found = {pending.seq: pending for pending in read} | changes
        return sorted((pending for pending in found.values() if pending is not None), key=self._key)
