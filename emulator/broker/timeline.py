"""A heap of the messages that are due soonest, and a horizon beyond which messages are only in the store.

A million delayed messages take no memory: only those before the horizon are held. When few are left, the runtime reads
the next ones from the store's index.

Messages of a queue are always held: only the few with a slot come here, and the store's index of due times leaves them
out.

The order is by due time, then by seq. A message that has left the timeline early (a cancel) stays in the heap until it
reaches the top or there are many such entries; its place or due time shows that the entry is stale.
"""

import heapq
from collections.abc import Mapping

from emulator.broker.message import Pending
from emulator.broker.place import Place
from emulator.broker.stored_tail import Key, StoredTail, key_of


class Timeline:
    """Holds between ``window / 2`` and ``2 * window`` of the nearest unqueued messages, all if there are fewer."""

    def __init__(self, held: Mapping[int, Pending], *, window: int) -> None:
        """``held`` are all messages in memory by seq, in any place."""
        self.stored: StoredTail = StoredTail(Place.BEYOND_HORIZON)
        self._held = held
        self._window = window
        self._heap: list[Key] = []
        self._most_keys = 4 * window
        self._unqueued = 0

    @property
    def horizon(self) -> Key | None:
        """Return the ``(due_at, seq)`` from which messages are only in the store; ``None`` if all are held."""
        return self.stored.start

    @property
    def is_crowded(self) -> bool:
        """Return whether so many are held that the farthest should be left to the store."""
        return self._unqueued > 2 * self._window

    def is_beyond_horizon(self, pending: Pending) -> bool:
        return pending.queue_name is None and self.stored.holds(pending)

    def add(self, pending: Pending) -> bool:
        """Hold a message, or leave it to the store if it lies beyond the horizon; return whether it is held."""
        if self.is_beyond_horizon(pending):
            self.stored.join(pending)
            return False
        if len(self._heap) >= self._most_keys:
            self._drop_all_stale()
        self._unqueued += pending.queue_name is None
        heapq.heappush(self._heap, (pending.due_at, pending.seq))
        return True

    def remove(self, pending: Pending) -> None:
        """Remove a message on the timeline or beyond the horizon; the caller changes its place."""
        if pending.place is Place.TIMELINE:
            self._unqueued -= pending.queue_name is None
        self.stored.leave(pending.seq)

    def pop_due(self, now_at: int) -> Pending | None:
        """Take the next message whose time has come, or ``None``."""
        if not self._heap:
            return None
        self._drop_stale()
        if not self._heap or self._heap[0][0] > now_at:
            return None
        pending = self._held[heapq.heappop(self._heap)[1]]
        self._unqueued -= pending.queue_name is None
        return pending

    def next_due_at(self) -> int | None:
        """Return when the next message is due; the horizon's time when none is held, unless it is being read."""
        self._drop_stale()
        if self._heap:
            return self._heap[0][0]
        return self.horizon[0] if self.horizon and not self.stored.is_being_read else None

    def shrink(self) -> list[Pending]:
        """Leave all but the nearest ``window`` messages to the store; return those that were left."""
        self._drop_all_stale()
        nearest = [pending for _, seq in self._heap if (pending := self._held[seq]).queue_name is None]
        left = nearest[self._window :]
        self.stored.start = key_of(left[0])
        self._unqueued -= len(left)
        for pending in left:
            self.stored.join(pending)
        gone = set(map(key_of, left))
        self._heap = [key for key in self._heap if key not in gone]
        return left

    def wants_refill(self) -> bool:
        """Return whether so few are held that the next ones should be read from the store."""
        return (
            self.horizon is not None and not self.stored.is_being_read and 2 * self._unqueued < self._window
        )

    def begin_refill(self) -> tuple[Key, int]:
        """Return the key to read from, and the number of messages."""
        return self.stored.begin_reading(), self._window

    def start_cold(self, horizon: Key) -> None:
        """Start with all messages from ``horizon`` on left to the store."""
        self.stored.start = horizon

    def _drop_stale(self) -> None:
        while self._heap and not self._is_current(self._heap[0]):
            heapq.heappop(self._heap)

    def _drop_all_stale(self) -> None:
        """Rebuild the heap without stale entries, which would pile up."""
        self._heap = sorted({key for key in self._heap if self._is_current(key)})
        self._most_keys = 2 * (len(self._heap) + self._window)

    def _is_current(self, key: Key) -> bool:
        pending = self._held.get(key[1])
        return pending is not None and pending.due_at == key[0] and pending.place is Place.TIMELINE
