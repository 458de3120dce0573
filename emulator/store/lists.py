"""Lists: their items, their supported conditions and their order, with one way to filter and page all of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, FromClause, Select, and_, case, func, literal, or_, select, tuple_

from emulator.store.codec import Reading
from emulator.store.filters import Filter, Found, Page
from emulator.store.records import BULK_ACTION, DEAD_LETTER, ENTRY, LOG, MESSAGE, PENDING, RUN
from emulator.store.store import SqlStore
from emulator.store.stored import (
    LOG_WITH_MESSAGE,
    STORED_DEAD_LETTER,
    STORED_LOG_ENTRY,
    STORED_RUN,
    WITH_BODY,
)

T = TypeVar("T")

Condition = ColumnElement[bool]
Criterion = Callable[[SqlStore, Any], Condition]
"""Returns the SQL condition for a filter's values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Generic[T]):
    """One list of a tenant's.

    ``rows`` are the tables that it reads, ``always`` the condition of every item, and ``criteria`` the supported fields
    of a filter. Its order is by ``at`` (unix milliseconds), then ``seq``, or by ``seq`` alone.
    """

    reading: Reading[T]
    rows: FromClause
    tenant_id: ColumnElement[int]
    criteria: Mapping[str, Criterion]
    always: tuple[Condition, ...] = ()
    at: ColumnElement[int]
    seq: ColumnElement[int]
    is_by_seq: bool = False

    @property
    def _key(self) -> tuple[ColumnElement[int], ...]:
        return (self.seq,) if self.is_by_seq else (self.at, self.seq)

    def page(self, store: SqlStore, tenant_id: int, wanted: Filter, page: Page, *more: Condition) -> Found[T]:
        """Return one page of the matches, newest first unless ``page`` says otherwise."""
        key = self._key
        query = self.select((*self.reading.columns, self.at, self.seq), store, tenant_id, wanted, *more)
        is_latest_first = page.order == "latestFirst"
        if page.cursor is not None:
            mark = tuple_(*(literal(part) for part in page.cursor[-len(key) :]))
            query = query.where(tuple_(*key) < mark if is_latest_first else tuple_(*key) > mark)
        query = query.order_by(*(column.desc() if is_latest_first else column for column in key))
        with store.connect() as connection:
            rows = connection.execute(query.limit(page.count + 1)).all()
        shown = rows[: page.count]
        cursor = (shown[-1][-2], shown[-1][-1]) if len(rows) > page.count else None
        return Found([self.reading.make(row[:-2]) for row in shown], cursor)

    def all(self, store: SqlStore, tenant_id: int, wanted: Filter, *more: Condition) -> list[T]:
        """Return all matches, oldest first."""
        query = self.select(self.reading.columns, store, tenant_id, wanted, *more)
        return store.read(self.reading, query.order_by(*self._key))

    def count(
        self, store: SqlStore, tenant_id: int, wanted: Filter, *more: Condition, most: int | None = None
    ) -> int:
        """Return the number of matches, at most ``most``."""
        matching = self.select((self.seq,), store, tenant_id, wanted, *more).limit(most)
        with store.connect() as connection:
            return connection.execute(select(func.count()).select_from(matching.subquery())).scalar_one()

    def select(
        self,
        columns: tuple[ColumnElement[Any], ...],
        store: SqlStore,
        tenant_id: int,
        wanted: Filter,
        *more: Condition,
    ) -> Select[Any]:
        """Return a query for columns of the matches, unordered."""
        matching = [self.criteria[name](store, value) for name, value in wanted.given()]
        return (
            select(*columns)
            .select_from(self.rows)
            .where(self.tenant_id == tenant_id, *self.always, *matching, *more)
        )


# Criteria


def equals(column: ColumnElement[Any]) -> Criterion:
    """The column has the value."""
    return lambda _store, value: column == value


def one_of(column: ColumnElement[Any]) -> Criterion:
    """The column has one of the values."""
    return lambda _store, values: column.in_(values)


def any_of(condition: Callable[[Any], Condition]) -> Criterion:
    """The condition is true of one of the values."""
    return lambda _store, values: or_(*map(condition, values))


def contains_any(*columns: ColumnElement[Any]) -> Criterion:
    """One of the columns contains one of the values; case sensitivity is the database's."""
    return any_of(lambda value: or_(*(column.contains(value, autoescape=True) for column in columns)))


def between(column: ColumnElement[int]) -> dict[str, Criterion]:
    """A time within inclusive bounds."""
    return {
        "from_at": lambda _store, value: column >= value,
        "to_at": lambda _store, value: column <= value,
    }


def _find(store: SqlStore) -> Callable[..., Any]:
    """Return the database's function for the position of a text in another, from 1; 0 if absent."""
    return func.instr if store.engine.dialect.name == "sqlite" else func.strpos


def has_label(column: ColumnElement[Any]) -> Criterion:
    """The column of labels has one of the values."""

    def condition(store: SqlStore, labels: tuple[str, ...]) -> Condition:
        find = _find(store)
        return or_(*(find(column, f",{label},") > 0 for label in labels))

    return condition


# Messages

_M, _L, _D = MESSAGE.table.c, LOG.table.c, DEAD_LETTER.table.c


def _has_host(host: str) -> Condition:
    """Match a host. With a port the whole authority must be equal; without one any port matches (contract U36)."""
    lowered = host.lower()
    if ":" in lowered.rpartition("]")[2]:
        return _M.host == lowered
    return or_(_M.host == lowered, _M.host.startswith(f"{lowered}:", autoescape=True))


