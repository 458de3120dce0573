"""A test's views of a run: messages with their attempts and histories, as immutable values."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from emulator.broker.message import LogEntry, Message, State
from emulator.broker.outcome import explain_entry
from emulator.store.attempts import LoggedAttempt, pair_attempts
from emulator.store.stored import StoredDeadLetter, StoredLogEntry
from emulator.wire.durations import format_duration

_SHOWN_BYTES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class LogView:
    """A line of a message's history. ``at`` and ``next_delivery_at`` are unix milliseconds."""

    message_id: str
    at: int
    state: State
    error: str | None = None
    next_delivery_at: int | None = None
    reason: str | None = None
    """For a failed attempt: why it failed, with the answer's text, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """One request to a destination. ``number`` counts from 1; times are unix milliseconds of the emulator's clock.

    ``status`` is 0 when there was no complete response, ``None`` while the attempt is under way or when a crash
    cut it off; ``error`` says why an attempt failed.
    """

    message_id: str
    url: str
    number: int
    started_at: int
    ended_at: int | None = None
    status: int | None = None
    error: str | None = None
    response_headers: httpx.Headers = field(default_factory=httpx.Headers, compare=False)
    response_body: bytes = b""

    @property
    def is_delivered(self) -> bool:
        """Return whether the destination answered 2xx."""
        return self.status is not None and 200 <= self.status <= 299 and self.error is None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageView:
    """A message that was accepted: published, made by a schedule, or a callback. Times are unix milliseconds.

    ``headers`` are those that the destination gets; ``max_retries`` and ``timeout_ms`` are the message's own.
    """

    id: str
    url: str
    method: str
    headers: httpx.Headers = field(compare=False)
    body: bytes
    state: State
    created_at: int
    not_before_at: int
    max_retries: int
    timeout_ms: int | None
    queue: str | None
    url_group: str | None
    endpoint: str | None
    schedule_id: str | None
    flow_control_key: str | None
    labels: tuple[str, ...]
    callback: str | None
    failure_callback: str | None
    attempts: tuple[AttemptView, ...]
    log: tuple[LogView, ...]

    @property
    def text(self) -> str:
        """Return the body as UTF-8 text."""
        return self.body.decode()

    def json(self) -> Any:
        """Return the body as JSON. Raises ValueError if it is not JSON."""
        return json.loads(self.body)

    @property
    def is_finished(self) -> bool:
        """Return whether it is delivered, failed or cancelled."""
        return self.state in (State.DELIVERED, State.FAILED, State.CANCELED)

    def headline(self) -> str:
        """Return the message in one line."""
        about = [f"{name} {value}" for name, value in self._about() if value]
        return f"{self.id}  {self.method} {self.url}  {self.state.value}" + (
            f"  ({', '.join(about)})" if about else ""
        )

    def timeline(self) -> str:
        """Return the message's whole history, one line for each event, with its time."""
        lines = [self.headline(), f"    body: {shown(self.body)}"]
        number = 0
        for entry in self.log:
            number += entry.state is State.ACTIVE
            lines.append(f"    {moment(entry.at)}  {_told(entry, number)}")
        return "\n".join(lines)

    def _about(self) -> list[tuple[str, str | None]]:
        return [
            ("queue", self.queue),
            ("URL group", self.url_group),
            ("schedule", self.schedule_id),
            ("flow control", self.flow_control_key),
            ("labels", " ".join(self.labels)),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterView:
    """An entry of the dead letter queue: the message, and its last response."""

    dlq_id: str
    message_id: str
    url: str
    body: bytes
    failed_at: int
    status: int
    error: str | None
    response_body: bytes


def moment(at: int) -> str:
    """Return unix milliseconds as UTC text."""
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M:%S}.{at % 1000:03}"


def shown(body: bytes) -> str:
    """Return a body as text if it is text, cut if it is long."""
    if not body:
        return "(empty)"
    try:
        text = body[:_SHOWN_BYTES].decode()
    except UnicodeDecodeError:
        text = repr(body[:_SHOWN_BYTES])
    return text if len(body) <= _SHOWN_BYTES else f"{text} … ({len(body)} bytes)"


