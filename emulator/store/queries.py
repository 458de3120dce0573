"""Reading what was kept. Every function takes the store and returns the broker's own dataclasses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Row, Select, and_, func, literal, or_, select, tuple_

from emulator.broker.message import DeadLetter, LogEntry, Message, Pending, State
from emulator.broker.recovery import Snapshot
from emulator.broker.resources import Schedule
from emulator.broker.schedule_runs import IN_PROGRESS
from emulator.broker.writes import DeduplicationKept
from emulator.store import mapping
from emulator.store.filters import MessageFilter, Page
from emulator.store.store import SqlStore
from emulator.store.tables import (
    BodyRow,
    DeadLetterRow,
    DeduplicationRow,
    FlowKeyRow,
    LogRow,
    MessageRow,
    QueueRow,
    ScheduleRow,
    UrlGroupRow,
    table_of,
)
from emulator.store.workflow_tables import EntryRow

_M = table_of(MessageRow).c
_B = table_of(BodyRow).c
_L = table_of(LogRow).c
_D = table_of(DeadLetterRow).c

_PENDING = tuple(_M[name] for name in mapping.PENDING_COLUMNS)
# SQLite takes at most 32,766 bound values in one statement.
_IDS_PER_QUERY = 10_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message, its body, and how it stands."""

    message: Message
    body: bytes
    state: State


@dataclass(frozen=True, slots=True)
class StoredLogEntry:
    """A log entry with its message; ``seq`` orders entries."""

    seq: int
    entry: LogEntry
    message: Message
    body: bytes


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """An entry of the dead letter queue with its message."""

    dead_letter: DeadLetter
    message: Message
    body: bytes


def pending_columns() -> tuple[ColumnElement[Any], ...]:
    """What ``mapping.pending_of`` reads."""
    return tuple(_PENDING)


def load_snapshot(store: SqlStore, tenant_id: int, now_at: int) -> Snapshot:
    """A tenant's state as committed; messages in queues come in the order of publishing."""
    pending = and_(_M.tenant_id == tenant_id, _M.due_at.is_not(None))
    schedules = _entities(store, tenant_id, ScheduleRow, mapping.schedule_of)
    return Snapshot(
        queues=_entities(store, tenant_id, QueueRow, mapping.queue_of),
        groups=_entities(store, tenant_id, UrlGroupRow, mapping.url_group_of),
        schedules=schedules,
        flow_keys=_entities(store, tenant_id, FlowKeyRow, mapping.flow_key_of),
        deduplications=_deduplications(store, tenant_id, now_at),
        queued=_pending(store, pending, _M.queue_name.is_not(None)),
        slot_callbacks=_pending(store, pending, _M.slot_of.is_not(None)),
        cancel_requested=_pending(store, pending, _M.is_cancel_requested),
        last_runs=_last_runs(store, tenant_id, schedules),
    )


def count_created(store: SqlStore, tenant_id: int, from_at: int) -> int:
    """How many messages were accepted at ``from_at`` or later."""
    query = select(func.count()).where(_M.tenant_id == tenant_id, _M.created_at >= from_at)
    with store.connect() as connection:
        return int(connection.execute(query).scalar_one())


def load_due(
    store: SqlStore, tenant_id: int, start: tuple[int, int], limit: int, until_at: int | None = None
) -> tuple[list[Pending], bool]:
    """The next ``limit`` unqueued pending messages from key ``(due_at, seq)`` on, and whether these were all.

    ``until_at`` leaves out what is due later.
    """
    query = (
        select(*_PENDING)
        .where(_M.tenant_id == tenant_id, _M.due_at.is_not(None), _M.queue_name.is_(None))
        .where(tuple_(_M.due_at, _M.seq) >= tuple_(literal(start[0]), literal(start[1])))
        .order_by(_M.due_at, _M.seq)
        .limit(limit)
    )
    if until_at is not None:
        query = query.where(_M.due_at <= until_at)
    with store.connect() as connection:
        rows = [mapping.pending_of(row) for row in connection.execute(query).mappings()]
    return rows, len(rows) < limit


