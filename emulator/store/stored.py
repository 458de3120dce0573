"""The results of queries: records with their related data."""

from dataclasses import dataclass

from emulator.broker.message import DeadLetter, LogEntry, Message, State
from emulator.broker.workflow.run import Failure, FailureCallback, Run, RunState
from emulator.store.codec import Reading, together
from emulator.store.records import DEAD_LETTER, FAILURE, FAILURE_CALLBACK, LOG, MESSAGE, RUN
from emulator.store.tables import BodyRow, table_of

_M, _L = MESSAGE.table, LOG.table
_B = table_of(BodyRow)

WITH_BODY = _M.outerjoin(_B, _B.c.seq == _M.c.body_seq)
"""Messages with their bodies."""
BODY: Reading[bytes] = together(lambda body: body or b"", _B.c.body)


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message, its body and its state."""

    message: Message
    body: bytes
    state: State


STORED_MESSAGE = together(
    lambda message, body, state: StoredMessage(message, body, State(state)), MESSAGE.reading, BODY, _M.c.state
)


@dataclass(frozen=True, slots=True)
class StoredLogEntry:
    """A log entry with its message; ``seq`` orders entries."""

    seq: int
    entry: LogEntry
    message: Message
    body: bytes


LOG_WITH_MESSAGE = _L.join(_M, _M.c.seq == _L.c.message_seq).outerjoin(_B, _B.c.seq == _M.c.body_seq)
STORED_LOG_ENTRY = together(StoredLogEntry, _L.c.seq, LOG.reading, MESSAGE.reading, BODY)


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """An entry of the dead letter queue with its message."""

    dead_letter: DeadLetter
    message: Message
    body: bytes


STORED_DEAD_LETTER = together(StoredDeadLetter, DEAD_LETTER.reading, MESSAGE.reading, BODY)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run and its end, if it has ended. ``is_in_dlq`` is true until it is resumed, restarted or deleted."""

    run: Run
    state: RunState
    ended_at: int | None = None
    response: str | None = None
    failure: Failure | None = None
    callback: FailureCallback | None = None
    is_in_dlq: bool = False


def _stored_run(
    run: Run,
    state: str,
    ended_at: int | None,
    response: str | None,
    failure: str | None,
    callback: str | None,
    dlq_id: str | None,
) -> StoredRun:
    return StoredRun(
        run=run,
        state=RunState(state),
        ended_at=ended_at,
        response=response,
        failure=FAILURE.read(failure),
        callback=FAILURE_CALLBACK.read(callback),
        is_in_dlq=dlq_id is not None,
    )


_R = RUN.table.c
STORED_RUN = together(
    _stored_run, RUN.reading, _R.state, _R.ended_at, _R.response, _R.failure_json, _R.callback_json, _R.dlq_id
)
