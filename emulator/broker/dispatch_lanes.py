"""Lanes, in which due messages wait for capacity, shared fairly between destinations and within flow control.

Every message is in one lane: its flow-control key's, or else its destination's. A lane is first in, first out.
Lanes with something to send take turns, one message each, so that neither a slow host nor a crowded key holds up
the others. A closed lane (too many attempts under way, a used-up rate, a pause) leaves the round until it opens
again: by an attempt that ends, a new period, or a resume.
"""

import heapq
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

from emulator.broker.lane_overflow import LaneOverflow
from emulator.broker.message import Pending, flow_lane
from emulator.broker.place import Place
from emulator.broker.resources import FlowKey
from emulator.broker.stored_tail import Key


class Lane:
    """One line of due messages, and the number of its attempts under way."""

    __slots__ = ("_limit", "in_flight", "name", "overflow", "waiting")

    def __init__(self, name: str, limit: int) -> None:
        self.name: str = name
        self.waiting: OrderedDict[int, Pending] = OrderedDict()
        self.in_flight: set[int] = set()
        self.overflow: LaneOverflow = LaneOverflow()
        self._limit = limit

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.in_flight and self.overflow.is_empty

    @property
    def waiting_count(self) -> int:
        """Return how many due messages wait, including those that are only in the store."""
        return len(self.waiting) + self.overflow.count

    def is_open(self, now_at: int) -> bool:
        """Return whether another attempt may start at ``now_at``."""
        return len(self.in_flight) < self._limit

    def reopens_at(self, now_at: int) -> int | None:
        """Return when the lane opens without a further event, or ``None`` if it does not."""
        return None

    def started(self, seq: int, now_at: int) -> None:
        """Count an attempt that starts."""
        self.in_flight.add(seq)

    def ended(self, seq: int) -> None:
        """Count an attempt that ended."""
        self.in_flight.discard(seq)


class FlowLane(Lane):
    """The lane of a flow-control key (contract 5.2)."""

    __slots__ = ("flow_key", "unfinished")

    def __init__(self, flow_key: FlowKey, unfinished: int = 0) -> None:
        super().__init__(flow_lane(flow_key.key), limit=0)
        self.flow_key: FlowKey = flow_key
        self.unfinished: int = unfinished
        """Number of the key's unfinished messages, in any place."""

    @property
    def is_idle(self) -> bool:
        return False

    @property
    def is_at_rest(self) -> bool:
        """Return whether the key is not needed any more after its period."""
        key = self.flow_key
        is_set_by_hand = key.is_paused or key.is_pinned_parallelism or key.is_pinned_rate
        return not self.unfinished and not is_set_by_hand

    def is_open(self, now_at: int) -> bool:
        key = self.flow_key
        if key.is_paused or (key.parallelism is not None and len(self.in_flight) >= key.parallelism):
            return False
        return key.rate is None or key.count_at(now_at) < key.rate

    def reopens_at(self, now_at: int) -> int | None:
        is_rate_used_up = (
            self.flow_key.rate is not None and self.flow_key.count_at(now_at) >= self.flow_key.rate
        )
        return self.flow_key.period_end_at if is_rate_used_up else None

    def started(self, seq: int, now_at: int) -> None:
        super().started(seq, now_at)
        key = self.flow_key
        if not key.is_in_period(now_at):
            key = replace(key, period_start_at=now_at, rate_count=0)
        self.flow_key = replace(key, rate_count=key.rate_count + 1, used_at=now_at)