def load_for_delivery(store: SqlStore, seqs: Sequence[int]) -> dict[int, tuple[Message, bytes]]:
    """Messages with their bodies, by seq."""
    found: dict[int, tuple[Message, bytes]] = {}
    with store.connect() as connection:
        for start in range(0, len(seqs), _IDS_PER_QUERY):
            for row in store.select_for_delivery(connection, seqs[start : start + _IDS_PER_QUERY]):
                found[row["seq"]] = (mapping.message_of(row), row["body"] or b"")
    return found


def load_body(store: SqlStore, seq: int) -> bytes:
    """A stored body."""
    with store.connect() as connection:
        return connection.execute(select(_B.body).where(_B.seq == seq)).scalar() or b""


def find_message(store: SqlStore, tenant_id: int, message_id: str) -> StoredMessage | None:
    """A message by its public id, finished or not; a workflow's step with what was published for it."""
    stored = next(iter(_messages(store, and_(_M.tenant_id == tenant_id, _M.id == message_id))), None)
    if stored is None or stored.message.tag is None or stored.body:
        return stored
    entries = table_of(EntryRow)
    query = select(entries.c.body).where(entries.c.message_seq == stored.message.seq)
    with store.connect() as connection:
        return replace(stored, body=connection.execute(query).scalar() or b"")


def list_messages(store: SqlStore, tenant_id: int) -> list[StoredMessage]:
    """All messages that are kept, in the order in which they were accepted."""
    return sorted(_messages(store, _M.tenant_id == tenant_id), key=lambda stored: stored.message.seq)


def select_pending(
    store: SqlStore, tenant_id: int, wanted: MessageFilter, count: int | None
) -> list[Pending]:
    """Unfinished messages that match and whose cancel was not asked for yet, oldest first."""
    query = (
        select(*_PENDING)
        .where(_M.tenant_id == tenant_id, _M.due_at.is_not(None), _M.is_cancel_requested.is_(False))
        .where(*conditions(store, wanted), *between(_M.created_at, wanted))
        .order_by(_M.seq)
        .limit(count)
    )
    with store.connect() as connection:
        return [mapping.pending_of(row) for row in connection.execute(query).mappings()]


def busiest_urls(store: SqlStore, tenant_id: int, since_at: int, count: int) -> list[tuple[str, int]]:
    """The destinations that got most messages since ``since_at``, with how many."""
    query = (
        select(_M.url, func.count())
        .where(_M.tenant_id == tenant_id, _M.created_at >= since_at)
        .group_by(_M.url)
        .order_by(func.count().desc(), _M.url)
        .limit(count)
    )
    with store.connect() as connection:
        return [(url, many) for url, many in connection.execute(query)]


def count_lag(store: SqlStore, tenant_id: int) -> dict[str, int]:
    """How many unfinished messages each queue has."""
    query = (
        select(_M.queue_name, func.count())
        .where(_M.tenant_id == tenant_id, _M.due_at.is_not(None), _M.queue_name.is_not(None))
        .group_by(_M.queue_name)
    )
    with store.connect() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


def list_logs(
    store: SqlStore,
    tenant_id: int,
    wanted: MessageFilter,
    states: Sequence[State],
    page: Page,
) -> tuple[list[StoredLogEntry], bool]:
    """One page of log entries, and whether more follow. The cursor's second number is an entry's seq."""
    log = table_of(LogRow)
    query = (
        _with_message(select(*(column.label(f"log_{column.name}") for column in log.c)).select_from(log))
        .where(_L.tenant_id == tenant_id)
        .where(*conditions(store, wanted), *between(_L.time_at, wanted))
    )
    if states:
        query = query.where(_L.state.in_([state.value for state in states]))
    rows, has_more = _page(store, query, (_L.seq,), page)
    return [_log_of(row) for row in rows], has_more


