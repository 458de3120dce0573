"""Keeps what is seen of one tenant's run, so that the invariants can be checked on it afterwards.

The runtime tells what it made durable; what its clients were answered is noted where they were answered. Both
together are the record that ``emulator.testing.invariants`` judges by rules of its own.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from emulator.broker import writes as w
from emulator.broker.message import LogEntry, Message, State
from emulator.broker.resources import FlowKey, Queue, Schedule
from emulator.broker.retry import NON_RETRYABLE_HEADER, NON_RETRYABLE_STATUS
from emulator.runtime import Runtime
from emulator.testing.invariants import (
    AttemptRecord,
    Change,
    FlowKeyRecord,
    Interruption,
    LogRecord,
    MessageRecord,
    QueueRecord,
    Rate,
    Record,
    ScheduleRecord,
)
from emulator.wire.backoff import retry_wait_ms
from emulator.wire.headers import first_value
from emulator.wire.retry_after import wait_from_response

_PUBLISHING = ("/v2/publish/", "/v2/enqueue/", "/v2/batch")


class Recorder:
    """One tenant's run from now on, as a record."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.forget()
        runtime.observers.append(self._note)

    def forget(self) -> None:
        """Begin anew: what was before does not count any more."""
        self._messages: dict[int, tuple[Message, bytes]] = {}
        self._bodies: dict[int, bytes] = {}
        self._log: list[LogEntry] = []
        self._acknowledged: list[str] = []
        self._keys_of: dict[str, str] = {}
        self._dead: dict[str, int] = {}
        self._removed: set[str] = set()
        self._queues: dict[str, list[tuple[int, Queue]]] = defaultdict(list)
        self._flow_keys: dict[str, list[tuple[int, FlowKey]]] = defaultdict(list)
        self._schedules: list[ScheduleRecord] = []
        self._active: dict[str, tuple[str, int]] = {}
        self._rotated: list[Change[str]] = []
        self._first_key = self._runtime.broker.state.keys.current
        self._crashes = len(self._runtime.crashed_at)

    def note_answer(self, path: str, status: int, body: bytes) -> None:
        """A client was answered; what a publish of it accepted must never be lost."""
        if status in (200, 202) and path.lower().startswith(_PUBLISHING):
            self._acknowledged += _message_ids(json.loads(body))

    def record(self) -> Record:
        """The run so far."""
        known = {message.id for message, _ in self._messages.values()}
        lost = [MessageRecord(id=one) for one in self._acknowledged if one not in known]
        attempts = self._attempts()
        is_signed_by_the_rules = not self._runtime.faults.has_spoilt_signatures and all(
            attempt.signature is not None for attempt in attempts
        )
        return Record(
            messages=[*self._message_records(), *lost],
            attempts=attempts,
            log=[
                LogRecord(message_id=self._id(entry), time_at=entry.time_at, state=entry.state.value)
                for entry in self._log
                if entry.message_seq in self._messages
            ],
            dead_letters=frozenset(
                self._messages[seq][0].id
                for dlq_id, seq in self._dead.items()
                if dlq_id not in self._removed and seq in self._messages
            ),
            removed_dead_letters=frozenset(
                self._messages[seq][0].id
                for dlq_id, seq in self._dead.items()
                if dlq_id in self._removed and seq in self._messages
            ),
            queues={name: _queue_record(changes) for name, changes in self._queues.items()},
            flow_keys={key: _flow_record(changes) for key, changes in self._flow_keys.items()},
            schedules=[*self._schedules, *self._still_active()],
            signing_keys=self._signing_keys() if is_signed_by_the_rules else (),
            interruptions=[
                Interruption(from_at=at, to_at=at) for at in self._runtime.crashed_at[self._crashes :]
            ],
            is_idle=self._runtime.is_idle,
        )

    # What the runtime tells

    def _note(self, writes: Sequence[w.Write]) -> None:
        now_at = self._runtime.clock.now_at()
        for write in writes:
            self._note_one(write, now_at)

    def _note_one(self, write: w.Write, now_at: int) -> None:  # noqa: C901, PLR0912  one arm a kind of write
        match write:
            case w.MessageAccepted(message, body):
                if body is not None and message.body_seq is not None:
                    self._bodies[message.body_seq] = body
                self._messages[message.seq] = message, self._bodies.get(message.body_seq or 0, b"")
            case w.Logged(entry):
                self._log.append(entry)
            case w.DeduplicationKept(key, message_id):
                self._keys_of[message_id] = key
            case w.DeadLettered(dead):
                self._dead[dead.dlq_id] = dead.message_seq
            case w.DeadLetterRemoved(dlq_id):
                self._removed.add(dlq_id)
            case w.QueueSaved(queue):
                self._queues[queue.name].append((now_at, queue))
            case w.FlowKeySaved(flow_key):
                self._flow_keys[flow_key.key].append((now_at, flow_key))
            case w.ScheduleSaved(schedule, body):
                if body is not None and schedule.body_seq is not None:
                    self._bodies[schedule.body_seq] = body
                self._follow(schedule.id, schedule, now_at)
            case w.ScheduleDeleted(schedule_id):
                self._follow(schedule_id, None, now_at)
            case w.KeysRotated(keys):
                self._rotated.append(Change(value=keys.current, sent_at=now_at, done_at=now_at))
            case w.Cleared():
                self.forget()
            case _:
                pass

    def _follow(self, schedule_id: str, schedule: Schedule | None, now_at: int) -> None:
        """Note from when to when a schedule is active with one cron line."""
        cron = schedule.cron if schedule is not None and not schedule.is_paused else None
        before = self._active.get(schedule_id)
        if before is not None and before[0] == cron:
            return
        if before is not None:
            self._schedules.append(
                ScheduleRecord(schedule_id=schedule_id, cron=before[0], from_at=before[1], until_at=now_at)
            )
            del self._active[schedule_id]
        if cron is not None:
            self._active[schedule_id] = cron, now_at

    def _still_active(self) -> list[ScheduleRecord]:
        now_at = self._runtime.clock.now_at()
        return [
            ScheduleRecord(schedule_id=schedule_id, cron=cron, from_at=from_at, until_at=now_at)
            for schedule_id, (cron, from_at) in self._active.items()
        ]

    # As records

    def _id(self, entry: LogEntry) -> str:
        return self._messages[entry.message_seq][0].id

    def _message_records(self) -> list[MessageRecord]:
        acknowledged = set(self._acknowledged)
        return [
            _message_record(
                message, body, self._keys_of.get(message.id), is_acknowledged=message.id in acknowledged
            )
            for message, body in self._messages.values()
        ]

    def _attempts(self) -> list[AttemptRecord]:
        begun: dict[int, tuple[int, LogEntry]] = {}
        attempts: list[tuple[int, AttemptRecord]] = []
        for place, entry in enumerate(self._log):
            seq = entry.message_seq
            if seq not in self._messages:
                continue
            if entry.state is State.ACTIVE:
                if seq in begun:
                    begun_at, cut_off = begun[seq]
                    attempts.append((begun_at, self._attempt(cut_off, None, entry.time_at)))
                begun[seq] = place, entry
            elif entry.state in (State.ERROR, State.DELIVERED, State.CANCELED) and seq in begun:
                begun_at, start = begun.pop(seq)
                attempts.append((begun_at, self._attempt(start, entry, entry.time_at)))
        now_at = self._runtime.clock.now_at()
        attempts += [(place, self._attempt(entry, None, now_at)) for place, entry in begun.values()]
        return [attempt for _, attempt in sorted(attempts, key=lambda placed: placed[0])]

    def _attempt(self, begun: LogEntry, ended: LogEntry | None, ended_at: int) -> AttemptRecord:
        message, body = self._messages[begun.message_seq]
        response = ended.response if ended is not None else None
        headers = response.headers if response is not None else ()
        sent = self._runtime.deliveries.recent_requests.find(begun.message_seq, begun.retried) or ()
        return AttemptRecord(
            message_id=message.id,
            retried=begun.retried,
            started_at=begun.time_at,
            ended_at=ended_at,
            status=None if ended is None else (response.status if response is not None else 0),
            forbids_retries=response is not None
            and response.status == NON_RETRYABLE_STATUS
            and (first_value(headers, NON_RETRYABLE_HEADER) or "").lower() == "true",
            retry_after_ms=wait_from_response(headers, now_at=ended_at),
            url=message.url,
            body=None if message.tag is not None else body,
            signature=first_value(sent, "Upstash-Signature"),
        )

    def _signing_keys(self) -> list[Change[str]]:
        return [Change(value=self._first_key, sent_at=0, done_at=0), *self._rotated]


