"""Ordered delivery (contract 5.1): which messages of a queue may be under way.

A queue of parallelism p has p slots. Slots go to its messages in the order of publishing; a message keeps its
slot through its delay, its attempts, its retries and its callbacks. Messages without a slot are not on the
timeline at all.

The line holds the first few hundred messages without a slot. Those behind them are only in the store; they are read
back, in order, when few are left.

When p is lowered, more than p may hold slots, and more than p attempts may be under way. Attempts under way
finish; of the slot holders only the first p continue, and each of them only once fewer than p others wait in their
lanes or are under way.
"""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice

from emulator.broker.message import Pending
from emulator.broker.place import Place
from emulator.broker.resources import Queue
from emulator.broker.stored_tail import Key, StoredTail, key_in_queue

_ADMITTED = frozenset({Place.LANE, Place.ACTIVE})


class QueueLine:
    """The messages of one queue: those that hold a slot, and those that wait for one.

    Of the latter it holds between ``window / 2`` and ``2 * window``, all if there are fewer; ``stored`` are the others.
    """

    def __init__(self, queue: Queue, window: int) -> None:
        self.queue = queue
        self.stored: StoredTail = StoredTail(Place.QUEUE_OVERFLOW, key_in_queue)
        self.is_being_deleted: bool = False
        """It grants no more slots, and is removed when none of its messages is left in the store."""
        self._window = window
        self._waiting: OrderedDict[int, Pending] = OrderedDict()
        # seq → the number of messages that hold the slot: the message itself and its callbacks.
        self._holders: dict[int, int] = {}
        self._granted: dict[int, Pending] = {}

    def join(self, pending: Pending) -> bool:
        """Append a message to the line, or leave it to the store; return whether it is held."""
        if self.stored.start is None and len(self._waiting) >= 2 * self._window:
            self.stored.start = key_in_queue(pending)
        if self.stored.holds(pending):
            self.stored.join(pending)
            return False
        self._waiting[pending.seq] = pending
        return True

    def start_cold(self) -> None:
        """Start with all of its messages left to the store."""
        self.stored.start = (0, 0)

    @property
    def wants_refill(self) -> bool:
        """Return whether the line holds so few messages that the next ones should be read from the store."""
        stored = self.stored
        return stored.start is not None and not stored.is_being_read and 2 * len(self._waiting) < self._window

    def begin_refill(self) -> tuple[Key, int]:
        """Return the key to read from, and the number of messages."""
        return self.stored.begin_reading(), self._window

    def leave(self, seq: int) -> None:
        """Remove a message from the line, or release its own part of its slot."""
        self._waiting.pop(seq, None)
        self.stored.leave(seq)
        self._granted.pop(seq, None)
        self.release(seq)

    def hold(self, seq: int) -> None:
        """Count one more holder of the slot of ``seq``."""
        self._holders[seq] = self._holders.get(seq, 0) + 1

    def release(self, seq: int) -> None:
        """Count one holder less of the slot of ``seq``; without holders it is free."""
        remaining = self._holders.get(seq, 0) - 1
        if remaining > 0:
            self._holders[seq] = remaining
        else:
            self._holders.pop(seq, None)

    def grant(self) -> Iterator[Pending]:
        """Grant free slots to the first in line; yield each message that gets one."""
        if self.is_being_deleted:
            return
        while self._waiting and not self.queue.is_paused and len(self._holders) < self.queue.parallelism:
            _, pending = self._waiting.popitem(last=False)
            self.hold(pending.seq)
            self._granted[pending.seq] = pending
            yield pending

    def has_slot(self, seq: int) -> bool:
        """Return whether a message of this line got its slot; one of a deleted queue of the same name did not."""
        return seq in self._granted

    def may_start(self, seq: int) -> bool:
        """Return whether a slot holder's attempt may start now: not while paused, nor past a lowered parallelism."""
        if self.queue.is_paused:
            return False
        most = self.queue.parallelism
        if len(self._holders) <= most:
            return True
        others = sum(1 for one in self._granted.values() if one.place in _ADMITTED and one.seq != seq)
        return others < most and seq in islice(self._holders, most)

    def held_back(self) -> list[Pending]:
        """Return the due slot holders that are held back, the first slots first."""
        return [pending for pending in self._granted.values() if pending.place is Place.HELD_BACK]

    def active_count(self) -> int:
        """Return how many attempts are under way."""
        return sum(1 for pending in self._granted.values() if pending.place is Place.ACTIVE)

    def ahead_of(self, seq: int) -> int | None:
        """Return how many messages precede one that waits for a slot; ``None`` if it has one, or is not held."""
        if seq not in self._waiting:
            return None
        return len(self._holders) + next(
            place for place, waiting in enumerate(self._waiting) if waiting == seq
        )

    def held_count(self) -> int:
        """Return how many messages precede those that are only in the store."""
        return len(self._holders) + len(self._waiting)

    def with_slot(self) -> list[Pending]:
        """Return the unfinished messages that have a slot."""
        return list(self._granted.values())

    def members(self) -> list[Pending]:
        """Return the unfinished messages of the queue that are held, those with a slot first."""
        return [*self._granted.values(), *self._waiting.values()]
