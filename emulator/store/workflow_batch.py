"""From the workflow layer's writes to few statements; see ``emulator.store.batch``.

Statements go in the order of a run's life: started, entries, copies, replacements, waits, events, ended.
"""

from dataclasses import dataclass, field
from typing import Any, assert_never

from sqlalchemy import Connection, Executable, bindparam, delete, insert, literal, select, update

from emulator.broker.workflow import writes as w
from emulator.broker.workflow.run import Entry
from emulator.broker.workflow.writes import WorkflowWrite
from emulator.broker.writes import LayerWrite
from emulator.store import workflow_mapping as mapping
from emulator.store.mapping import Row
from emulator.store.tables import table_of
from emulator.store.workflow_tables import EntryRow, EventRow, RunRow, WaiterRow

_RUNS = table_of(RunRow)
_ENTRIES = table_of(EntryRow)
_WAITERS = table_of(WaiterRow)
_EVENTS = table_of(EventRow)

# Made once: SQLAlchemy finds a statement's compiled form by walking it, and remembers that walk with the object.
_ADD_WAITER, _ADD_EVENT = insert(_WAITERS), insert(_EVENTS)
_AT_POSITION = (
    _ENTRIES.c.run_seq == bindparam("key"),
    _ENTRIES.c.position == bindparam("key_position"),
)
_REPLACED: dict[str, Any] = {
    name: bindparam(f"new_{name}") for name in ("message_seq", "message_id", "call_type", "created_at")
}
_REPLACE = update(_ENTRIES).where(*_AT_POSITION).values(_REPLACED)
_REPLACE_BODY = update(_ENTRIES).where(*_AT_POSITION).values(body=bindparam("new_body"))
_THE_RUN = _RUNS.c.seq == bindparam("key")
_END = (
    update(_RUNS)
    .where(_THE_RUN)
    .values(
        state=bindparam("new_state"),
        ended_at=bindparam("new_ended_at"),
        response=bindparam("new_response"),
        dlq_id=bindparam("new_dlq_id"),
        response_status=bindparam("new_response_status"),
        failure_json=bindparam("new_failure_json"),
    )
)
_NOTE_CALLBACK = (
    update(_RUNS)
    .where(_THE_RUN)
    .values(callback_state=bindparam("new_state"), callback_json=bindparam("new_json"))
)
_LEAVE_DLQ = update(_RUNS).where(_THE_RUN).values(dlq_id=None)
_REMOVE_WAITER = delete(_WAITERS).where(_WAITERS.c.seq == bindparam("key"))
_TAKE_EVENT = delete(_EVENTS).where(_EVENTS.c.seq == bindparam("key"))


@dataclass(slots=True)
class WorkflowBatch:
    """Rows by statement."""

    runs: dict[int, Row] = field(default_factory=dict)
    entries: list[Row] = field(default_factory=list)
    copies: list[w.EntriesCopied] = field(default_factory=list)
    replaced: list[Row] = field(default_factory=list)
    replaced_bodies: list[Row] = field(default_factory=list)
    waiters: list[Row] = field(default_factory=list)
    removed_waiters: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    taken_events: list[Row] = field(default_factory=list)
    ended: list[Row] = field(default_factory=list)
    callbacks: dict[int, Row] = field(default_factory=dict)
    left_dlq: list[Row] = field(default_factory=list)

    def add(self, tenant_id: int, given: LayerWrite) -> None:  # noqa: C901  one arm a kind of write
        """Turn one of a tenant's writes into a row, behind those that came before."""
        assert isinstance(given, WorkflowWrite)
        write: WorkflowWrite = given
        match write:
            case w.EntryAppended(entry):
                self.entries.append(mapping.entry_row(tenant_id, entry))
            case w.RunSaved(run):
                self.runs[run.seq] = mapping.run_row(tenant_id, run)
            case w.RunEnded():
                self.ended.append(_ending(write))
            case w.EntryReplaced(entry):
                self._replace(entry)
            case w.EntriesCopied():
                self.copies.append(write)
            case w.WaiterAdded(waiter):
                self.waiters.append(mapping.waiter_row(tenant_id, waiter))
            case w.WaiterRemoved(seq):
                self.removed_waiters.append({"key": seq})
            case w.EventStored(event):
                self.events.append(mapping.event_row(tenant_id, event))
            case w.EventTaken(seq):
                self.taken_events.append({"key": seq})
            case w.FailureCallbackNoted(run_seq, callback):
                self.callbacks[run_seq] = {
                    "key": run_seq, "new_state": callback.state.value, "new_json": mapping.dump_callback(callback),
                }  # fmt: skip
            case w.RunLeftDlq(run_seq):
                self.left_dlq.append({"key": run_seq})
            case _:
                assert_never(write)

    def _replace(self, entry: Entry) -> None:
        key = {"key": entry.run_seq, "key_position": entry.position}
        self.replaced.append(
            {
                **key,
                "new_message_seq": entry.message_seq,
                "new_message_id": entry.message_id,
                "new_call_type": entry.call_type.value,
                "new_created_at": entry.created_at,
            }
        )
        if entry.body is not None:
            self.replaced_bodies.append({**key, "new_body": entry.body})

    def flush(self, connection: Connection, upsert_runs: Executable) -> None:
        """Carry all of it out but the entries, which every step has, and the store adds before."""
        _execute(connection, upsert_runs, list(self.runs.values()))
        for copy in self.copies:
            connection.execute(_copying(copy))
        for statement, rows in (
            (_REPLACE, self.replaced),
            (_REPLACE_BODY, self.replaced_bodies),
            (_ADD_WAITER, self.waiters),
            (_REMOVE_WAITER, self.removed_waiters),
            (_ADD_EVENT, self.events),
            (_TAKE_EVENT, self.taken_events),
            (_END, self.ended),
            (_NOTE_CALLBACK, list(self.callbacks.values())),
            (_LEAVE_DLQ, self.left_dlq),
        ):
            _execute(connection, statement, rows)


def _execute(connection: Connection, statement: Executable, rows: list[Row]) -> None:
    if rows:
        connection.execute(statement, rows)


def _ending(write: w.RunEnded) -> Row:
    failure = write.failure
    return {
        "key": write.run_seq,
        "new_state": write.state.value,
        "new_ended_at": write.ended_at,
        "new_response": write.response,
        "new_dlq_id": failure.dlq_id if failure else None,
        "new_response_status": failure.result.status if failure else None,
        "new_failure_json": mapping.dump_failure(failure) if failure else None,
    }


def _copying(copy: w.EntriesCopied) -> Executable:
    columns = [column for column in _ENTRIES.c if column.name != "run_seq"]
    source = select(literal(copy.to_run_seq), *columns).where(_ENTRIES.c.run_seq == copy.from_run_seq)
    return insert(_ENTRIES).from_select(["run_seq", *(column.name for column in columns)], source)
