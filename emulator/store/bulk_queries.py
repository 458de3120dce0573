"""Bulk actions, and what they are about."""

from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import Select, func, literal, or_, select, tuple_

from emulator.broker.bulk_actions import BulkAction, Filter, Subject
from emulator.broker.message import Pending
from emulator.store import mapping
from emulator.store.filters import MessageFilter, Page
from emulator.store.queries import between, conditions, pending_columns
from emulator.store.store import SqlStore
from emulator.store.tables import BulkActionRow, MessageRow, table_of
from emulator.store.workflow_filters import RunFilter
from emulator.store.workflow_mapping import StoredRun, stored_run_of
from emulator.store.workflow_queries import active_runs

_ACTIONS, _M = table_of(BulkActionRow).c, table_of(MessageRow).c


def load_in_progress(store: SqlStore, tenant_id: int) -> list[BulkAction]:
    """The actions that are not done, oldest first."""
    query = select(table_of(BulkActionRow)).where(
        _ACTIONS.tenant_id == tenant_id, _ACTIONS.completed_at.is_(None)
    )
    return _read(store, query.order_by(_ACTIONS.until_seq))


def find_action(store: SqlStore, tenant_id: int, action_id: str, subject: Subject) -> BulkAction | None:
    """One action of a kind."""
    query = select(table_of(BulkActionRow)).where(
        _ACTIONS.tenant_id == tenant_id, _ACTIONS.id == action_id, _ACTIONS.subject == subject.value
    )
    return next(iter(_read(store, query)), None)


def list_actions(
    store: SqlStore, tenant_id: int, subject: Subject, page: Page, now_at: int, kept_ms: int
) -> tuple[list[BulkAction], bool]:
    """One page of actions, newest first, and whether more follow; ``kept_ms`` is how long they are kept."""
    key = (_ACTIONS.created_at, _ACTIONS.until_seq)
    query = select(table_of(BulkActionRow)).where(
        _ACTIONS.tenant_id == tenant_id,
        _ACTIONS.subject == subject.value,
        or_(_ACTIONS.completed_at.is_(None), _ACTIONS.completed_at > now_at - kept_ms),
    )
    if page.cursor is not None:
        query = query.where(tuple_(*key) < tuple_(*map(literal, page.cursor)))
    found = _read(store, query.order_by(*(column.desc() for column in key)).limit(page.count + 1))
    return found[: page.count], len(found) > page.count


def _read(store: SqlStore, query: Select[Any]) -> list[BulkAction]:
    with store.connect() as connection:
        return [mapping.bulk_action_of(row) for row in connection.execute(query).mappings()]


# Messages


def count_pending(store: SqlStore, tenant_id: int, wanted: Filter, until_seq: int) -> int:
    """How many unfinished messages below ``until_seq`` match."""
    query = _pending(store, (func.count(),), tenant_id, wanted, until_seq)
    with store.connect() as connection:
        return int(connection.execute(query).scalar_one())


def next_pending(store: SqlStore, tenant_id: int, action: BulkAction, limit: int) -> list[Pending]:
    """The next unfinished messages that the action is about, oldest first."""
    query = _pending(store, pending_columns(), tenant_id, action.filter, action.until_seq)
    if action.cursor is not None:
        query = query.where(_M.seq > action.cursor[1])
    with store.connect() as connection:
        rows = connection.execute(query.order_by(_M.seq).limit(limit)).mappings()
        return [mapping.pending_of(row) for row in rows]


def _pending(
    store: SqlStore, columns: tuple[Any, ...], tenant_id: int, wanted: Filter, until_seq: int
) -> Select[Any]:
    matching = MessageFilter(**wanted)  # type: ignore[arg-type]  # made of its own fields
    return (
        select(*columns)
        .where(_M.tenant_id == tenant_id, _M.due_at.is_not(None), _M.is_cancel_requested.is_(False))
        .where(_M.seq < until_seq, *conditions(store, matching), *between(_M.created_at, matching))
    )


# Runs


def count_runs(store: SqlStore, tenant_id: int, wanted: Filter, until_seq: int) -> int:
    """How many active runs below ``until_seq`` match."""
    query = _runs(store, tenant_id, wanted, until_seq, (func.count(),))
    with store.connect() as connection:
        return int(connection.execute(query).scalar_one())


def next_runs(store: SqlStore, tenant_id: int, action: BulkAction, limit: int) -> list[StoredRun]:
    """The next active runs that the action is about, oldest first."""
    behind = action.cursor[1] if action.cursor is not None else None
    query = _runs(store, tenant_id, action.filter, action.until_seq, None, behind=behind)
    with store.connect() as connection:
        return [stored_run_of(row) for row in connection.execute(query.limit(limit)).mappings()]


_runs: Callable[..., Select[Any]] = partial(active_runs, make_filter=lambda wanted: RunFilter(**wanted))
