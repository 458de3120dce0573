"""The state of a tenant's broker, and the basic steps that all operations share."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from emulator.broker.daily_limit import DailyLimit
from emulator.broker.dispatch_lanes import FlowLane, Lanes
from emulator.broker.due_schedules import DueSchedules
from emulator.broker.message import ATTEMPT_ENDS, AttemptResult, LogEntry, Pending, State
from emulator.broker.pending_messages import DEFAULT_WINDOWS, PendingMessages, Windows
from emulator.broker.queues import QueueLine
from emulator.broker.resources import FlowKey, Queue, Schedule, SigningKeys, UrlGroup
from emulator.broker.schedule_runs import LastRuns
from emulator.broker.transitions import LOGGED, Event, after
from emulator.broker.workflow.state import WorkflowState
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
    """The state of one broker. ``next_seq`` returns numbers that grow across the whole store."""

    def __init__(
        self,
        *,
        ids: IdFactory,
        next_seq: Callable[[], int],
        keys: SigningKeys,
        limits: Limits = LENIENT,
        capacity: int = DEFAULT_CAPACITY,
        per_origin: int = DEFAULT_PER_ORIGIN,
        windows: Windows = DEFAULT_WINDOWS,
    ) -> None:
        self.ids = ids
        self.next_seq = next_seq
        self.limits = limits
        self.keys = keys
        self._capacity = capacity
        self._per_origin = per_origin
        self._windows = windows
        self._effects = Effects()
        self.workflows: WorkflowState = WorkflowState(self)
        self._forget()

    def _forget(self) -> None:
        self.pending: PendingMessages = PendingMessages(
            capacity=self._capacity, per_origin=self._per_origin, windows=self._windows
        )
        self.lanes: Lanes = self.pending.lanes
        self.queues: dict[str, QueueLine] = self.pending.queues
        self.groups: dict[str, UrlGroup] = {}
        self.schedules: dict[str, Schedule] = {}
        self.due_schedules: DueSchedules = DueSchedules(self.schedules)
        self.last_runs: LastRuns = LastRuns()
        self.deduplications: dict[str, DeduplicationKept] = {}
        # Those in progress.
        self.bulk_actions: dict[str, BulkAction] = {}
        self.daily: DailyLimit = DailyLimit(self.limits.max_daily_messages)

    def clear(self) -> None:
        """Delete everything but the signing keys. The results of attempts under way will be ignored."""
        self.forget()
        self.write(Cleared())

    def forget(self) -> None:
        """Drop the state in memory, as a crash does. Stored records stay."""
        self._forget()
        self._effects = Effects()
        self.workflows.forget_all()

    def write(self, write: Write) -> None:
        """Add a write to be stored."""
        self._effects.writes.append(write)

    def take_effects(self) -> Effects:
        """Return and clear the effects collected since the last call."""
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
        entry = LogEntry(
            message_seq=seq,
            time_at=now_at,
            state=state,
            retried=retried,
            next_delivery_at=next_delivery_at,
            error=None if result is None else _error_text(result),
            response=result,
            sent=sent,
        )
        self.write(Logged(entry))

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
        """Carry out a transition into a final state; the message leaves its place and its queue slot."""
        self.move(pending, event, now_at, result=result, sent=sent)
        self.write(MessageFinished(pending.seq, pending.state, pending.retried, now_at))
        self.pending.end(pending)
        self.lanes.finished(pending.lane)

    def put_schedule(self, schedule: Schedule) -> None:
        """Add or replace a schedule, to fire at its next time."""
        self.schedules[schedule.id] = schedule
        self.due_schedules.put(schedule)

    def remember_deduplication(self, kept: DeduplicationKept, now_at: int) -> None:
        """Add a key, and remove those that have expired by ``now_at``; keys are in the order of expiry."""
        known = self.deduplications
        while known and (oldest := next(iter(known.values()))).expires_at <= now_at:
            del known[oldest.key]
        known[kept.key] = kept

    def advance(self, now_at: int) -> None:
        """Start the attempts that may start at ``now_at``."""
        for pending in self.pending.advance(now_at):
            self._start(pending, now_at)

    def _start(self, pending: Pending, now_at: int) -> None:
        self.move(pending, Event.ATTEMPT_STARTED, now_at)
        flow_key = self._flow_key_of(pending)
        if flow_key is not None:
            self.write(FlowKeySaved(flow_key))
        self._effects.attempts.append(Attempt(pending.seq, pending.retried))

    def _flow_key_of(self, pending: Pending) -> FlowKey | None:
        lane = self.lanes.find(pending.lane)
        return lane.flow_key if isinstance(lane, FlowLane) else None

    def ensure_queue(self, name: str, now_at: int) -> QueueLine:
        """Return the queue of that name, created with parallelism 1 if it is missing (contract 2.2)."""
        line = self.queues.get(name)
        if line is None:
            queue = Queue(name=name, created_at=now_at, updated_at=now_at)
            line = self.add_queue(queue)
            self.write(QueueSaved(queue))
        return line

    def add_queue(self, queue: Queue) -> QueueLine:
        """Add a queue, new or from the store, and return its line."""
        line = self.queues[queue.name] = QueueLine(queue, self.pending.queue_window)
        return line

    def apply_flow_control(self, flow: FlowControl, now_at: int) -> None:
        """Count a new message of a key, and put its limits in force except where they are pinned (contract 5.2).

        A period that has ended is dropped first, because new limits may have a longer one.
        """
        lane = self.lanes.flow_lane(flow.key)
        if lane is None:
            lane = self.lanes.add_flow_lane(FlowKey(key=flow.key, used_at=now_at), now_at)
        lane.unfinished += 1
        key = replace(lane.flow_key, used_at=now_at)
        if not key.is_in_period(now_at):
            key = replace(key, rate_count=0, period_start_at=0)
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
        self.lanes.rest(lane)


def _error_text(result: AttemptResult) -> str | None:
    if result.is_success:
        return result.note or None
    words = result.error or f"the destination answered with status {result.status}"
    return f"{words}; {result.note}" if result.note else words
