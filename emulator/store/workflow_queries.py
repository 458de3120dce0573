"""Reading runs back."""

from sqlalchemy import and_, func, select

from emulator.protocol.workflow import CallType
from emulator.store import mapping, workflow_mapping
from emulator.store.sql import SqlStore
from emulator.store.tables import MessageRow, table_of
from emulator.store.workflow_mapping import StoredRun
from emulator.store.workflow_tables import EntryRow, EventRow, RunRow, WaiterRow
from emulator.workflow.recovery import RunSnapshot
from emulator.workflow.run import Entry

_RUNS = table_of(RunRow)
_ENTRIES = table_of(EntryRow)
_WAITERS = table_of(WaiterRow)
_EVENTS = table_of(EventRow)
_M = table_of(MessageRow).c


def load_runs(store: SqlStore, tenant_id: int) -> RunSnapshot:
    """A tenant's active runs as committed."""
    is_active = and_(_RUNS.c.tenant_id == tenant_id, _RUNS.c.ended_at.is_(None))
    with store.connect() as connection:
        rows = connection.execute(select(_RUNS).where(is_active).order_by(_RUNS.c.seq)).mappings().all()
        last = (
            select(_ENTRIES.c.run_seq, func.max(_ENTRIES.c.position))
            .join(_RUNS, _RUNS.c.seq == _ENTRIES.c.run_seq)
            .where(is_active)
            .group_by(_ENTRIES.c.run_seq)
        )
        positions = {row[0]: row[1] for row in connection.execute(last)}
        pending = (
            select(_ENTRIES.c.run_seq, *(_M[name] for name in mapping.PENDING_COLUMNS))
            .join(_RUNS, _RUNS.c.seq == _ENTRIES.c.run_seq)
            .join(table_of(MessageRow), _M.seq == _ENTRIES.c.message_seq)
            .where(is_active, _M.due_at.is_not(None))
            .order_by(_M.seq)
        )
        waiters = (select(_WAITERS).join(_RUNS, _RUNS.c.seq == _WAITERS.c.run_seq).where(is_active)).order_by(
            _WAITERS.c.seq
        )
        events = (select(_EVENTS).join(_RUNS, _RUNS.c.seq == _EVENTS.c.run_seq).where(is_active)).order_by(
            _EVENTS.c.seq
        )
        return RunSnapshot(
            runs=[(workflow_mapping.run_of(row), positions.get(row["seq"], -1) + 1) for row in rows],
            pending=[
                (row["run_seq"], mapping.pending_of(row)) for row in connection.execute(pending).mappings()
            ],
            waiters=[workflow_mapping.waiter_of(row) for row in connection.execute(waiters).mappings()],
            events=[workflow_mapping.event_of(row) for row in connection.execute(events).mappings()],
        )


def load_steps(store: SqlStore, run_seq: int, *, behind: int = -1, through: int | None = None) -> list[Entry]:
    """The steps of a run's log behind one position and through another, in order."""
    query = (
        select(_ENTRIES)
        .where(_ENTRIES.c.run_seq == run_seq, _ENTRIES.c.position > behind)
        .where(_ENTRIES.c.call_type == CallType.STEP.value)
        .order_by(_ENTRIES.c.position)
    )
    if through is not None:
        query = query.where(_ENTRIES.c.position <= through)
    with store.connect() as connection:
        return [workflow_mapping.entry_of(row) for row in connection.execute(query).mappings()]


def find_run(store: SqlStore, tenant_id: int, run_id: str, created_at: int | None = None) -> StoredRun | None:
    """The run of that id: the last one, unless ``created_at`` names another."""
    query = select(_RUNS).where(_RUNS.c.tenant_id == tenant_id, _RUNS.c.id == run_id)
    if created_at is not None:
        query = query.where(_RUNS.c.created_at == created_at)
    with store.connect() as connection:
        row = connection.execute(query.order_by(_RUNS.c.seq.desc()).limit(1)).mappings().first()
    return None if row is None else workflow_mapping.stored_run_of(row)
