"""Read a tenant from the store, as the plain values that the recorder uses."""

from emulator.broker.message import LogEntry, Message
from emulator.store.attempts import LoggedAttempt, pair_attempts
from emulator.store.filters import Filter
from emulator.store.lists import DEAD_LETTERS, LOGS
from emulator.store.queries import list_messages
from emulator.store.store import SqlStore
from emulator.store.stored import StoredLogEntry, StoredMessage
from emulator.testing.invariants import Rate
from emulator.testing.recorder import Kept, KeptAttempt, KeptLine, KeptMessage


def read_kept(store: SqlStore, tenant_id: int) -> Kept:
    """Return all stored data of a tenant's messages."""
    lines = LOGS.all(store, tenant_id, Filter())
    dead = DEAD_LETTERS.all(store, tenant_id, Filter())
    ids = {line.message.seq: line.message.id for line in lines}
    return Kept(
        messages=[_message(stored) for stored in list_messages(store, tenant_id)],
        log=[_line(line) for line in lines],
        attempts=[
            _attempt(ids[attempt.start.message_seq], attempt)
            for attempt in pair_attempts((line.entry for line in lines), {})
        ],
        dead_letters=frozenset(entry.message.id for entry in dead),
    )


def _line(stored: StoredLogEntry) -> KeptLine:
    return KeptLine(
        message_id=stored.message.id, time_at=stored.entry.time_at, state=stored.entry.state.value
    )


def _message(stored: StoredMessage) -> KeptMessage:
    message = stored.message
    flow = message.flow_control
    return KeptMessage(
        id=message.id,
        state=stored.state.value,
        url=message.url,
        body=stored.body,
        due_at=message.not_before_at,
        max_retries=message.max_retries,
        retry_delay=message.retry_delay,
        queue=message.queue_name,
        group=message.topic_name,
        endpoint=message.endpoint_name,
        schedule_id=message.schedule_id,
        flow_key=flow.key if flow else None,
        limits=(flow.parallelism, Rate(rate=flow.rate, period_seconds=flow.period_seconds)) if flow else None,
        callbacks=_callbacks(message),
        is_of_run=message.note is not None,
    )


def _callbacks(message: Message) -> tuple[str | None, str | None]:
    callback, failure_callback = message.callback, message.failure_callback
    return (callback.url if callback else None, failure_callback.url if failure_callback else None)


def _attempt(message_id: str, attempt: LoggedAttempt[LogEntry]) -> KeptAttempt:
    response = attempt.end.response if attempt.end is not None else None
    status = None if attempt.end is None else (response.status if response is not None else 0)
    return KeptAttempt(
        message_id=message_id,
        retried=attempt.retried,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        status=status,
        headers=response.headers if response is not None else (),
    )