def message_views(entries: Sequence[StoredLogEntry]) -> list[MessageView]:
    """Return all messages in the order of publishing, from all log entries in the order in which they were
    written.
    """
    by_seq: dict[int, list[StoredLogEntry]] = {}
    for entry in entries:
        by_seq.setdefault(entry.message.seq, []).append(entry)
    return [_message_view(by_seq[seq]) for seq in sorted(by_seq)]


def dead_letter_view(stored: StoredDeadLetter) -> DeadLetterView:
    """Return one entry of the dead letter queue."""
    dead = stored.dead_letter
    return DeadLetterView(
        dlq_id=dead.dlq_id,
        message_id=stored.message.id,
        url=stored.message.url,
        body=stored.body,
        failed_at=dead.failed_at,
        status=dead.response.status,
        error=dead.response.error,
        response_body=dead.response.body,
    )


_LOGGED_ONLY = {State.ERROR: State.ACTIVE, State.CANCEL_REQUESTED: None}


def _message_view(entries: Sequence[StoredLogEntry]) -> MessageView:
    message, body = entries[0].message, entries[0].body
    states = [one.entry.state for one in entries if one.entry.state not in _LOGGED_ONLY]
    return MessageView(
        id=message.id,
        url=message.url,
        method=message.method,
        headers=httpx.Headers(list(message.headers)),
        body=body,
        state=states[-1],
        created_at=message.created_at,
        not_before_at=message.not_before_at,
        max_retries=message.max_retries,
        timeout_ms=message.timeout_ms,
        queue=message.queue_name,
        url_group=message.topic_name,
        endpoint=message.endpoint_name,
        schedule_id=message.schedule_id,
        flow_control_key=message.flow_control.key if message.flow_control else None,
        labels=message.labels,
        callback=message.callback.url if message.callback else None,
        failure_callback=message.failure_callback.url if message.failure_callback else None,
        attempts=tuple(_attempts(entries)),
        log=tuple(_log_view(one) for one in entries),
    )


def _log_view(stored: StoredLogEntry) -> LogView:
    entry = stored.entry
    reason = explain_entry(entry, url=stored.message.url, method=stored.message.method)
    return LogView(
        message_id=stored.message.id,
        at=entry.time_at,
        state=entry.state,
        error=entry.error,
        next_delivery_at=entry.next_delivery_at,
        reason=reason.sentence if reason else None,
    )


def _attempts(entries: Sequence[StoredLogEntry]) -> list[AttemptView]:
    message = entries[0].message
    return [
        _attempt_view(message, attempt) for attempt in pair_attempts((stored.entry for stored in entries), {})
    ]


def _attempt_view(message: Message, attempt: LoggedAttempt[LogEntry]) -> AttemptView:
    end = attempt.end if attempt.end is not None and attempt.end.state is not State.CANCELED else None
    response = end.response if end is not None else None
    return AttemptView(
        message_id=message.id,
        url=message.url,
        number=attempt.retried + 1,
        started_at=attempt.started_at,
        ended_at=end.time_at if end is not None else None,
        status=None if end is None else response.status if response else 0,
        error=end.error if end is not None else None,
        response_headers=httpx.Headers(list(response.headers) if response else []),
        response_body=response.body if response else b"",
    )


def _told(entry: LogView, attempt: int) -> str:
    """Return one event as text."""
    match entry.state:
        case State.CREATED if entry.next_delivery_at is not None and entry.next_delivery_at > entry.at:
            return f"CREATED    due {_after(entry)}"
        case State.ACTIVE:
            return f"ACTIVE     attempt {attempt}"
        case State.ERROR:
            return f"ERROR      {entry.reason or entry.error}"
        case State.RETRY if entry.next_delivery_at is not None:
            return f"RETRY      attempt {attempt + 1} is due {_after(entry)}"
        case _:
            return entry.state.value


def _after(entry: LogView) -> str:
    assert entry.next_delivery_at is not None
    span_ms = entry.next_delivery_at - entry.at
    span = format_duration(span_ms) if span_ms >= 1000 else f"{span_ms} ms"
    return f"after {span}, at {moment(entry.next_delivery_at)}"
