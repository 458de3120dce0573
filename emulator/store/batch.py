"""Carry out a sequence of writes with few statements, by grouping writes of a kind.

Grouping must not change what the writes mean. The kinds go in the order of a message's life (accepted, rescheduled,
noted, finished), then of a run's (started, entries copied, replaced, waits, events, ended); writes of one kind keep
their order; of several writes to one named thing (a queue, a schedule …) only the last counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, get_args

from sqlalchemy import Connection, bindparam, delete, insert, literal, null, select, true, update

from emulator.broker import writes as w
from emulator.broker.workflow import writes as runs
from emulator.store.codec import Codec
from emulator.store.compiled_statements import ChangeStatement, Given, Insert
from emulator.store.records import (
    BULK_ACTION,
    DEAD_LETTER,
    DEDUPLICATION,
    ENTRY,
    EVENT,
    FAILURE,
    FAILURE_CALLBACK,
    FLOW_KEY,
    LOG,
    MESSAGE,
    QUEUE,
    RUN,
    SCHEDULE,
    URL_GROUP,
    WAITER,
)
from emulator.store.tables import BodyRow, TenantRow, table_of

CarryOut = Callable[[Connection, Sequence[Given]], None]

_M, _R, _E = MESSAGE.table, RUN.table, ENTRY.table
_TENANTS = table_of(TenantRow)


def _adding(codec: Codec[Any], record: str) -> CarryOut:
    """Insert a row for each write; ``record`` is the write's field that holds it."""
    insert_rows, pick, values = Insert(codec.table, codec.names), attrgetter(record), codec.values

    def carry_out(connection: Connection, given: Sequence[Given]) -> None:
        insert_rows(connection, [values(tenant_id, pick(write)) for tenant_id, write in given])

    return carry_out


class _Saving:
    """Saves or deletes whole records by key; the last write to a key counts."""

    def __init__(self, codec: Codec[Any], record: str = "", *, deleted: type | None = None) -> None:
        """``record`` is the write's field with the record; ``deleted`` is the kind of write that deletes a key."""
        self._codec = codec
        self._record: Callable[[Any], Any] = attrgetter(record) if record else lambda write: write
        self._save = Insert(codec.table, codec.names, replaces=True)
        keys = [column.name for column in codec.table.primary_key]
        self._key = attrgetter(keys[-1])
        self._deleted = deleted
        if deleted is not None:
            [field] = fields(deleted)
            self._deleted_key = attrgetter(field.name)
            key, tenant_id = codec.table.c[keys[-1]], codec.table.c.tenant_id
            self._delete = ChangeStatement(
                delete(codec.table).where(tenant_id == bindparam("tenant"), key == bindparam("name")),
                tenant="tenant_id",
                name=f"write.{field.name}",
            )

    def __call__(self, connection: Connection, given: Sequence[Given]) -> None:
        last = {(one.tenant_id, self._key_of(one.write)): one for one in given}
        gone = [one for one in last.values() if self._is_deleted(one.write)]
        if gone:
            self._delete(connection, gone)
        kept = [one for one in last.values() if not self._is_deleted(one.write)]
        self._save(connection, [self._codec.values(one.tenant_id, self._record(one.write)) for one in kept])

    def _is_deleted(self, write: object) -> bool:
        return self._deleted is not None and isinstance(write, self._deleted)

    def _key_of(self, write: object) -> object:
        return self._deleted_key(write) if self._is_deleted(write) else self._key(self._record(write))


# Messages

_ADD_BODIES = Insert(table_of(BodyRow), ("seq", "tenant_id", "body"))
_ADD_MESSAGES = _adding(MESSAGE, "message")
_SAVE_SCHEDULES = _Saving(SCHEDULE, "schedule", deleted=w.ScheduleDeleted)


def _accept(connection: Connection, given: Sequence[Given]) -> None:
    bodies = [
        (write.message.body_seq, tenant_id, write.body)
        for tenant_id, write in given
        if write.body is not None
    ]
    _ADD_BODIES(connection, bodies)
    _ADD_MESSAGES(connection, given)