def list_logs_by_message(
    store: SqlStore,
    tenant_id: int,
    wanted: MessageFilter,
    states: Sequence[State],
    page: Page,
) -> tuple[list[list[StoredLogEntry]], bool]:
    """One page of messages, each with its matching entries (newest first), the message heard of last in front.

    The cursor's second number is the seq of a message's newest entry.
    """
    newest = func.max(_L.seq)
    query = (
        select(_L.message_seq, newest.label("newest"))
        .join(table_of(MessageRow), _M.seq == _L.message_seq)
        .where(_L.tenant_id == tenant_id)
        .where(*conditions(store, wanted), *between(_L.time_at, wanted))
        .group_by(_L.message_seq)
        .order_by(newest.desc())
    )
    if states:
        query = query.where(_L.state.in_([state.value for state in states]))
    if page.cursor is not None:
        query = query.having(newest < page.cursor[1])
    with store.connect() as connection:
        seqs = [row.message_seq for row in connection.execute(query.limit(page.count + 1))]
    entries = _log_entries_of(store, seqs[: page.count], wanted, states)
    return [entries[seq] for seq in seqs[: page.count]], len(seqs) > page.count


def _log_entries_of(
    store: SqlStore, message_seqs: Sequence[int], wanted: MessageFilter, states: Sequence[State]
) -> dict[int, list[StoredLogEntry]]:
    log = table_of(LogRow)
    query = (
        _with_message(select(*(column.label(f"log_{column.name}") for column in log.c)).select_from(log))
        .where(_L.message_seq.in_(message_seqs), *between(_L.time_at, wanted))
        .order_by(_L.seq.desc())
    )
    if states:
        query = query.where(_L.state.in_([state.value for state in states]))
    grouped: dict[int, list[StoredLogEntry]] = {}
    with store.connect() as connection:
        for row in connection.execute(query).mappings():
            grouped.setdefault(row["log_message_seq"], []).append(_log_of(row))
    return grouped


def list_dead_letters(
    store: SqlStore,
    tenant_id: int,
    wanted: MessageFilter,
    *,
    dlq_ids: Sequence[str] = (),
    response_statuses: Sequence[int] = (),
    page: Page,
) -> tuple[list[StoredDeadLetter], bool]:
    """One page of the dead letter queue, and whether more follow. Order and cursor: ``(failed_at, message_seq)``."""
    dead = table_of(DeadLetterRow)
    query = (
        _with_message(
            select(*(column.label(f"dead_{column.name}") for column in dead.c)).select_from(dead),
            _D.message_seq,
        )
        .where(_D.tenant_id == tenant_id)
        .where(*conditions(store, wanted), *between(_D.failed_at, wanted))
    )
    if dlq_ids:
        query = query.where(_D.dlq_id.in_(dlq_ids))
    if response_statuses:
        query = query.where(_D.response_status.in_(response_statuses))
    rows, has_more = _page(store, query, (_D.failed_at, _D.message_seq), page)
    return [_dead_letter_of(row) for row in rows], has_more


def _entities(
    store: SqlStore, tenant_id: int, model: type[Any], build: Callable[[mapping.Record], T]
) -> list[T]:
    table = table_of(model)
    with store.connect() as connection:
        query = select(table).where(table.c.tenant_id == tenant_id).order_by(*table.primary_key)
        return [build(row) for row in connection.execute(query).mappings()]


def _last_runs(store: SqlStore, tenant_id: int, schedules: Sequence[Schedule]) -> dict[str, dict[int, str]]:
    """Of each schedule's last run, the messages that are in progress: seq and id."""
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
    c = table_of(DeduplicationRow).c
    query = (
        select(c.key, c.message_id, c.url, c.expires_at)
        .where(c.tenant_id == tenant_id, c.expires_at > now_at)
        .order_by(c.expires_at)
    )
    with store.connect() as connection:
        return [DeduplicationKept(*row) for row in connection.execute(query)]


def _pending(store: SqlStore, *conditions: ColumnElement[bool]) -> list[Pending]:
    query = select(*_PENDING).where(*conditions).order_by(_M.seq)
    with store.connect() as connection:
        return [mapping.pending_of(row) for row in connection.execute(query).mappings()]


