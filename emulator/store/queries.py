"""Queries. Every function takes the store and returns the broker's dataclasses."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import NamedTuple, TypeVar

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, literal, or_, select, true, tuple_

from emulator.broker.message import Message, Pending
from emulator.broker.recovery import Snapshot
from emulator.broker.resources import FlowKey, Schedule
from emulator.broker.schedule_runs import IN_PROGRESS
from emulator.broker.writes import DeduplicationKept
from emulator.store.codec import Codec, Reading, together
from emulator.store.compiled_statements import Query, QueryByNumbers
from emulator.store.filters import Filter, Found, Page
from emulator.store.lists import LOGS, PENDING_MESSAGES
from emulator.store.records import (
    DEDUPLICATION,
    ENTRY,
    FLOW_KEY,
    LOG,
    MESSAGE,
    PENDING,
    QUEUE,
    SCHEDULE,
    URL_GROUP,
)
from emulator.store.store import SqlStore
from emulator.store.stored import BODY, STORED_MESSAGE, WITH_BODY, StoredLogEntry, StoredMessage
from emulator.store.tables import BodyRow, table_of

_M, _L, _B, _F = MESSAGE.table.c, LOG.table.c, table_of(BodyRow).c, FLOW_KEY.table.c

# SQLite takes at most 32,766 bound values in one statement.
_IDS_PER_QUERY = 10_000

T = TypeVar("T")

_DELIVERED = together(lambda *found: found, MESSAGE.reading, BODY)
_FOR_DELIVERY = QueryByNumbers(select(*_DELIVERED.columns).select_from(WITH_BODY), _DELIVERED, _M.seq)


class StoredFlowKey(NamedTuple):
    """A row of a flow-control key: what `FlowKey` holds, and booleans may be 0 and 1. Times are unix milliseconds."""

    key: str
    parallelism: int | None
    rate: int | None
    period_seconds: int
    is_paused: bool
    is_pinned_parallelism: bool
    is_pinned_rate: bool
    rate_count: int
    period_start_at: int


_STORED_FLOW_KEYS = Query(
    select(*(_F[name] for name in StoredFlowKey._fields))
    .where(_F.tenant_id == bindparam("tenant_id"))
    .order_by(_F.key),
    Reading(tuple(_F[name] for name in StoredFlowKey._fields), StoredFlowKey._make),
)


def load_snapshot(store: SqlStore, tenant_id: int, now_at: int, most_queued: int) -> Snapshot:
    """Return a tenant's state as committed; messages in queues come in the order of publishing.

    Messages of existing queues stay in the store if there are more than ``most_queued`` in all.
    """
    pending = and_(_M.tenant_id == tenant_id, _M.due_at.is_not(None))
    queues = _all(store, tenant_id, QUEUE)
    queued, crowded = _queued(store, tenant_id, {queue.name for queue in queues}, most_queued)
    schedules = _all(store, tenant_id, SCHEDULE)
    return Snapshot(
        queues=queues,
        groups=_all(store, tenant_id, URL_GROUP),
        schedules=schedules,
        flow_keys=_flow_keys_in_use(store, tenant_id, now_at),
        unfinished_of_keys=_unfinished_of_keys(store, tenant_id),
        deduplications=_deduplications(store, tenant_id, now_at),
        queued=queued,
        crowded=crowded,
        slot_callbacks=_pending(store, pending, _M.slot_of.is_not(None)),
        cancel_requested=_pending(store, pending, _M.is_cancel_requested),
        last_runs=_last_runs(store, tenant_id, schedules),
    )


def count_created(store: SqlStore, tenant_id: int, from_at: int) -> int:
    """Return how many messages were accepted at ``from_at`` or later."""
    query = select(func.count()).where(_M.tenant_id == tenant_id, _M.created_at >= from_at)
    with store.connect() as connection:
        return int(connection.execute(query).scalar_one())


def load_due(
    store: SqlStore, tenant_id: int, start: tuple[int, int], limit: int, until_at: int | None = None
) -> tuple[list[Pending], bool]:
    """Return the next ``limit`` unqueued pending messages from key ``(due_at, seq)`` on, and whether these were all.

    Messages due after ``until_at`` are left out.
    """
    query = (
        select(*PENDING.columns)
        .where(_M.tenant_id == tenant_id, _M.due_at.is_not(None), _M.queue_name.is_(None))
        .where(tuple_(_M.due_at, _M.seq) >= tuple_(literal(start[0]), literal(start[1])))
        .order_by(_M.due_at, _M.seq)
        .limit(limit)
    )
    if until_at is not None:
        query = query.where(_M.due_at <= until_at)
    found = store.read(PENDING, query)
    return found, len(found) < limit


def load_queued(
    store: SqlStore, tenant_id: int, queue_name: str, from_seq: int, limit: int
) -> tuple[list[Pending], bool]:
    """Return the next ``limit`` pending messages of a queue from ``from_seq`` on, and whether these were all."""
    query = (
        select(*PENDING.columns)
        .where(_M.tenant_id == tenant_id, _M.due_at.is_not(None), _M.queue_name == queue_name)
        .where(_M.queue_name.is_not(None), _M.seq >= from_seq)  # the first condition is that of the index
        .order_by(_M.seq)
        .limit(limit)
    )
    found = store.read(PENDING, query)
    return found, len(found) < limit


def load_for_delivery(store: SqlStore, seqs: Sequence[int]) -> dict[int, tuple[Message, bytes]]:
    """Return messages with their bodies, by seq."""
    found: dict[int, tuple[Message, bytes]] = {}
    with store.connect() as connection:
        for start in range(0, len(seqs), _IDS_PER_QUERY):
            for message, body in _FOR_DELIVERY(connection, seqs[start : start + _IDS_PER_QUERY]):
                found[message.seq] = message, body
    return found


def load_body(store: SqlStore, seq: int) -> bytes:
    """Return a stored body."""
    with store.connect() as connection:
        return connection.execute(select(_B.body).where(_B.seq == seq)).scalar() or b""


def find_message(store: SqlStore, tenant_id: int, message_id: str) -> StoredMessage | None:
    """Return a message by its public id, finished or not; a workflow's step with its published body."""
    stored = next(iter(_messages(store, and_(_M.tenant_id == tenant_id, _M.id == message_id))), None)
    if stored is None or stored.message.note is None or stored.body:
        return stored
    query = select(ENTRY.table.c.body).where(ENTRY.table.c.message_seq == stored.message.seq)
    with store.connect() as connection:
        return replace(stored, body=connection.execute(query).scalar() or b"")