_OF_MESSAGE: dict[str, Criterion] = {
    "message_ids": one_of(_M.id),
    "urls": one_of(_M.url),
    "hosts": any_of(_has_host),
    "paths": one_of(_M.path),
    "labels": has_label(_M.labels),
    "topic_names": one_of(_M.topic_name),
    "queue_names": one_of(_M.queue_name),
    "schedule_ids": one_of(_M.schedule_id),
    "flow_keys": one_of(_M.flow_key),
    "caller_ips": one_of(_M.caller_ip),
}

LOGS = Listing(
    reading=STORED_LOG_ENTRY,
    rows=LOG_WITH_MESSAGE,
    tenant_id=_L.tenant_id,
    criteria={**_OF_MESSAGE, "states": one_of(_L.state), **between(_L.time_at)},
    at=_L.time_at,
    seq=_L.seq,
    is_by_seq=True,
)
"""Log entries."""

DEAD_LETTERS = Listing(
    reading=STORED_DEAD_LETTER,
    rows=DEAD_LETTER.table.join(WITH_BODY, _M.seq == _D.message_seq),
    tenant_id=_D.tenant_id,
    criteria={
        **_OF_MESSAGE,
        "dlq_ids": one_of(_D.dlq_id),
        "response_statuses": one_of(_D.response_status),
        **between(_D.failed_at),
    },
    at=_D.failed_at,
    seq=_D.message_seq,
)
"""The dead letter queue."""

PENDING_MESSAGES = Listing(
    reading=PENDING,
    rows=MESSAGE.table,
    tenant_id=_M.tenant_id,
    criteria={**_OF_MESSAGE, **between(_M.created_at)},
    always=(_M.due_at.is_not(None), _M.is_cancel_requested.is_(False)),
    at=_M.created_at,
    seq=_M.seq,
    is_by_seq=True,
)
"""Unfinished messages without a requested cancel."""


# Workflow runs

_R, _E = RUN.table.c, ENTRY.table.c


def _runs_of_host(store: SqlStore, hosts: tuple[str, ...]) -> Condition:
    """The workflow's URL is of one of the hosts; without a port, of any port (contract U36)."""
    authority, _ = _authority_and_path(store)
    without_port = func.rtrim(authority, "0123456789")
    host = func.rtrim(without_port, ":")
    lowered = [one.lower() for one in hosts]
    return or_(authority.in_(lowered), and_(host != without_port, host.in_(lowered)))


def _runs_of_path(store: SqlStore, paths: tuple[str, ...]) -> Condition:
    """The workflow's URL has one of the paths, whatever its query."""
    _, path = _authority_and_path(store)
    return path.in_(paths)


def _authority_and_path(store: SqlStore) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Return authority and path of the workflow's URL, like the columns ``host`` and ``path`` of messages.

    They are found by position, not by patterns: LIKE ignores case on SQLite, and a path may also occur in a query.
    """
    find = _find(store)
    plain = _before(find, _before(find, _R.url, "#"), "?")
    rest = func.substr(plain, find(plain, "://") + 3)
    slash = find(rest, "/")
    authority = case((slash > 0, func.substr(rest, 1, slash - 1)), else_=rest)
    return (
        func.lower(func.substr(authority, find(authority, "@") + 1)),
        case((slash > 0, func.substr(rest, slash)), else_="/"),
    )


def _before(find: Callable[..., Any], text: ColumnElement[Any], mark: str) -> ColumnElement[Any]:
    found: ColumnElement[int] = find(text, mark)
    return case((found > 0, func.substr(text, 1, found - 1)), else_=text)


def _runs_below(store: SqlStore, starts: tuple[str, ...]) -> Condition:
    """The workflow's URL begins with one of the values, in the same letters."""
    return or_(*(func.substr(_R.url, 1, len(start)) == start for start in starts))


RUNS = Listing(
    reading=STORED_RUN,
    rows=RUN.table,
    tenant_id=_R.tenant_id,
    criteria={
        "run_ids": one_of(_R.id),
        "id_times": any_of(lambda given: and_(_R.id == given[0], _R.created_at == given[1])),
        "urls": one_of(_R.url),
        "url_prefixes": _runs_below,
        "hosts": _runs_of_host,
        "paths": _runs_of_path,
        "states": one_of(_R.state),
        "labels": has_label(_R.labels),
        "caller_ips": one_of(_R.caller_ip),
        "flow_keys": one_of(_R.flow_key),
        "message_ids": lambda _store, ids: _R.seq.in_(select(_E.run_seq).where(_E.message_id.in_(ids))),
        "dlq_ids": one_of(_R.dlq_id),
        "callback_states": one_of(_R.callback_state),
        "response_statuses": one_of(_R.response_status),
        "created_at": equals(_R.created_at),
        **between(_R.created_at),
    },
    at=_R.created_at,
    seq=_R.seq,
)
"""Runs."""

ACTIVE_RUNS = replace(RUNS, always=(_R.ended_at.is_(None),), is_by_seq=True)
"""Runs that have not ended."""

FAILED_RUNS = replace(
    RUNS, always=(_R.dlq_id.is_not(None),), criteria={**RUNS.criteria, **between(_R.ended_at)}, at=_R.ended_at
)
"""The dead letter queue of runs."""


# Bulk actions

_A = BULK_ACTION.table.c

BULK_ACTIONS = Listing(
    reading=BULK_ACTION.reading,
    rows=BULK_ACTION.table,
    tenant_id=_A.tenant_id,
    criteria={},
    at=_A.created_at,
    seq=_A.until_seq,
)
"""Bulk actions, completed ones as long as they are kept."""