def _messages(store: SqlStore, condition: ColumnElement[bool]) -> list[StoredMessage]:
    query = (
        select(table_of(MessageRow), _B.body)
        .join_from(table_of(MessageRow), table_of(BodyRow), _B.seq == _M.body_seq, isouter=True)
        .where(condition)
    )
    with store.connect() as connection:
        return [
            StoredMessage(mapping.message_of(row), row["body"] or b"", State(row["state"]))
            for row in connection.execute(query).mappings()
        ]


def _with_message(query: Select[Any], seq: ColumnElement[int] = _L.message_seq) -> Select[Any]:
    return (
        query.add_columns(table_of(MessageRow), _B.body)
        .join(table_of(MessageRow), _M.seq == seq)
        .outerjoin(table_of(BodyRow), _B.seq == _M.body_seq)
    )


def conditions(store: SqlStore, wanted: MessageFilter) -> list[ColumnElement[bool]]:
    """What a filter asks of a message, but for its time."""
    by_column = (
        (_M.id, wanted.message_ids),
        (_M.url, wanted.urls),
        (_M.path, wanted.paths),
        (_M.topic_name, wanted.topic_names),
        (_M.queue_name, wanted.queue_names),
        (_M.schedule_id, wanted.schedule_ids),
        (_M.flow_key, wanted.flow_keys),
        (_M.caller_ip, wanted.caller_ips),
    )
    conditions: list[ColumnElement[bool]] = [column.in_(values) for column, values in by_column if values]
    if wanted.labels:
        conditions.append(or_(*(_has_label(store, label) for label in wanted.labels)))
    if wanted.hosts:
        conditions.append(or_(*map(_has_host, wanted.hosts)))
    return conditions


def _has_label(store: SqlStore, label: str) -> ColumnElement[bool]:
    find = func.instr if store.engine.dialect.name == "sqlite" else func.strpos
    return find(_M.labels, f",{label},") > 0


def _has_host(host: str) -> ColumnElement[bool]:
    """With a port the whole authority must be equal; without one any port will do (contract U36)."""
    lowered = host.lower()
    if ":" in lowered.rpartition("]")[2]:
        return _M.host == lowered
    return or_(_M.host == lowered, _M.host.startswith(f"{lowered}:", autoescape=True))


def between(column: ColumnElement[int], wanted: MessageFilter) -> list[ColumnElement[bool]]:
    """What a filter asks of a time."""
    bounds: list[ColumnElement[bool]] = []
    if wanted.from_at is not None:
        bounds.append(column >= wanted.from_at)
    if wanted.to_at is not None:
        bounds.append(column <= wanted.to_at)
    return bounds


def _page(
    store: SqlStore, query: Select[Any], key: tuple[ColumnElement[int], ...], page: Page
) -> tuple[list[Any], bool]:
    is_latest_first = page.order == "latestFirst"
    if page.cursor is not None:
        mark = tuple_(*(literal(part) for part in page.cursor[-len(key) :]))
        query = query.where(tuple_(*key) < mark if is_latest_first else tuple_(*key) > mark)
    query = query.order_by(*(column.desc() if is_latest_first else column for column in key))
    with store.connect() as connection:
        rows: Sequence[Row[Any]] = connection.execute(query.limit(page.count + 1)).all()
    return [row._mapping for row in rows[: page.count]], len(rows) > page.count  # noqa: SLF001  public despite its name


def _prefixed(row: mapping.Record, prefix: str) -> mapping.Row:
    return {
        str(name).removeprefix(prefix): value for name, value in row.items() if str(name).startswith(prefix)
    }


def _log_of(row: mapping.Record) -> StoredLogEntry:
    return StoredLogEntry(
        seq=row["log_seq"],
        entry=mapping.log_entry_of(_prefixed(row, "log_")),
        message=mapping.message_of(row),
        body=row["body"] or b"",
    )


def _dead_letter_of(row: mapping.Record) -> StoredDeadLetter:
    return StoredDeadLetter(
        dead_letter=mapping.dead_letter_of(_prefixed(row, "dead_")),
        message=mapping.message_of(row),
        body=row["body"] or b"",
    )
