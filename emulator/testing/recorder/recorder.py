"""Make the record of a run from calls, requests and the final state."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from emulator.testing.invariants import (
    AttemptRecord,
    FlowKeyRecord,
    Interruption,
    LogRecord,
    MessageRecord,
    Record,
    ScheduleRecord,
    SettingChange,
)
from emulator.testing.recorder.asked import Asked
from emulator.testing.recorder.calls import Calls, ClientCall, FlowEvent
from emulator.testing.recorder.kept import Kept, KeptAttempt, KeptMessage, ReceivedRequest
from emulator.testing.recorder.readers import retry_waits_ms, wait_ms
from emulator.testing.recorder.settings import flow_record, queue_of, queue_records, schedule_records


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The state when the record begins. Earlier messages, limits and schedules are not checked.

    ``queues`` are parallelism and pause by name.
    """

    at: int
    signing_key: str
    message_ids: frozenset[str] = frozenset()
    queues: Mapping[str, tuple[int, bool]] = field(default_factory=dict)
    flow_keys: frozenset[str] = frozenset()


class Recorder:
    """One tenant's run, from ``start`` on."""

    def __init__(self, start: Start) -> None:
        self.forget(start)

    def forget(self, start: Start) -> None:
        """Start over: what was recorded before no longer counts."""
        self._start = start
        self._calls = Calls()
        self._calls.unclear_flow_keys.update(start.flow_keys)
        for name, (parallelism, is_paused) in start.queues.items():
            at = start.at
            self._calls.queue_parallelism[name].append(
                SettingChange(value=parallelism, sent_at=at, done_at=at)
            )
            self._calls.queue_pauses[name].append(SettingChange(value=is_paused, sent_at=at, done_at=at))
        self._requests: dict[tuple[str, int], list[ReceivedRequest]] = defaultdict(list)

    @property
    def calls(self) -> Calls:
        """Return the clients' calls."""
        return self._calls

    def note_call(self, call: ClientCall) -> None:
        """Record a client's call."""
        self._calls.note(call)

    def note_request(self, request: ReceivedRequest) -> None:
        """Record a request to a destination."""
        self._requests[request.message_id, request.retried].append(request)

    def record(
        self,
        kept: Kept,
        *,
        now_at: int,
        is_idle: bool,
        attempts: Sequence[AttemptRecord] | None = None,
        is_pruned: bool = False,
        dead_letters_since_at: int = 0,
        interruptions: Sequence[Interruption] = (),
        went_back: bool = False,
        is_signed_by_the_rules: bool = True,
    ) -> Record:
        """Return the run so far, as ``kept`` has it.

        ``attempts`` are those that destinations saw from beginning to end; without them, those of the log.
        ``is_pruned``: messages may have reached the end of their retention; dead letters of before
        ``dead_letters_since_at`` may have. ``went_back``: the clock was turned back.
        """
        is_steady = not interruptions and not went_back
        reader = _Reader(self._calls, self._requests, self._start, kept, is_steady=is_steady)
        lost = [] if is_pruned else reader.lost()
        return Record(
            messages=[*reader.messages(is_pruned=is_pruned), *lost],
            attempts=reader.attempts(now_at) if attempts is None else attempts,
            log=reader.log,
            dead_letters=kept.dead_letters,
            removed_dead_letters=reader.removed_dead_letters(dead_letters_since_at),
            cancels={} if is_pruned else self._calls.cancels,
            queues=queue_records(self._calls, reader.queue_names()),
            flow_keys=reader.flow_keys(),
            schedules=[] if is_pruned else reader.schedules(now_at),
            signing_keys=reader.signing_keys() if is_signed_by_the_rules else (),
            interruptions=interruptions,
            is_idle=is_idle,
            went_back=went_back,
        )


