"""What waits for its time: a heap of the nearest due messages, and a horizon behind which the store remembers.

A million delayed messages cost no memory: only those before the horizon are held. When few are left, the
runtime reads the next ones from the store's index and hands them to ``refill``.

Messages of a queue are held however far away they are: only those with a slot come here, which are few, and the
store's index of due times leaves them out.

Order is by due time, then by seq. What is removed (a cancel) is dropped from the heap when it comes up.
"""

import heapq

from emulator.broker.message import Pending

Key = tuple[int, int]

DEFAULT_WINDOW = 20_000


def _key(pending: Pending) -> Key:
    return pending.due_at, pending.seq


class Timeline:
    """Holds between ``window / 2`` and ``2 * window`` of the nearest unqueued messages, all if there are fewer."""

    def __init__(self, window: int = DEFAULT_WINDOW) -> None:
        self._window = window
        self._heap: list[Key] = []
        self._held: dict[int, Pending] = {}
        self._unqueued = 0
        self._horizon: Key | None = None
        self._is_refilling = False
        self._added_meanwhile: dict[int, Pending] = {}
        self._removed_meanwhile: set[int] = set()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def horizon(self) -> Key | None:
        """The ``(due_at, seq)`` from which on the store alone remembers; ``None`` when everything is held."""
        return self._horizon

    def is_beyond_horizon(self, due_at: int, seq: int) -> bool:
        return self._horizon is not None and (due_at, seq) >= self._horizon

    def add(self, pending: Pending) -> None:
        """Hold ``pending``, or leave it to the store if it lies beyond the horizon."""
        if pending.queue_name is None and self.is_beyond_horizon(*_key(pending)):
            if self._is_refilling:
                self._added_meanwhile[pending.seq] = pending
            return
        self._hold(pending)
        if self._unqueued > 2 * self._window:
            self._shrink()

    def get(self, seq: int) -> Pending | None:
        """The held message, if it is held."""
        return self._held.get(seq)

    def remove(self, seq: int) -> None:
        """Forget a message, held or not."""
        if seq in self._held:
            self._let_go(seq)
        if self._is_refilling:
            self._added_meanwhile.pop(seq, None)
            self._removed_meanwhile.add(seq)

    def pop_due(self, now_at: int) -> Pending | None:
        """Take the next message whose time has come, or ``None``."""
        self._drop_removed()
        if not self._heap or self._heap[0][0] > now_at:
            return None
        _, seq = heapq.heappop(self._heap)
        return self._let_go(seq)

    def next_due_at(self) -> int | None:
        """When the next message is due; the horizon's time when nothing before it is left, unless it is being read."""
        self._drop_removed()
        if self._heap:
            return self._heap[0][0]
        return self._horizon[0] if self._horizon and not self._is_refilling else None

    def wants_refill(self) -> bool:
        """Whether so few are held that the store should be asked for the next ones."""
        return self._horizon is not None and not self._is_refilling and 2 * self._unqueued < self._window

    def begin_refill(self) -> tuple[Key, int]:
        """From which key, and how many to read. What is added beyond the horizon until ``refill`` is remembered."""
        assert self._horizon is not None
        self._is_refilling = True
        return self._horizon, self._window

    def refill(self, read: list[Pending], *, is_complete: bool) -> None:
        """Take what was read, in order; ``is_complete`` says that nothing lies behind it in the store."""
        last = read[-1] if read else None
        self._horizon = None if is_complete or last is None else (last.due_at, last.seq + 1)
        self._is_refilling = False
        arrived, self._added_meanwhile = self._added_meanwhile, {}
        removed, self._removed_meanwhile = self._removed_meanwhile, set()
        for pending in ({pending.seq: pending for pending in read} | arrived).values():
            if pending.seq not in removed:
                self.add(pending)

    def start_cold(self, horizon: Key) -> None:
        """Begin with everything from ``horizon`` on left to the store."""
        self._horizon = horizon

    def _hold(self, pending: Pending) -> None:
        if pending.seq in self._held:
            self._let_go(pending.seq)
        self._held[pending.seq] = pending
        self._unqueued += pending.queue_name is None
        heapq.heappush(self._heap, _key(pending))

    def _let_go(self, seq: int) -> Pending:
        pending = self._held.pop(seq)
        self._unqueued -= pending.queue_name is None
        return pending

    def _drop_removed(self) -> None:
        while self._heap and not self._is_current(self._heap[0]):
            heapq.heappop(self._heap)

    def _is_current(self, key: Key) -> bool:
        held = self._held.get(key[1])
        return held is not None and held.due_at == key[0]

    def _shrink(self) -> None:
        nearest = sorted(_key(pending) for pending in self._held.values() if pending.queue_name is None)
        self._horizon = nearest[self._window]
        for _, seq in nearest[self._window :]:
            self._let_go(seq)
        self._heap = sorted(_key(pending) for pending in self._held.values())
