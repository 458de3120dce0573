"""Everything a tenant's broker knows, and the small steps that all operations are made of."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from emulator.broker.daily_limit import DailyLimit
from emulator.broker.dispatch_lanes import DEFAULT_LANE_WINDOW, FlowLane, Lane, Lanes
from emulator.broker.due_schedules import DueSchedules
from emulator.broker.layer import Layer
from emulator.broker.message import ATTEMPT_ENDS, AttemptResult, LogEntry, Message, Pending, State
from emulator.broker.queues import QueueLine
from emulator.broker.resources import FlowKey, Queue, Schedule, SigningKeys, UrlGroup
from emulator.broker.timeline import DEFAULT_WINDOW, Key, Timeline
from emulator.broker.transitions import LOGGED, Event, after
from emulator.broker.writes import (
    Attempt,
    Cleared,
    DeduplicationKept,
    Effects,
    FlowKeySaved,
    Logged,
    MessageFinished,
    QueueSaved,
    Write,
)
from emulator.wire.flow_control import FlowControl
from emulator.wire.headers import Headers
from emulator.wire.ids import IdFactory
from emulator.wire.limits import LENIENT, Limits

if TYPE_CHECKING:
    from emulator.broker.bulk_actions import BulkAction

DEFAULT_CAPACITY = 1_000
DEFAULT_PER_ORIGIN = 200


class BrokerState:
    """The working memory of one broker. ``next_seq`` hands out numbers that grow across the whole store."""

    def __init__(
        self,
        *,
        ids: IdFactory,
        next_seq: Callable[[], int],
        keys: SigningKeys,
        limits: Limits = LENIENT,
        capacity: int = DEFAULT_CAPACITY,
        per_origin: int = DEFAULT_PER_ORIGIN,
        window: int = DEFAULT_WINDOW,
        lane_window: int = DEFAULT_LANE_WINDOW,
    ) -> None:
        self.ids = ids
        self.next_seq = next_seq
        self.limits = limits
        self.keys = keys
        self._capacity = capacity
        self._per_origin = per_origin
        self._window = window
        self._lane_window = lane_window
        self._effects = Effects()
        self._advanced_to = 0
        self.layers: dict[str, Layer] = {}
        self._forget()

    def _forget(self) -> None:
        self.timeline: Timeline = Timeline(self._window)
        self.lanes: Lanes = Lanes(
            capacity=self._capacity, per_origin=self._per_origin, window=self._lane_window
        )
        self.active: dict[int, Pending] = {}
        self.queues: dict[str, QueueLine] = {}
        self.groups: dict[str, UrlGroup] = {}
        self.schedules: dict[str, Schedule] = {}
        self.due_schedules: DueSchedules = DueSchedules(self.schedules)
        # The messages of each schedule's last run: seq → message id.
        self.last_runs: dict[str, dict[int, str]] = {}
        self.deduplications: dict[str, DeduplicationKept] = {}
        # Those in progress.
        self.bulk_actions: dict[str, BulkAction] = {}
        self.daily: DailyLimit = DailyLimit(self.limits.max_daily_messages)
        # Queues in which something changed since their slots were last handed out; a dict keeps their order.
        self._restless: dict[str, None] = {}

    def clear(self) -> None:
        """Forget everything but the signing keys; what comes of attempts under way will be ignored."""
        self.forget()
        self.write(Cleared())

    def forget(self) -> None:
        """Lose the working memory, as a crash does; what is kept stays so."""
        self._forget()
        self._effects = Effects()
        for layer in self.layers.values():
            layer.clear()

    def layer_of(self, message: Message) -> Layer | None:
        """The layer that decides what follows from ``message``; ``None`` for plain ones."""
        return None if message.tag is None else self.layers[message.tag.layer]

    def write(self, write: Write) -> None:
        """Ask for something to be kept."""
        self._effects.writes.append(write)

    def take_effects(self) -> Effects:
        """What has come together since the last call."""
        effects, self._effects = self._effects, Effects()
        return effects

    def log(
        self,
        seq: int,
        state: State,
        now_at: int,
        *,
        retried: int = 0,
        next_delivery_at: int | None = None,
        result: AttemptResult | None = None,
        sent: Headers | None = None,
    ) -> None:
        """Add a line to a message's history."""
        self.write(
            Logged(
                LogEntry(
                    message_seq=seq,
                    time_at=now_at,
                    state=state,
                    retried=retried,
                    next_delivery_at=next_delivery_at,
                    error=_error_text(result),
                    response=result,
                    sent=sent,
                )
            )
        )

    def move(
        self,
        pending: Pending,
        event: Event,
        now_at: int,
        *,
        result: AttemptResult | None = None,
        next_delivery_at: int | None = None,
        sent: Headers | None = None,
    ) -> None:
        """Carry out one transition: the new state, and the log lines that belong to it.

        ``sent`` are the header lines of the attempt that it ends, if it ends one.
        """
        pending.state = after(pending.state, event)
        for state in LOGGED[event]:
            self.log(
                pending.seq,
                state,
                now_at,
                retried=pending.retried,
                next_delivery_at=next_delivery_at,
                result=None if state is State.RETRY else result,
                sent=sent if state in ATTEMPT_ENDS else None,
            )

    def finish(
        self,
        pending: Pending,
        event: Event,
        now_at: int,
        *,
        result: AttemptResult | None = None,
        sent: Headers | None = None,
    ) -> None:
        """Carry out a transition into a final state, and give up the message's part of its queue slot."""
        self.move(pending, event, now_at, result=result, sent=sent)
        self.write(MessageFinished(pending.seq, pending.state, pending.retried, now_at))
        self._leave_queue(pending.queue_name, pending.seq)
        if pending.slot_of is not None:
            self._release_slot(pending.slot_queue, pending.slot_of)

    def schedule_pending(self, pending: Pending) -> None:
        """Send a new message on its way: into its queue's line, or onto the timeline."""
        if pending.queue_name is None:
            self.timeline.add(pending)
        else:
            self.queues[pending.queue_name].join(pending)
            self.rouse(pending.queue_name)

    def put_schedule(self, schedule: Schedule) -> None:
        """Have a schedule, new or changed, and fire it at its next time."""
        self.schedules[schedule.id] = schedule
        self.due_schedules.put(schedule)

    def remember_deduplication(self, kept: DeduplicationKept, now_at: int) -> None:
        """Remember a key, and let go of those that have expired by ``now_at``: they stand in that order."""
        known = self.deduplications
        while known and (oldest := next(iter(known.values()))).expires_at <= now_at:
            del known[oldest.key]
        known[kept.key] = kept

    def rouse(self, queue_name: str) -> None:
        """Have a queue's slots handed out anew at the next ``advance``."""
        self._restless[queue_name] = None

    def recall(self, queue_name: str) -> None:
        """Hold back what waits for its turn, but may not start any more: its queue was paused or narrowed."""
        line = self.queues[queue_name]
        # From the last slot on, so that the first keep their places in their lanes.
        for pending in reversed(line.with_slot()):
            if not line.may_start(pending.seq) and self.lanes.get(pending.lane, pending.seq) is not None:
                self.lanes.withdraw(pending)
                line.hold_back(pending)

    def advance(self, now_at: int) -> None:
        """Start whatever may start at ``now_at``: slots, due times, lanes, in this order."""
        if now_at < self._advanced_to:
            self.lanes.reconsider(now_at)
        self._advanced_to = now_at
        self._grant_slots(now_at)
        while (due := self.timeline.pop_due(now_at)) is not None:
            self._admit(due, now_at)
        while (starting := self.lanes.next_start(now_at)) is not None:
            self._start(starting, now_at)

    def _grant_slots(self, now_at: int) -> None:
        """Put messages that got a slot onto the timeline, and let go of those held back without need."""
        restless, self._restless = self._restless, {}
        for line in (self.queues[name] for name in restless if name in self.queues):
            for pending in line.grant():
                self.timeline.add(pending)
            for pending in line.take_held_back():
                self.lanes.enter(pending, now_at)

    def _admit(self, pending: Pending, now_at: int) -> None:
        line = self.queues.get(pending.queue_name) if pending.queue_name else None
        if line is None or not line.has_slot(pending.seq) or line.admit(pending):
            self.lanes.enter(pending, now_at)

    def _start(self, pending: Pending, now_at: int) -> None:
        self.move(pending, Event.ATTEMPT_STARTED, now_at)
        self.active[pending.seq] = pending
        flow_key = self._flow_key_of(pending)
        if flow_key is not None:
            self.write(FlowKeySaved(flow_key))
        self._effects.attempts.append(Attempt(pending.seq, pending.retried))

    def end_attempt(self, seq: int, now_at: int) -> Pending | None:
        """Take a message from those under way and give back its place; ``None`` if it is not under way."""
        pending = self.active.pop(seq, None)
        if pending is None:
            return None
        self.lanes.ended(pending, now_at)
        line = self.queues.get(pending.queue_name) if pending.queue_name else None
        if line is not None:
            line.attempt_ended(seq)
            self.rouse(line.queue.name)
        return pending

    def _flow_key_of(self, pending: Pending) -> FlowKey | None:
        lane = self.lanes.flow_lane(pending.lane.removeprefix("flow:"))
        return lane.flow_key if lane is not None and lane.name == pending.lane else None

    def _leave_queue(self, queue_name: str | None, seq: int) -> None:
        line = self.queues.get(queue_name) if queue_name else None
        if line is not None:
            line.leave(seq)
            self.rouse(line.queue.name)

    def _release_slot(self, queue_name: str | None, seq: int) -> None:
        line = self.queues.get(queue_name) if queue_name else None
        if line is not None:
            line.release(seq)
            self.rouse(line.queue.name)

    def ensure_queue(self, name: str, now_at: int) -> QueueLine:
        """The queue of that name, made with parallelism 1 if there is none (contract 2.2)."""
        line = self.queues.get(name)
        if line is None:
            queue = Queue(name=name, created_at=now_at, updated_at=now_at)
            line = self.queues[name] = QueueLine(queue)
            self.write(QueueSaved(queue))
        return line

    def apply_flow_control(self, flow: FlowControl, now_at: int) -> None:
        """The newest message's limits are its key's, except where they are pinned (contract 5.2)."""
        lane = self.lanes.flow_lane(flow.key)
        if lane is None:
            lane = self.lanes.add_flow_lane(FlowKey(key=flow.key, used_at=now_at))
        key = replace(lane.flow_key, used_at=now_at)
        if not key.is_pinned_parallelism:
            key = replace(key, parallelism=flow.parallelism)
        if not key.is_pinned_rate:
            key = replace(key, rate=flow.rate, period_seconds=flow.period_seconds)
        self.save_flow_key(lane, key, now_at)

    def save_flow_key(self, lane: FlowLane, key: FlowKey, now_at: int) -> None:
        """Put a key's new limits or flags in force."""
        lane.flow_key = key
        self.write(FlowKeySaved(key))
        self.lanes.offer(lane, now_at)

    def refill_lane(
        self, lane: Lane, read: list[Pending], now_at: int, *, is_complete: bool, horizon: Key | None
    ) -> None:
        """Take what was read for a crowded lane; ``horizon`` is the timeline's when the reading began."""
        horizons = [key for key in (horizon, self.timeline.horizon) if key is not None]
        self.lanes.refill(lane, read, now_at, is_complete=is_complete, horizon=min(horizons, default=None))

    def is_left_to_store(self, candidate: Pending) -> bool:
        """Whether the store alone remembers an unfinished message: far away, or behind a crowded lane's window."""
        is_far_away = candidate.queue_name is None and self.timeline.is_beyond_horizon(
            candidate.due_at, candidate.seq
        )
        return is_far_away or self.lanes.is_left_to_store(candidate)

    def find(self, seq: int, lane: str, queue_name: str | None) -> Pending | None:
        """The unfinished message in memory, wherever it waits; ``None`` if it is finished or left to the store."""
        line = self.queues.get(queue_name) if queue_name else None
        return (
            self.active.get(seq)
            or self.timeline.get(seq)
            or self.lanes.get(lane, seq)
            or (line.get(seq) if line else None)
        )


def _error_text(result: AttemptResult | None) -> str | None:
    if result is None:
        return None
    words = (
        None if result.is_success else result.error or f"the destination answered with status {result.status}"
    )
    return "; ".join(text for text in (words, result.note) if text) or None