class _Reader:
    def __init__(
        self,
        calls: Calls,
        requests: Mapping[tuple[str, int], Sequence[ReceivedRequest]],
        start: Start,
        kept: Kept,
        *,
        is_steady: bool,
    ) -> None:
        self._calls, self._requests, self._start = calls, requests, start
        self._kept, self._is_steady = kept, is_steady
        self.log = [
            LogRecord(message_id=line.message_id, time_at=line.time_at, state=line.state)
            for line in kept.log
            if line.message_id not in start.message_ids
        ]
        by_id = {message.id: message for message in kept.messages if message.id not in start.message_ids}
        self._created_at: dict[str, int] = {}
        for line in self.log:
            self._created_at.setdefault(line.message_id, line.time_at)
        # In the order of publishing, which the log has.
        self._messages = {one: by_id[one] for one in self._created_at if one in by_id}
        self._silent = [one for one in by_id if one not in self._created_at]

    def messages(self, *, is_pruned: bool) -> list[MessageRecord]:
        """Return the messages in the log."""
        return [self._message(message, is_pruned=is_pruned) for message in self._messages.values()]

    def lost(self) -> list[MessageRecord]:
        """Return the messages that were accepted, or are in the store, and have no log."""
        missing = dict.fromkeys(one for one in self._calls.acknowledged if one not in self._messages)
        return [
            MessageRecord(id=one) for one in (*missing, *(one for one in self._silent if one not in missing))
        ]

    def _message(self, message: KeptMessage, *, is_pruned: bool) -> MessageRecord:
        calls, created_at = self._calls, self._created_at[message.id]
        if message.is_of_run:
            return MessageRecord(
                id=message.id,
                is_acknowledged=message.id in calls.acknowledged,
                due_at=message.due_at,
                retry_waits_ms=self._waits(message, message.retry_delay),
                queue=queue_of(calls, message.queue, created_at),
                flow_key=message.flow_key,
                state=message.state,
                is_of_run=True,
            )
        asked = self._asked(message, created_at)
        is_first_hand = self._is_first_hand(message)
        has_callback, has_failure_callback = (
            is_told and not is_pruned and not calls.is_republishing_unclear
            for is_told in _callbacks(message, asked)
        )
        schedule_id = message.schedule_id if is_first_hand else None
        key = asked.deduplication_key if asked and is_first_hand and message.schedule_id is None else None
        source = self._source(message)
        return MessageRecord(
            id=message.id,
            is_acknowledged=message.id in calls.acknowledged,
            due_at=self._due_at(message, asked, created_at),
            url=message.url if asked is None or asked.url is None else asked.url,
            body=message.body if asked is None else asked.body,
            max_retries=self._max_retries(message, asked, source),
            retry_waits_ms=self._waits(message, asked.retry_delay if asked else message.retry_delay),
            queue=queue_of(calls, message.queue, created_at),
            flow_key=_flow_key(message, asked),
            # A URL group has one message for each endpoint (contract 3.5).
            deduplication_key=f"{key} at {message.endpoint or ''}" if key is not None else None,
            schedule_id=schedule_id,
            has_callback=has_callback,
            has_failure_callback=has_failure_callback,
            reports=source if is_first_hand and not is_pruned else None,
            state=message.state,
        )

    def _asked(self, message: KeptMessage, created_at: int) -> Asked | None:
        """Return the values requested by its publisher or by its schedule's creator; ``None`` if not seen."""
        if message.id in self._calls.asked:
            return self._calls.asked[message.id]
        if message.id in self._calls.republished or not self._is_steady:
            return self._alike(message)
        if message.schedule_id is None:
            return None
        saved = self._calls.asked_of_schedules[message.schedule_id]
        if any(one.sent_at == created_at for one in saved):
            return None
        return next((one for one in reversed(saved) if one.sent_at < created_at), None)

    def _alike(self, message: KeptMessage) -> Asked | None:
        """Return the values requested by all publishes of the same message; ``None`` if they differ."""
        alike = {
            replace(one, sent_at=0)
            for one in self._calls.publishes.get(message.body, ())
            if (one.url == message.url if message.group is None else one.group == message.group)
        }
        return alike.pop() if len(alike) == 1 else None

    def _is_first_hand(self, message: KeptMessage) -> bool:
        """Return whether it certainly was not published again from the dead letter queue."""
        if message.id in self._calls.asked:
            return True
        return not self._calls.is_republishing_unclear and message.id not in self._calls.republished

    def _due_at(self, message: KeptMessage, asked: Asked | None, created_at: int) -> int:
        if message.id in self._calls.hurried:
            return created_at
        if asked is None:
            return message.due_at
        if message.schedule_id is not None and self._is_first_hand(message):
            return created_at + (asked.delay_ms or 0)
        if message.id not in self._calls.asked:
            return created_at
        if asked.not_before_at is not None:
            return max(created_at, asked.not_before_at)
        return asked.sent_at + (asked.delay_ms or 0)

    def _max_retries(self, message: KeptMessage, asked: Asked | None, source: str | None) -> int:
        retries = None if asked is None else asked.max_retries
        if asked is None and source is not None:
            told = self._asked(self._messages[source], self._created_at[source])
            if told is not None and told.callback != told.failure_callback:
                is_outcome = message.url == told.callback
                retries = told.callback_retries if is_outcome else told.failure_callback_retries
        return message.max_retries if retries is None else retries

    def _waits(self, message: KeptMessage, expression: str | None) -> tuple[int, ...] | None:
        if message.id in self._calls.hurried:
            return (0,)
        if expression is None:
            return None
        # An expression that the checker cannot read is not checked.
        return retry_waits_ms(expression, min(message.max_retries, 50)) or (0,)

    def _source(self, message: KeptMessage) -> str | None:
        """Return the id of the message that a callback reports on."""
        is_published = message.id in self._calls.acknowledged or message.id in self._calls.republished
        if is_published or message.schedule_id is not None or b"sourceMessageId" not in message.body:
            return None
        try:
            source_id = json.loads(message.body)["sourceMessageId"]
        except (ValueError, KeyError, TypeError):
            return None
        source = self._messages.get(source_id)
        if source is None or source.is_of_run:
            return None
        asked = self._asked(source, self._created_at[source_id])
        urls = {*source.callbacks, *((asked.callback, asked.failure_callback) if asked else ())}
        return source_id if message.url in urls else None

    def attempts(self, now_at: int) -> list[AttemptRecord]:
        """Return the attempts in the log, with the request that was really sent where a destination was reached."""
        seen: dict[tuple[str, int], int] = defaultdict(int)
        records = []
        for attempt in self._kept.attempts:
            if attempt.message_id in self._messages:
                key = attempt.message_id, attempt.retried
                sent = self._requests.get(key, ())
                request = sent[min(seen[key], len(sent) - 1)] if sent else None
                seen[key] += 1
                records.append(_attempt(attempt, request, now_at))
        unknown = [
            request
            for (message_id, retried), sent in self._requests.items()
            if message_id in self._messages and (message_id, retried) not in seen
            for request in sent
        ]
        # Requests without a line in the log.
        return records + [
            AttemptRecord(
                message_id=one.message_id,
                retried=one.retried,
                started_at=now_at,
                ended_at=now_at,
                status=None,
                url=one.url,
                body=one.body,
                signature=one.signature,
            )
            for one in unknown
        ]

    def removed_dead_letters(self, since_at: int) -> frozenset[str]:
        """Return those whose entry may be gone: past its time, or named by a call that removes.

        Of the others as many as calls removed without naming them; if more are gone, none.
        """
        failed = {line.message_id: line.time_at for line in self.log if line.state == "FAILED"}
        gone = {one: at for one, at in failed.items() if one not in self._kept.dead_letters}
        recent = frozenset(
            one for one, at in gone.items() if at >= since_at and one not in self._calls.removed
        )
        old = frozenset(gone) - recent
        return old | recent if len(recent) <= self._calls.removed_dead_letters else old

    def queue_names(self) -> set[str]:
        return {message.queue for message in self._messages.values() if message.queue is not None}

    def flow_keys(self) -> dict[str, FlowKeyRecord]:
        """Return each key's limits."""
        events: dict[str, list[FlowEvent]] = defaultdict(list)
        for key, asked_for in self._calls.flow_events.items():
            events[key] += asked_for
        for message in self._messages.values():
            at = self._created_at[message.id]
            asked = self._asked(message, at)
            flow_key = _flow_key(message, asked)
            if flow_key is not None:
                limits = asked.limits if asked and asked.flow_key == flow_key else message.limits
                events[flow_key].append(FlowEvent(kind="message", sent_at=at, done_at=at, limits=limits))
        return {
            key: FlowKeyRecord(is_paused=self._calls.flow_pauses[key])
            if key in self._calls.unclear_flow_keys
            else flow_record(found, self._calls.flow_pauses[key])
            for key, found in sorted(events.items())
        }

    def schedules(self, now_at: int) -> list[ScheduleRecord]:
        """Return when each schedule was certainly active. A schedule that was fired by hand is not judged."""
        if self._calls.is_republishing_unclear:
            # A message that was published again from the DLQ looks like a firing.
            return []
        return [
            span
            for schedule_id, events in sorted(self._calls.schedule_events.items())
            if schedule_id not in self._calls.fired_by_hand
            for span in schedule_records(schedule_id, events, now_at, self._calls.groups_since)
            # An interval counts from a moment that only the emulator knows.
            if not span.cron.startswith("@every")
        ]

    def signing_keys(self) -> list[SettingChange[Any]]:
        if self._calls.are_signing_keys_unclear:
            return []
        return [SettingChange(value=self._start.signing_key, sent_at=0, done_at=0), *self._calls.signing_keys]


