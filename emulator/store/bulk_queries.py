"""Queries for bulk actions and their matches."""

from collections.abc import Mapping
from typing import Any, TypeVar

from sqlalchemy import or_, select

from emulator.broker.bulk_actions import BulkAction, Subject
from emulator.broker.message import Pending
from emulator.store.filters import Filter, Found, Page
from emulator.store.lists import ACTIVE_RUNS, BULK_ACTIONS, PENDING_MESSAGES, Listing
from emulator.store.records import BULK_ACTION
from emulator.store.store import SqlStore
from emulator.store.stored import StoredRun

T = TypeVar("T")

_A = BULK_ACTION.table.c
_ABOUT: Mapping[Subject, Listing[Any]] = {Subject.MESSAGES: PENDING_MESSAGES, Subject.RUNS: ACTIVE_RUNS}


def load_in_progress(store: SqlStore, tenant_id: int) -> list[BulkAction]:
    """Return the actions in progress, oldest first."""
    return BULK_ACTIONS.all(store, tenant_id, Filter(), _A.completed_at.is_(None))


def find_action(store: SqlStore, tenant_id: int, action_id: str, subject: Subject) -> BulkAction | None:
    """Return one action of a kind."""
    wanted = (_A.tenant_id == tenant_id, _A.id == action_id, _A.subject == subject.value)
    found = store.read(BULK_ACTION.reading, select(*BULK_ACTION.reading.columns).where(*wanted))
    return next(iter(found), None)


def list_actions(
    store: SqlStore, tenant_id: int, subject: Subject, page: Page, now_at: int, kept_ms: int
) -> Found[BulkAction]:
    """Return one page of actions; ``kept_ms`` is how long completed ones are kept."""
    is_kept = or_(_A.completed_at.is_(None), _A.completed_at > now_at - kept_ms)
    return BULK_ACTIONS.page(store, tenant_id, Filter(), page, _A.subject == subject.value, is_kept)


def count_matches(
    store: SqlStore, tenant_id: int, subject: Subject, wanted: Mapping[str, Any], until_seq: int
) -> int:
    """Return how many unfinished messages, or active runs, below ``until_seq`` match."""
    about = _ABOUT[subject]
    return about.count(store, tenant_id, Filter(**wanted), about.seq < until_seq)


def next_pending(store: SqlStore, tenant_id: int, action: BulkAction, limit: int) -> list[Pending]:
    """Return the action's next unfinished messages, oldest first."""
    return _next(PENDING_MESSAGES, store, tenant_id, action, limit)


def next_runs(store: SqlStore, tenant_id: int, action: BulkAction, limit: int) -> list[StoredRun]:
    """Return the action's next active runs, oldest first."""
    return _next(ACTIVE_RUNS, store, tenant_id, action, limit)


def _next(about: Listing[T], store: SqlStore, tenant_id: int, action: BulkAction, limit: int) -> list[T]:
    wanted: Mapping[str, Any] = action.filter
    page = Page(count=limit, cursor=action.cursor, order="earliestFirst")
    return about.page(store, tenant_id, Filter(**wanted), page, about.seq < action.until_seq).items