def _message_ids(answer: Any) -> list[str]:
    """The ids in an answer of publish, enqueue or batch."""
    if isinstance(answer, list):
        return [one for item in answer for one in _message_ids(item)]
    return [answer["messageId"]] if isinstance(answer, dict) and "messageId" in answer else []


def _message_record(
    message: Message, body: bytes, key: str | None, *, is_acknowledged: bool
) -> MessageRecord:
    # A layer (workflows) decides for itself what is a failure, and when it is the last.
    is_plain = message.tag is None
    waits = None
    if message.retry_delay is not None:
        waits = tuple(
            retry_wait_ms(retried=number, expression=message.retry_delay, response_headers=(), now_at=0)
            for number in range(max(1, message.max_retries))
        )
    return MessageRecord(
        id=message.id,
        is_acknowledged=is_acknowledged,
        due_at=message.not_before_at,
        url=message.url,
        body=body if is_plain else None,
        max_retries=message.max_retries if is_plain else None,
        retry_waits_ms=waits,
        queue=message.queue_name,
        flow_key=message.flow_control.key if message.flow_control else None,
        deduplication_key=key,
        schedule_id=message.schedule_id,
    )


def _changes(values: Sequence[tuple[int, Any]]) -> list[Change[Any]]:
    """Only where the value became another."""
    changes: list[Change[Any]] = []
    for at, value in values:
        if not changes or changes[-1].value != value:
            changes.append(Change(value=value, sent_at=at, done_at=at))
    return changes


def _queue_record(saved: Sequence[tuple[int, Queue]]) -> QueueRecord:
    return QueueRecord(
        parallelism=_changes([(at, queue.parallelism) for at, queue in saved]),
        is_paused=_changes([(at, queue.is_paused) for at, queue in saved]),
    )


def _flow_record(saved: Sequence[tuple[int, FlowKey]]) -> FlowKeyRecord:
    rates: list[Change[Rate]] = []
    before: FlowKey | None = None
    for at, key in saved:
        is_fresh = (
            before is not None
            and key.rate_count == 0
            and (before.rate_count > 0 or key.period_start_at != before.period_start_at)
        )
        if (
            before is None
            or is_fresh
            or (before.rate, before.period_seconds) != (key.rate, key.period_seconds)
        ):
            value = Rate(rate=key.rate, period_seconds=key.period_seconds, is_fresh=is_fresh)
            rates.append(Change(value=value, sent_at=at, done_at=at))
        before = key
    return FlowKeyRecord(
        parallelism=_changes([(at, key.parallelism) for at, key in saved]),
        is_paused=_changes([(at, key.is_paused) for at, key in saved]),
        rate=rates,
    )
