"""The unfinished messages of a tenant in memory, their places, and the moves between places."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from emulator.broker.dispatch_lanes import Lane, Lanes
from emulator.broker.ended_meanwhile import EndedMeanwhile
from emulator.broker.message import Pending
from emulator.broker.place import IN_MEMORY, MOVES, Place
from emulator.broker.queues import QueueLine
from emulator.broker.stored_tail import Key
from emulator.broker.timeline import Timeline


class Windows(NamedTuple):
    """Approximate bounds of messages in memory: of the timeline, of each lane, and of each queue's line."""

    timeline: int = 20_000
    lane: int = 5_000
    queue: int = 500


DEFAULT_WINDOWS: Final = Windows()


class PendingMessages:
    """The messages in memory by seq, and the structures that hold them: the queues' lines, the timeline, the lanes.

    ``Pending.place`` is a message's place, and only ``_put`` changes it. The lines, the timeline and the lanes keep the
    order of their messages.
    """

    def __init__(self, *, capacity: int, per_origin: int, windows: Windows) -> None:
        self._held: dict[int, Pending] = {}
        self.timeline: Timeline = Timeline(self._held, window=windows.timeline)
        self.lanes: Lanes = Lanes(capacity=capacity, per_origin=per_origin, window=windows.lane)
        self.queues: dict[str, QueueLine] = {}
        self.active: dict[int, Pending] = {}
        self.queue_window: int = windows.queue
        self.ended: EndedMeanwhile = EndedMeanwhile()
        self._advanced_to = 0
        # Queues that have changed since their slots were last granted; a dict keeps their order.
        self._restless: dict[str, None] = {}
        # Queues whose next messages should be read from the store.
        self._to_refill: dict[str, QueueLine] = {}

    def __len__(self) -> int:
        """Return how many are in memory."""
        return len(self._held)

    def find(self, candidate: Pending) -> Pending | None:
        """Return the unfinished message of ``candidate``, with its place, or ``None`` if it is finished.

        ``candidate`` was read from the store within ``ended.reading()``, and may be outdated.
        """
        held = self._held.get(candidate.seq)
        if held is not None:
            return held
        if candidate.seq in self.ended:
            return None
        if self.timeline.is_beyond_horizon(candidate):
            candidate.place = Place.BEYOND_HORIZON
        elif self.lanes.is_left_to_store(candidate):
            candidate.place = Place.OVERFLOW
        elif (line := self._line_of(candidate)) is not None and line.stored.holds(candidate):
            candidate.place = Place.QUEUE_OVERFLOW
        else:
            return None
        return candidate

    def enter(self, pending: Pending) -> None:
        """Add a message, new or read at a start, to its queue's line or the timeline.

        A deleted queue has no line: its messages continue without one.
        """
        line = self.queues.get(pending.queue_name) if pending.queue_name else None
        if line is None:
            self.wait_for_time(pending)
            return
        is_held = line.join(pending)
        self._put(pending, Place.QUEUE if is_held else Place.QUEUE_OVERFLOW)
        if is_held:
            self.rouse(line.queue.name)

    def wait_for_time(self, pending: Pending) -> None:
        """Put a message on the timeline, to continue when it is due."""
        is_held = self.timeline.add(pending)
        self._put(pending, Place.TIMELINE if is_held else Place.BEYOND_HORIZON)
        if self.timeline.is_crowded:
            for left in self.timeline.shrink():
                self._put(left, Place.BEYOND_HORIZON)

    def bring_forward(self, pending: Pending, due_at: int) -> bool:
        """Make a message due at ``due_at`` if it waits for a later time; return whether it did."""
        match pending.place:
            case Place.QUEUE if pending.due_at > due_at:
                pending.due_at = due_at
            case Place.QUEUE_OVERFLOW if pending.due_at > due_at:
                pending.due_at = due_at
                self.queues[pending.queue_name or ""].stored.join(pending)
            case Place.TIMELINE | Place.BEYOND_HORIZON if pending.due_at > due_at:
                self._leave_timeline(pending)
                pending.due_at = due_at
                self.wait_for_time(pending)
            case _:
                return False
        return True

    def advance(self, now_at: int) -> Iterator[Pending]:
        """Move on all messages that may at ``now_at``: slots, due times, lanes, in this order.

        Yield each message whose attempt starts.
        """
        if now_at < self._advanced_to:
            self.lanes.reconsider(now_at)
        self._advanced_to = now_at
        self._grant_slots(now_at)
        while (due := self.timeline.pop_due(now_at)) is not None:
            line = self._line_of(due)
            if line is None or not line.has_slot(due.seq) or line.may_start(due.seq):
                self._wait_for_turn(due, now_at)
            else:
                self._put(due, Place.HELD_BACK)
        while (starting := self.lanes.next_start(now_at)) is not None:
            self._put(starting, Place.ACTIVE)
            self.active[starting.seq] = starting
            yield starting

    def end_attempt(self, seq: int, now_at: int) -> Pending | None:
        """Return a message whose attempt has ended, and free its part of its lane; ``None`` if it is not under way.

        The caller continues with ``wait_for_time`` or ``end``.
        """
        pending = self.active.pop(seq, None)
        if pending is None:
            return None
        self.lanes.ended(pending, now_at)
        if (line := self._line_of(pending)) is not None:
            self.rouse(line.queue.name)
        return pending

    def end(self, pending: Pending) -> None:
        """Remove a finished message, and release its queue slot and its part of another's."""
        place = pending.place
        if place is Place.TIMELINE or place is Place.BEYOND_HORIZON:
            self._leave_timeline(pending)
        elif place is Place.LANE or place is Place.OVERFLOW:
            self.lanes.withdraw(pending)
        self._put(pending, Place.ENDED)
        self.ended.note(pending.seq)
        if (line := self._line_of(pending)) is not None:
            line.leave(pending.seq)
            self.rouse(line.queue.name)
        if pending.slot_of is not None and (line := self.queues.get(pending.slot_queue or "")) is not None:
            line.release(pending.slot_of)
            self.rouse(line.queue.name)

    def rouse(self, queue_name: str) -> None:
        """Let the next ``advance`` grant a queue's slots again."""
        self._restless[queue_name] = None

    def recall(self, queue_name: str) -> None:
        """Hold back messages in lanes that may not start any more, as their queue was paused or narrowed."""
        line = self.queues[queue_name]
        # From the last slot on, so that the first keep their places in their lanes.
        for pending in reversed(line.with_slot()):
            if pending.place is Place.LANE and not line.may_start(pending.seq):
                self.lanes.withdraw(pending)
                self._put(pending, Place.HELD_BACK)

    def refill_timeline(self, read: list[Pending], *, is_complete: bool) -> None:
        """Add messages read for the timeline, in order; ``is_complete`` says that none lies behind them."""
        for pending in self.timeline.stored.end_reading(read, is_complete=is_complete):
            if pending.seq not in self._held:
                self.wait_for_time(pending)

    def refill_lane(
        self, lane: Lane, read: list[Pending], now_at: int, *, is_complete: bool, horizon: Key | None
    ) -> None:
        """Add messages read for a crowded lane, in order; ``is_complete`` says that no due one lies behind them.

        ``horizon`` is the timeline's when the reading began.
        """
        horizons = [key for key in (horizon, self.timeline.horizon) if key is not None]
        found = lane.overflow.end_reading(
            read,
            lane=lane.name,
            is_complete=is_complete,
            horizon=min(horizons, default=None),
            held=self._held,
        )
        for pending in found:
            self._wait_for_turn(pending, now_at)
        self.lanes.refilled(lane)

    def take_lines_to_refill(self) -> list[QueueLine]:
        """Return the lines whose next messages should be read from the store, each once."""
        if not self._to_refill:
            return []
        wanted, self._to_refill = self._to_refill, {}
        return [
            line for line in wanted.values() if self.queues.get(line.queue.name) is line and line.wants_refill
        ]

    def refill_line(self, line: QueueLine, read: list[Pending], *, is_complete: bool) -> None:
        """Add messages read for a queue's line, in order; ``is_complete`` says that none lies behind them."""
        for pending in line.stored.end_reading(read, is_complete=is_complete):
            self.enter(pending)
        self.rouse(line.queue.name)

    def _grant_slots(self, now_at: int) -> None:
        """Put messages that get a slot onto the timeline, and release those that need not be held back any more."""
        restless, self._restless = self._restless, {}
        for line in (self.queues[name] for name in restless if name in self.queues):
            for pending in line.grant():
                self.wait_for_time(pending)
            for pending in line.held_back():
                if line.may_start(pending.seq):
                    self._wait_for_turn(pending, now_at)
            if line.wants_refill:
                self._to_refill[line.queue.name] = line

    def _wait_for_turn(self, pending: Pending, now_at: int) -> None:
        is_held = self.lanes.enter(pending, now_at)
        self._put(pending, Place.LANE if is_held else Place.OVERFLOW)

    def _leave_timeline(self, pending: Pending) -> None:
        self.timeline.remove(pending)
        self.lanes.leave_reading(pending)

    def _line_of(self, pending: Pending) -> QueueLine | None:
        return self.queues.get(pending.queue_name) if pending.queue_name else None

    def _put(self, pending: Pending, place: Place) -> None:
        """Move a message; no other function does. Raises ValueError for a move that is not in the table."""
        before = pending.place
        if place is before:
            return
        if place not in MOVES[before]:
            raise ValueError(f"a message cannot move from {before} to {place}")
        pending.place = place
        if place not in IN_MEMORY:
            self._held.pop(pending.seq, None)
        elif before not in IN_MEMORY:
            self._held[pending.seq] = pending