class Lanes:
    """All lanes of a tenant: at most ``capacity`` attempts at a time, ``per_origin`` of them to one origin."""

    def __init__(self, *, capacity: int, per_origin: int, window: int) -> None:
        self.capacity = capacity
        self._window = window
        # Lanes that left messages to the store; a dict keeps their order.
        self._crowded: dict[str, Lane] = {}
        self._per_origin = per_origin
        self._lanes: dict[str, Lane] = {}
        self._round: deque[Lane] = deque()
        self._in_round: set[str] = set()
        self._reopenings: list[tuple[int, str]] = []
        # Keys at rest, in the order in which they came to rest, and keys on which an operation is about to act.
        self._resting: dict[str, None] = {}
        self._wanted: Counter[str] = Counter()
        self.in_flight: int = 0

    def enter(self, pending: Pending, now_at: int) -> bool:
        """Append a due message to its lane, or leave it to the store; return whether it is in the lane."""
        lane = self._lane(pending.lane)
        # A queue has few messages here (its slots), and they are not in the index that is read.
        is_full = len(lane.waiting) >= self._window
        if pending.queue_name is None and lane.overflow.takes(pending, is_full=is_full):
            self._crowded[lane.name] = lane
            return False
        lane.waiting[pending.seq] = pending
        self.offer(lane, now_at)
        return True

    def wanting_refill(self) -> list[Lane]:
        """Return the lanes that hold so few messages that the next ones should be read from the store."""
        if not self._crowded:
            return []
        return [
            lane
            for lane in self._crowded.values()
            if lane.overflow.wants_reading and 2 * len(lane.waiting) < self._window
        ]

    def begin_refill(self, lane: Lane, now_at: int) -> tuple[Key, int, int]:
        """Return the key to read from, the number of messages, and the latest due time to read.

        The latest due time is ``now_at``, or later if the clock was set back.
        """
        overflow = lane.overflow
        return overflow.stored.begin_reading(), self._window, max(now_at, overflow.latest_due_at)

    def leave_reading(self, pending: Pending) -> None:
        """Exclude a message that leaves the timeline from the result of the read under way for its lane."""
        if (lane := self._lanes.get(pending.lane)) is not None:
            lane.overflow.stored.leave(pending.seq)

    def refilled(self, lane: Lane) -> None:
        """Record that the messages read for a lane have been placed."""
        if lane.overflow.is_empty:
            self._crowded.pop(lane.name, None)
        self._forget_if_idle(lane)

    def is_left_to_store(self, pending: Pending) -> bool:
        """Return whether its lane has left a due message to the store."""
        lane = self._lanes.get(pending.lane)
        return lane is not None and pending.queue_name is None and lane.overflow.stored.holds(pending)

    def next_start(self, now_at: int) -> Pending | None:
        """Start the next message in turn and return it, or ``None`` without free capacity or an open lane."""
        if self._reopenings:
            self._reopen(now_at)
        while self._round and self.in_flight < self.capacity:
            lane = self._round.popleft()
            self._in_round.discard(lane.name)
            if lane.waiting and lane.is_open(now_at):
                _, pending = lane.waiting.popitem(last=False)
                lane.started(pending.seq, now_at)
                self.in_flight += 1
                self.offer(lane, now_at)
                return pending
            self._forget_if_idle(lane)
        return None

    def ended(self, pending: Pending, now_at: int) -> None:
        """Record that an attempt ended, so that its lane may send the next."""
        lane = self._lane(pending.lane)
        lane.ended(pending.seq)
        self.in_flight -= 1
        self.offer(lane, now_at)
        self._forget_if_idle(lane)

    def reconsider(self, now_at: int) -> None:
        """Check all lanes again after the clock was set back, as some may be open now."""
        self._reopenings.clear()
        for lane in self._lanes.values():
            self.offer(lane, now_at)

    def offer(self, lane: Lane, now_at: int) -> None:
        """Add an open lane with something to send to the round; else record when time will open it."""
        if not lane.waiting or lane.name in self._in_round:
            return
        if lane.is_open(now_at):
            self._round.append(lane)
            self._in_round.add(lane.name)
        elif (reopens_at := lane.reopens_at(now_at)) is not None:
            heapq.heappush(self._reopenings, (reopens_at, lane.name))

    def withdraw(self, pending: Pending) -> None:
        """Remove a message that waits in its lane or was left to the store; the caller changes its place."""
        lane = self._lanes[pending.lane]
        if pending.place is Place.LANE:
            del lane.waiting[pending.seq]
        else:
            lane.overflow.remove(pending)

    def next_reopening_at(self, now_at: int) -> int | None:
        """Return the next time at which a lane with something to send opens without a further event."""
        while self._reopenings:
            reopens_at, name = self._reopenings[0]
            lane = self._lanes.get(name)
            if lane is not None and lane.waiting and lane.reopens_at(now_at) == reopens_at:
                return reopens_at
            heapq.heappop(self._reopenings)
        return None

    def busy_limit(self, name: str) -> int | None:
        """Return the limit of attempts under way of a destination's lane if it is reached, else ``None``; also
        ``None`` for other lanes.
        """
        lane = self._lanes.get(name)
        is_busy = (
            lane is not None and not isinstance(lane, FlowLane) and len(lane.in_flight) >= self._per_origin
        )
        return self._per_origin if is_busy else None

    def find(self, name: str) -> Lane | None:
        """Return the lane of that name if it has waiting messages or attempts under way."""
        return self._lanes.get(name)

    def flow_lane(self, key: str) -> FlowLane | None:
        """Return the lane of a flow-control key, unless the key is at rest and only in the store."""
        lane = self._lanes.get(flow_lane(key))
        return lane if isinstance(lane, FlowLane) else None

    def flow_lanes(self) -> list[FlowLane]:
        """Return the lanes of the flow-control keys in memory, by key."""
        lanes = [lane for lane in self._lanes.values() if isinstance(lane, FlowLane)]
        return sorted(lanes, key=lambda lane: lane.flow_key.key)

    def add_flow_lane(self, flow_key: FlowKey, now_at: int, *, unfinished: int = 0) -> FlowLane:
        """Make a lane for a key, and remove some keys at rest, to bound their number."""
        self._let_go(now_at)
        lane = FlowLane(flow_key, unfinished)
        self._lanes[lane.name] = lane
        self.rest(lane)
        return lane

    def finished(self, name: str) -> None:
        """Record that a message of this lane is finished."""
        lane = self._lanes.get(name)
        if isinstance(lane, FlowLane):
            lane.unfinished -= 1
            self.rest(lane)

    def rest(self, lane: FlowLane) -> None:
        """Let a key that is not needed leave memory after its period.

        Its next message brings limits and starts a period, like a new key's. Only reads need the key, and they find it
        in the store.
        """
        if lane.is_at_rest:
            self._resting[lane.name] = None

    @contextmanager
    def kept(self, key: str) -> Iterator[None]:
        """Keep a key that comes into memory there until the block ends, so that reads of it stay valid."""
        name = flow_lane(key)
        self._wanted[name] += 1
        try:
            yield
        finally:
            self._wanted[name] -= 1
            self._wanted += Counter()  # without keys that no operation needs any more

    def remove_flow_lane(self, key: str) -> None:
        """Remove a key that is at rest."""
        self._lanes.pop(flow_lane(key), None)

    def _let_go(self, now_at: int) -> None:
        # Two for each new one, so that there are never many more at rest than have come within the longest period.
        for name in list(islice(self._resting, 2)):
            del self._resting[name]
            lane = self._lanes.get(name)
            if not isinstance(lane, FlowLane) or not lane.is_at_rest:
                continue
            is_held = name in self._in_round or name in self._crowded or name in self._wanted
            if is_held or now_at < lane.flow_key.period_end_at:
                self._resting[name] = None
            else:
                del self._lanes[name]

    def waiting_count(self) -> int:
        """Return how many messages are due and wait for their turn, in all lanes."""
        return sum(lane.waiting_count for lane in self._lanes.values())

    def _reopen(self, now_at: int) -> None:
        while self._reopenings and self._reopenings[0][0] <= now_at:
            _, name = heapq.heappop(self._reopenings)
            lane = self._lanes.get(name)
            if lane is not None:
                self.offer(lane, now_at)

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(name, self._per_origin)
        return lane

    def _forget_if_idle(self, lane: Lane) -> None:
        if lane.is_idle and lane.name not in self._in_round:
            self._lanes.pop(lane.name, None)