def _callbacks(message: KeptMessage, asked: Asked | None) -> tuple[bool, bool]:
    """Return whether its outcomes, and whether its failure, are told to anybody."""
    callback, failure_callback = message.callbacks
    if asked is not None:
        callback, failure_callback = asked.callback, asked.failure_callback
    return callback is not None, failure_callback is not None


def _flow_key(message: KeptMessage, asked: Asked | None) -> str | None:
    return message.flow_key if asked is None or asked.flow_key is None else asked.flow_key


def _attempt(attempt: KeptAttempt, request: ReceivedRequest | None, now_at: int) -> AttemptRecord:
    ended_at = now_at if attempt.ended_at is None else attempt.ended_at
    flags = [value for name, value in attempt.headers if name.lower() == "upstash-nonretryable-error"]
    return AttemptRecord(
        message_id=attempt.message_id,
        retried=attempt.retried,
        started_at=attempt.started_at,
        ended_at=ended_at,
        status=attempt.status,
        # Contract 4.2.
        forbids_retries=attempt.status == 489 and any(flag.strip().lower() == "true" for flag in flags[:1]),
        retry_after_ms=wait_ms(attempt.headers, ended_at),
        url=None if request is None else request.url,
        body=None if request is None else request.body,
        signature=None if request is None else request.signature,
    )
