"""Delete records after their retention time, in small batches, so that the writer is never blocked for long.

A finished message is deleted with its log when its time has passed, it is not in the dead letter queue, and no workflow
run needs it; a run is deleted with its steps. A body is deleted with the last message that needs it: fan-outs,
schedules and messages published again from the dead letter queue share one.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import BindParameter, Connection, and_, bindparam, delete, exists, or_, select

from emulator.broker.bulk_actions import KEPT_MS
from emulator.store.store import SqlStore
from emulator.store.tables import (
    BodyRow,
    BulkActionRow,
    DeadLetterRow,
    DeduplicationRow,
    FlowKeyRow,
    LogRow,
    MessageRow,
    ScheduleRow,
    table_of,
)
from emulator.store.workflow_tables import EntryRow, EventRow, RunRow, WaiterRow

_MESSAGES, _BODIES, _LOGS = table_of(MessageRow), table_of(BodyRow), table_of(LogRow)
_RUNS, _ENTRIES = table_of(RunRow), table_of(EntryRow)
_ACTIONS, _FLOW_KEYS = table_of(BulkActionRow), table_of(FlowKeyRow)
_WAITERS, _EVENTS = table_of(WaiterRow), table_of(EventRow)
_DEAD, _KEPT, _SCHEDULES = table_of(DeadLetterRow), table_of(DeduplicationRow), table_of(ScheduleRow)

BATCH = 500

# Compiled once: advancing a clock by a year runs them fifty thousand times.
_TENANT: BindParameter[int] = bindparam("tenant")
_NOW: BindParameter[int] = bindparam("now")
_BEFORE: BindParameter[int] = bindparam("before")
_DEAD_BEFORE: BindParameter[int] = bindparam("dead_before")
_OVER_DEAD = select(_DEAD.c.message_seq).where(_DEAD.c.tenant_id == _TENANT, _DEAD.c.failed_at < _DEAD_BEFORE)
_OVER_RUNS = (
    select(_RUNS.c.seq)
    .where(_RUNS.c.tenant_id == _TENANT, _RUNS.c.created_at < _BEFORE, _RUNS.c.ended_at < _BEFORE)
    .where(or_(_RUNS.c.dlq_id.is_(None), _RUNS.c.ended_at < _DEAD_BEFORE))
)
_OVER_MESSAGES = (
    select(_MESSAGES.c.seq, _MESSAGES.c.body_seq)
    .where(_MESSAGES.c.tenant_id == _TENANT, _MESSAGES.c.finished_at < _BEFORE)
    .where(~exists().where(_DEAD.c.message_seq == _MESSAGES.c.seq))
    .where(~exists().where(_ENTRIES.c.message_seq == _MESSAGES.c.seq))
)
_OVER_DEDUPLICATIONS = select(_KEPT.c.key).where(_KEPT.c.tenant_id == _TENANT, _KEPT.c.expires_at <= _NOW)
_OVER_ACTIONS = select(_ACTIONS.c.id).where(
    _ACTIONS.c.tenant_id == _TENANT, _ACTIONS.c.completed_at <= _NOW - KEPT_MS
)
_OVER_FLOW_KEYS = (
    select(_FLOW_KEYS.c.key)
    .where(_FLOW_KEYS.c.tenant_id == _TENANT, _FLOW_KEYS.c.used_at < _BEFORE)
    .where(
        ~or_(_FLOW_KEYS.c.is_paused, _FLOW_KEYS.c.is_pinned_parallelism, _FLOW_KEYS.c.is_pinned_rate),
        ~exists().where(
            _MESSAGES.c.tenant_id == _TENANT,
            _MESSAGES.c.due_at.is_not(None),
            _MESSAGES.c.flow_key == _FLOW_KEYS.c.key,
        ),
    )
)
_OVER = (_OVER_DEAD, _OVER_RUNS, _OVER_MESSAGES, _OVER_DEDUPLICATIONS, _OVER_ACTIONS, _OVER_FLOW_KEYS)
_IS_ANYTHING_OVER = select(or_(*(over.exists() for over in _OVER)))
_FIRST_RUNS = _OVER_RUNS.order_by(_RUNS.c.created_at).limit(BATCH)
_FIRST_MESSAGES = _OVER_MESSAGES.order_by(_MESSAGES.c.finished_at).limit(BATCH)
_DELETE_DEAD = delete(_DEAD).where(_DEAD.c.message_seq.in_(_OVER_DEAD.limit(BATCH)))
_DELETE_ACTIONS = delete(_ACTIONS).where(
    _ACTIONS.c.tenant_id == _TENANT, _ACTIONS.c.id.in_(_OVER_ACTIONS.limit(BATCH))
)
_DELETE_FLOW_KEYS = delete(_FLOW_KEYS).where(
    _FLOW_KEYS.c.tenant_id == _TENANT, _FLOW_KEYS.c.key.in_(_OVER_FLOW_KEYS.limit(BATCH))
)
_DELETE_DEDUPLICATIONS = delete(_KEPT).where(
    _KEPT.c.tenant_id == _TENANT, _KEPT.c.key.in_(_OVER_DEDUPLICATIONS.limit(BATCH))
)


def prune(store: SqlStore, tenant_id: int, *, now_at: int, messages_before: int, dead_before: int) -> bool:
    """Delete up to ``BATCH`` of each kind. Return whether there may be more.

    Messages that ended before ``messages_before`` (unix ms), and dead letters added before ``dead_before``, are
    deleted.
    """
    times = {"tenant": tenant_id, "now": now_at, "before": messages_before, "dead_before": dead_before}
    with store.begin() as connection:
        if not connection.execute(_IS_ANYTHING_OVER, times).scalar():
            return False
        counts = (
            connection.execute(_DELETE_DEAD, times).rowcount,
            _prune_runs(connection, times),
            _prune_messages(connection, times),
            connection.execute(_DELETE_DEDUPLICATIONS, times).rowcount,
            connection.execute(_DELETE_ACTIONS, times).rowcount,
            connection.execute(_DELETE_FLOW_KEYS, times).rowcount,
        )
    return max(counts) >= BATCH


def _prune_runs(connection: Connection, times: Mapping[str, int]) -> int:
    seqs = list(connection.execute(_FIRST_RUNS, times).scalars())
    if seqs:
        for table in (_ENTRIES, _WAITERS, _EVENTS):
            connection.execute(delete(table).where(table.c.run_seq.in_(seqs)))
        connection.execute(delete(_RUNS).where(_RUNS.c.seq.in_(seqs)))
    return len(seqs)


def _prune_messages(connection: Connection, times: Mapping[str, int]) -> int:
    found = connection.execute(_FIRST_MESSAGES, times).all()
    if found:
        seqs = [row.seq for row in found]
        connection.execute(delete(_LOGS).where(_LOGS.c.message_seq.in_(seqs)))
        connection.execute(delete(_MESSAGES).where(_MESSAGES.c.seq.in_(seqs)))
        _prune_bodies(connection, sorted({row.body_seq for row in found if row.body_seq is not None}))
    return len(found)


def _prune_bodies(connection: Connection, body_seqs: Sequence[int]) -> None:
    is_needed = or_(
        exists().where(_MESSAGES.c.seq == _BODIES.c.seq),
        # The second condition is that of the index, which only has messages that share another's body.
        exists().where(and_(_MESSAGES.c.body_seq == _BODIES.c.seq, _MESSAGES.c.body_seq != _MESSAGES.c.seq)),
        exists().where(_SCHEDULES.c.body_seq == _BODIES.c.seq),
    )
    connection.execute(delete(_BODIES).where(_BODIES.c.seq.in_(body_seqs), ~is_needed))