def _save_schedules(connection: Connection, given: Sequence[Given]) -> None:
    saved = ((tenant_id, write) for tenant_id, write in given if isinstance(write, w.ScheduleSaved))
    bodies = [
        (write.schedule.body_seq, tenant_id, write.body)
        for tenant_id, write in saved
        if write.body is not None
    ]
    _ADD_BODIES(connection, bodies)
    _SAVE_SCHEDULES(connection, given)


def _of_message(**changes: Any) -> Any:
    return update(_M).where(_M.c.seq == bindparam("key")).values(changes)


_RESCHEDULE = ChangeStatement(
    _of_message(
        state=bindparam("new_state"), due_at=bindparam("new_due_at"), retried=bindparam("new_retried")
    ),
    key="write.seq",
    new_state="write.state.value",
    new_due_at="write.due_at",
    new_retried="write.retried",
)
_FINISH = ChangeStatement(
    _of_message(
        state=bindparam("new_state"),
        due_at=null(),
        retried=bindparam("new_retried"),
        finished_at=bindparam("new_finished_at"),
    ),
    key="write.seq",
    new_state="write.state.value",
    new_retried="write.retried",
    new_finished_at="write.finished_at",
)
_REMOVE_DEAD_LETTER = ChangeStatement(
    delete(DEAD_LETTER.table).where(
        DEAD_LETTER.table.c.tenant_id == bindparam("tenant"), DEAD_LETTER.table.c.dlq_id == bindparam("key")
    ),
    tenant="tenant_id",
    key="write.dlq_id",
)
_ROTATE = ChangeStatement(
    update(_TENANTS)
    .where(_TENANTS.c.id == bindparam("key"))
    .values(current_key=bindparam("new_current_key"), next_key=bindparam("new_next_key")),
    key="tenant_id",
    new_current_key="write.keys.current",
    new_next_key="write.keys.next",
)
_TURN_CLOCK = ChangeStatement(
    update(_TENANTS).where(_TENANTS.c.id == bindparam("key")).values(clock_at=bindparam("new_clock_at")),
    key="tenant_id",
    new_clock_at="write.now_at",
)


# Workflow runs

_AT_POSITION = (_E.c.run_seq == bindparam("key"), _E.c.position == bindparam("key_position"))
_REPLACE_ENTRY = ChangeStatement(
    update(_E)
    .where(*_AT_POSITION)
    .values(
        {name: bindparam(f"new_{name}") for name in ("message_seq", "message_id", "call_type", "created_at")}
    ),
    key="write.entry.run_seq",
    key_position="write.entry.position",
    new_message_seq="write.entry.message_seq",
    new_message_id="write.entry.message_id",
    new_call_type="write.entry.call_type.value",
    new_created_at="write.entry.created_at",
)
_REPLACE_BODY = ChangeStatement(
    update(_E).where(*_AT_POSITION).values(body=bindparam("new_body")),
    key="write.entry.run_seq",
    key_position="write.entry.position",
    new_body="write.entry.body",
)


def _replace_entries(connection: Connection, given: Sequence[Given]) -> None:
    _REPLACE_ENTRY(connection, given)
    with_body = [one for one in given if one.write.entry.body is not None]
    if with_body:
        _REPLACE_BODY(connection, with_body)


def _copy_entries(connection: Connection, given: Sequence[Given]) -> None:
    columns = [column for column in _E.c if column.name != "run_seq"]
    for _, write in given:
        source = select(literal(write.to_run_seq), *columns).where(_E.c.run_seq == write.from_run_seq)
        if write.through is not None:
            source = source.where(_E.c.position <= write.through)
        connection.execute(insert(_E).from_select(["run_seq", *(column.name for column in columns)], source))


def _of_run(**changes: Any) -> Any:
    return update(_R).where(_R.c.seq == bindparam("key")).values(changes)


def _of_failure(path: str) -> Callable[[Given], Any]:
    pick = attrgetter(path)
    return lambda given: None if given.write.failure is None else pick(given.write.failure)