def list_messages(store: SqlStore, tenant_id: int) -> list[StoredMessage]:
    """Return all messages that are kept, in the order in which they were accepted."""
    return sorted(_messages(store, _M.tenant_id == tenant_id), key=lambda stored: stored.message.seq)


def select_pending(store: SqlStore, tenant_id: int, wanted: Filter, count: int | None) -> list[Pending]:
    """Return matching unfinished messages without a requested cancel, oldest first."""
    if count is None:
        return PENDING_MESSAGES.all(store, tenant_id, wanted)
    page = Page(count=count, order="earliestFirst")
    return PENDING_MESSAGES.page(store, tenant_id, wanted, page).items


def busiest_urls(store: SqlStore, tenant_id: int, since_at: int, count: int) -> list[tuple[str, int]]:
    """Return the destinations with most messages since ``since_at``, and their numbers."""
    query = (
        select(_M.url, func.count())
        .where(_M.tenant_id == tenant_id, _M.created_at >= since_at)
        .group_by(_M.url)
        .order_by(func.count().desc(), _M.url)
        .limit(count)
    )
    with store.connect() as connection:
        return [(url, many) for url, many in connection.execute(query)]


def count_lag(store: SqlStore, tenant_id: int, queue_name: str | None = None) -> dict[str, int]:
    """Return how many unfinished messages each queue has, or the one of that name."""
    is_wanted = true() if queue_name is None else _M.queue_name == queue_name
    query = (
        select(_M.queue_name, func.count())
        .where(_M.tenant_id == tenant_id, _M.due_at.is_not(None), _M.queue_name.is_not(None), is_wanted)
        .group_by(_M.queue_name)
    )
    with store.connect() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


def list_logs_by_message(
    store: SqlStore, tenant_id: int, wanted: Filter, page: Page
) -> Found[list[StoredLogEntry]]:
    """Return one page of messages, each with its matching entries (newest first), the most recent message first.

    The cursor is that of a message's newest entry.
    """
    newest = (
        LOGS.select((func.max(_L.seq),), store, tenant_id, wanted).group_by(_L.message_seq).scalar_subquery()
    )
    latest_first = replace(page, order="latestFirst")
    found = LOGS.page(store, tenant_id, Filter(), latest_first, _L.seq.in_(newest))
    by_message: dict[int, list[StoredLogEntry]] = {one.entry.message_seq: [] for one in found.items}
    # The messages already match; the filter's conditions on entries are applied to their entries.
    of_entries = Filter(states=wanted.states, from_at=wanted.from_at, to_at=wanted.to_at)
    for entry in LOGS.all(store, tenant_id, of_entries, _L.message_seq.in_(by_message)):
        by_message[entry.entry.message_seq].insert(0, entry)
    return Found(list(by_message.values()), found.cursor)


def _unfinished_of_keys(store: SqlStore, tenant_id: int) -> dict[str, int]:
    query = (
        select(_M.flow_key, func.count().label("unfinished"))
        .where(_M.tenant_id == tenant_id, _M.due_at.is_not(None), _M.flow_key.is_not(None))
        .group_by(_M.flow_key)
    )
    with store.connect() as connection:
        return {row.flow_key: row.unfinished for row in connection.execute(query)}


def _flow_keys_in_use(store: SqlStore, tenant_id: int, now_at: int) -> list[FlowKey]:
    """Return the keys that are not at rest: with unfinished messages, paused or pinned, or in a period."""
    in_use = or_(
        _F.is_paused,
        _F.is_pinned_parallelism,
        _F.is_pinned_rate,
        _F.period_start_at + _F.period_seconds * 1000 > now_at,
        exists().where(_M.tenant_id == tenant_id, _M.due_at.is_not(None), _M.flow_key == _F.key),
    )
    query = select(*FLOW_KEY.reading.columns).where(_F.tenant_id == tenant_id, in_use).order_by(_F.key)
    return store.read(FLOW_KEY.reading, query)


def find_flow_key(store: SqlStore, tenant_id: int, key: str) -> FlowKey | None:
    """Return a flow-control key as it is stored."""
    query = select(*FLOW_KEY.reading.columns).where(_F.tenant_id == tenant_id, _F.key == key)
    found = store.read(FLOW_KEY.reading, query)
    return found[0] if found else None


def list_flow_keys(store: SqlStore, tenant_id: int, most: int | None = None) -> list[FlowKey]:
    """Return all flow-control keys as they are stored, or the first ``most`` of them, by key."""
    return _all(store, tenant_id, FLOW_KEY, most)


def read_flow_keys(store: SqlStore, tenant_id: int) -> list[StoredFlowKey]:
    """Return all flow-control keys as they are stored, by key, at a third of what `list_flow_keys` costs."""
    with store.connect() as connection:
        return _STORED_FLOW_KEYS(connection, tenant_id=tenant_id)


def _all(store: SqlStore, tenant_id: int, codec: Codec[T], most: int | None = None) -> list[T]:
    """Return all records of a kind, or the first ``most`` of them, in the order of their keys."""
    query = select(*codec.reading.columns).where(codec.table.c.tenant_id == tenant_id)
    return store.read(codec.reading, query.order_by(*codec.table.primary_key).limit(most))


def _last_runs(store: SqlStore, tenant_id: int, schedules: Sequence[Schedule]) -> dict[str, dict[int, str]]:
    """Return the messages in progress of each schedule's last run: seq and id."""
    made = {
        message_id: schedule.id
        for schedule in schedules
        for message_id, outcome in schedule.last_states.items()
        if outcome == IN_PROGRESS
    }
    runs: dict[str, dict[int, str]] = {}
    ids = list(made)
    with store.connect() as connection:
        for start in range(0, len(ids), _IDS_PER_QUERY):
            query = select(_M.seq, _M.id).where(
                _M.tenant_id == tenant_id, _M.id.in_(ids[start : start + _IDS_PER_QUERY])
            )
            for seq, message_id in connection.execute(query):
                runs.setdefault(made[message_id], {})[seq] = message_id
    return runs


def _deduplications(store: SqlStore, tenant_id: int, now_at: int) -> list[DeduplicationKept]:
    c = DEDUPLICATION.table.c
    query = select(*DEDUPLICATION.reading.columns).where(c.tenant_id == tenant_id, c.expires_at > now_at)
    return store.read(DEDUPLICATION.reading, query.order_by(c.expires_at))


def _queued(
    store: SqlStore, tenant_id: int, queues: AbstractSet[str], most: int
) -> tuple[list[Pending], list[str]]:
    """Return pending messages with a queue, and the names of ``queues`` whose messages were left out."""
    in_queues = and_(_M.tenant_id == tenant_id, _M.due_at.is_not(None), _M.queue_name.is_not(None))
    first = select(*PENDING.columns).where(in_queues).order_by(_M.queue_name, _M.seq).limit(most + 1)
    found = store.read(PENDING, first)
    if len(found) <= most:
        return sorted(found, key=lambda pending: pending.seq), []
    names = _queues_with_pending(store, in_queues)
    without_queue = _pending(store, in_queues, _M.queue_name.in_(names - queues))
    return without_queue, sorted(names & queues)


def _queues_with_pending(store: SqlStore, in_queues: ColumnElement[bool]) -> set[str]:
    """Return the names of queues with pending messages: one step into the index for each name."""
    names = select(func.min(_M.queue_name).label("name")).where(in_queues).cte("names", recursive=True)
    following = (
        select(func.min(_M.queue_name)).where(in_queues, _M.queue_name > names.c.name).correlate(names)
    )
    names = names.union_all(select(following.scalar_subquery()).where(names.c.name.is_not(None)))
    with store.connect() as connection:
        found = connection.execute(select(names.c.name).where(names.c.name.is_not(None)))
        return set(found.scalars())


def _pending(store: SqlStore, *conditions: ColumnElement[bool]) -> list[Pending]:
    return store.read(PENDING, select(*PENDING.columns).where(*conditions).order_by(_M.seq))


def _messages(store: SqlStore, condition: ColumnElement[bool]) -> list[StoredMessage]:
    query = select(*STORED_MESSAGE.columns).select_from(WITH_BODY).where(condition)
    return store.read(STORED_MESSAGE, query)