_END_RUN = ChangeStatement(
    _of_run(
        **{
            name: bindparam(f"new_{name}")
            for name in ("state", "ended_at", "response", "dlq_id", "response_status", "failure_json")
        }
    ),
    key="write.run_seq",
    new_state="write.state.value",
    new_ended_at="write.ended_at",
    new_response="write.response",
    new_dlq_id=_of_failure("dlq_id"),
    new_response_status=_of_failure("result.status"),
    new_failure_json=lambda given: FAILURE.write(given.write.failure),
)
_NOTE_CALLBACK = ChangeStatement(
    _of_run(callback_state=bindparam("new_state"), callback_json=bindparam("new_json")),
    key="write.run_seq",
    new_state="write.callback.state.value",
    new_json=lambda given: FAILURE_CALLBACK.write(given.write.callback),
)


def _removing(codec: Codec[Any]) -> ChangeStatement:
    return ChangeStatement(delete(codec.table).where(codec.table.c.seq == bindparam("key")), key="write.seq")


_ORDER: tuple[tuple[tuple[type, ...], CarryOut], ...] = (
    ((w.MessageAccepted,), _accept),
    ((w.MessageRescheduled,), _RESCHEDULE),
    ((w.MessageFinished,), _FINISH),
    ((w.Logged,), _adding(LOG, "entry")),
    ((w.CancelNoted,), ChangeStatement(_of_message(is_cancel_requested=true()), key="write.seq")),
    ((w.DeadLettered,), _adding(DEAD_LETTER, "dead_letter")),
    ((w.DeadLetterRemoved,), _REMOVE_DEAD_LETTER),
    ((w.DeduplicationKept,), _Saving(DEDUPLICATION)),
    ((w.KeysRotated,), _ROTATE),
    ((w.ClockTurned,), _TURN_CLOCK),
    ((w.QueueSaved, w.QueueDeleted), _Saving(QUEUE, "queue", deleted=w.QueueDeleted)),
    ((w.UrlGroupSaved, w.UrlGroupDeleted), _Saving(URL_GROUP, "group", deleted=w.UrlGroupDeleted)),
    ((w.ScheduleSaved, w.ScheduleDeleted), _save_schedules),
    ((w.FlowKeySaved, w.FlowKeyDeleted), _Saving(FLOW_KEY, "flow_key", deleted=w.FlowKeyDeleted)),
    ((w.BulkActionSaved,), _Saving(BULK_ACTION, "action")),
    ((runs.RunSaved,), _Saving(RUN, "run")),
    ((runs.EntryAppended,), _adding(ENTRY, "entry")),
    ((runs.EntriesCopied,), _copy_entries),
    ((runs.EntryReplaced,), _replace_entries),
    ((runs.WaiterAdded,), _adding(WAITER, "waiter")),
    ((runs.WaiterRemoved,), _removing(WAITER)),
    ((runs.EventStored,), _adding(EVENT, "event")),
    ((runs.EventTaken,), _removing(EVENT)),
    ((runs.RunEnded,), _END_RUN),
    ((runs.FailureCallbackNoted,), _NOTE_CALLBACK),
    ((runs.RunLeftDlq,), ChangeStatement(_of_run(dlq_id=null()), key="write.run_seq")),
)
"""The kinds of writes and the functions that carry them out, in their order."""

_PLACE = {kind: place for place, (kinds, _) in enumerate(_ORDER) for kind in kinds}
assert _PLACE.keys() == {*get_args(w.RecordWrite)}


class Batch:
    """Writes grouped by the function that carries them out."""

    def __init__(self) -> None:
        self._given: dict[int, list[Given]] = {}

    def add(self, tenant_id: int, write: w.RecordWrite) -> None:
        """Append a write of a tenant."""
        place = _PLACE.get(type(write))
        assert place is not None, f"{write!r} is no write"
        self._given.setdefault(place, []).append(Given(tenant_id, write))

    def flush(self, connection: Connection) -> None:
        """Carry out all writes."""
        for place, given in sorted(self._given.items()):
            _, carry_out = _ORDER[place]
            carry_out(connection, given)
