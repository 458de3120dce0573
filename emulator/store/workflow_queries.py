"""Reading runs back."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, and_, case, func, literal, not_, or_, select, tuple_

from emulator.broker.message import LogEntry, Message, State
from emulator.broker.workflow.failed_run import FailedRun, plans_without_result
from emulator.broker.workflow.recovery import RunSnapshot
from emulator.broker.workflow.run import ActiveRun, Entry, Waiter
from emulator.store import mapping, workflow_mapping
from emulator.store.filters import Page
from emulator.store.store import SqlStore
from emulator.store.tables import BodyRow, LogRow, MessageRow, table_of
from emulator.store.workflow_filters import RunFilter
from emulator.store.workflow_mapping import StoredRun
from emulator.store.workflow_tables import EntryRow, EventRow, RunRow, WaiterRow
from emulator.wire.workflow import PLAN_SPELLINGS, CallType

_RUNS = table_of(RunRow)
_ENTRIES = table_of(EntryRow)
_WAITERS = table_of(WaiterRow)
_EVENTS = table_of(EventRow)
_FARTHEST = 2**31 - 1
_M = table_of(MessageRow).c
_B = table_of(BodyRow).c
_L = table_of(LogRow)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryHistory:
    """An entry of a run's log with its message: how that stands, and its attempts that have ended."""

    entry: Entry
    message: Message
    body: bytes
    state: State
    retried: int
    due_at: int | None
    finished_at: int | None
    attempts: tuple[LogEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHistory:
    """A run with all that is known of it; ``children`` are the runs that it invoked."""

    stored: StoredRun
    entries: tuple[EntryHistory, ...]
    waiters: tuple[Waiter, ...]
    children: tuple[StoredRun, ...]


def load_runs(store: SqlStore, tenant_id: int) -> RunSnapshot:
    """A tenant's active runs as committed."""
    is_active = and_(_RUNS.c.tenant_id == tenant_id, _RUNS.c.ended_at.is_(None))
    with store.connect() as connection:
        rows = connection.execute(select(_RUNS).where(is_active).order_by(_RUNS.c.seq)).mappings().all()
        logs = {row["run_seq"]: row for row in connection.execute(_logs_of(is_active)).mappings()}
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
            runs=[_active_run(row, logs.get(row["seq"])) for row in rows],
            pending=[
                (row["run_seq"], mapping.pending_of(row)) for row in connection.execute(pending).mappings()
            ],
            waiters=[workflow_mapping.waiter_of(row) for row in connection.execute(waiters).mappings()],
            events=[workflow_mapping.event_of(row) for row in connection.execute(events).mappings()],
        )


def _logs_of(is_active: ColumnElement[bool]) -> Select[Any]:
    """How long the logs of active runs are: all entries, results of steps, bytes of context (contract W6.7)."""
    entry = _ENTRIES.c
    is_result = and_(
        entry.call_type == CallType.STEP.value,
        not_(or_(*(func.substr(entry.body, 1, len(plan)) == plan for plan in PLAN_SPELLINGS))),
    )
    is_config = entry.call_type == CallType.STEP_CONFIG.value
    return (
        select(
            entry.run_seq,
            func.max(entry.position).label("last"),
            func.max(case((is_config, entry.position), else_=-1)).label("last_config"),
            func.sum(case((and_(is_result, entry.position > 0), 1), else_=0)).label("steps"),
            func.sum(case((is_result, func.length(entry.body)), else_=0)).label("context_bytes"),
        )
        .join(_RUNS, _RUNS.c.seq == entry.run_seq)
        .where(is_active)
        .group_by(entry.run_seq)
    )


def _active_run(row: RowMapping, log: RowMapping | None) -> ActiveRun:
    run = workflow_mapping.run_of(row)
    if log is None:
        return ActiveRun(run)
    return ActiveRun(
        run,
        log["last"] + 1,
        steps=log["steps"],
        context_bytes=log["context_bytes"] or 0,
        ends_with_step_config=log["last_config"] == log["last"],
    )


def load_steps(store: SqlStore, run_seq: int, *, behind: int = -1, through: int | None = None) -> list[Entry]:
    """The steps of a run's log behind one position and through another, in order."""
    last = _FARTHEST if through is None else through
    with store.connect() as connection:
        rows = store.select_steps(connection, run_seq, behind=behind, last=last)
    return [workflow_mapping.entry_of(row) for row in rows]


def find_run(store: SqlStore, tenant_id: int, run_id: str, created_at: int | None = None) -> StoredRun | None:
    """The run of that id: the last one, unless ``created_at`` names another."""
    query = select(_RUNS).where(_RUNS.c.tenant_id == tenant_id, _RUNS.c.id == run_id)
    if created_at is not None:
        query = query.where(_RUNS.c.created_at == created_at)
    with store.connect() as connection:
        row = connection.execute(query.order_by(_RUNS.c.seq.desc()).limit(1)).mappings().first()
    return None if row is None else workflow_mapping.stored_run_of(row)


def list_runs(
    store: SqlStore,
    tenant_id: int,
    wanted: RunFilter,
    page: Page,
    *,
    only_dlq: bool = False,
    only_active: bool = False,
) -> tuple[list[StoredRun], bool]:
    """One page of runs, newest first unless told otherwise, and whether more follow.

    Order and cursor are ``(created_at, seq)``; in the dead letter queue, ``(ended_at, seq)``.
    """
    moment = _RUNS.c.ended_at if only_dlq else _RUNS.c.created_at
    key = (moment, _RUNS.c.seq)
    query = select(_RUNS).where(_RUNS.c.tenant_id == tenant_id, *_conditions(store, wanted))
    if only_dlq:
        query = query.where(_RUNS.c.dlq_id.is_not(None))
    if only_active:
        query = query.where(_RUNS.c.ended_at.is_(None))
    if wanted.from_at is not None:
        query = query.where(moment >= wanted.from_at)
    if wanted.to_at is not None:
        query = query.where(moment <= wanted.to_at)
    is_latest_first = page.order == "latestFirst"
    if page.cursor is not None:
        mark = tuple_(*map(literal, page.cursor))
        query = query.where(tuple_(*key) < mark if is_latest_first else tuple_(*key) > mark)
    query = query.order_by(*(column.desc() if is_latest_first else column for column in key))
    with store.connect() as connection:
        rows = connection.execute(query.limit(page.count + 1)).mappings().all()
    return [workflow_mapping.stored_run_of(row) for row in rows[: page.count]], len(rows) > page.count


def active_runs(
    store: SqlStore,
    tenant_id: int,
    wanted: Any,
    until_seq: int,
    columns: Sequence[ColumnElement[Any]] | None,
    *,
    make_filter: Callable[[Any], RunFilter],
    behind: int | None = None,
) -> Select[Any]:
    """Active runs with numbers below ``until_seq`` and above ``behind`` that match, in the order of their numbers."""
    matching = make_filter(wanted)
    query = select(*(columns or (_RUNS,))).where(
        _RUNS.c.tenant_id == tenant_id, _RUNS.c.ended_at.is_(None), _RUNS.c.seq < until_seq
    )
    query = query.where(*_conditions(store, matching))
    if behind is not None:
        query = query.where(_RUNS.c.seq > behind)
    if matching.from_at is not None:
        query = query.where(_RUNS.c.created_at >= matching.from_at)
    if matching.to_at is not None:
        query = query.where(_RUNS.c.created_at <= matching.to_at)
    return query if columns else query.order_by(_RUNS.c.seq)


def _conditions(store: SqlStore, wanted: RunFilter) -> Iterable[ColumnElement[bool]]:
    c = _RUNS.c
    by_column: tuple[tuple[ColumnElement[Any], Sequence[object]], ...] = (
        (c.id, wanted.run_ids),
        (c.url, wanted.urls),
        (c.state, wanted.states),
        (c.caller_ip, wanted.caller_ips),
        (c.flow_key, wanted.flow_keys),
        (c.dlq_id, wanted.dlq_ids),
        (c.callback_state, wanted.callback_states),
        (c.response_status, wanted.response_statuses),
    )
    yield from (column.in_(values) for column, values in by_column if values)
    if wanted.created_at is not None:
        yield c.created_at == wanted.created_at
    if wanted.id_times:
        yield or_(*(and_(c.id == one, c.created_at == at) for one, at in wanted.id_times))
    if wanted.url_prefixes:
        yield or_(*(c.url.startswith(one, autoescape=True) for one in wanted.url_prefixes))
    if wanted.hosts:
        yield or_(*(_has_host(one) for one in wanted.hosts))
    if wanted.paths:
        yield or_(*(_has_path(one) for one in wanted.paths))
    if wanted.labels:
        find = func.instr if store.engine.dialect.name == "sqlite" else func.strpos
        yield or_(*(find(c.labels, f",{label},") > 0 for label in wanted.labels))
    if wanted.message_ids:
        having = select(_ENTRIES.c.run_seq).where(_ENTRIES.c.message_id.in_(wanted.message_ids))
        yield c.seq.in_(having)


def _has_host(host: str) -> ColumnElement[bool]:
    """Whether the workflow's URL is of the host; without a port, of any port (contract U36)."""
    url = _RUNS.c.url
    starts = [f"{scheme}://{host.lower()}" for scheme in ("http", "https")]
    ends = ("/", "?") if ":" in host.rpartition("]")[2] else ("/", "?", ":")
    lowered = func.lower(url)
    return or_(
        lowered.in_(starts),
        *(lowered.startswith(f"{start}{end}", autoescape=True) for start in starts for end in ends),
    )


def _has_path(path: str) -> ColumnElement[bool]:
    """Whether the workflow's URL has the path, whatever its query."""
    escaped = path.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    url = _RUNS.c.url
    bare = [url.like(f"%://{escaped_end}", escape="\\") for escaped_end in (f"%{escaped}", f"%{escaped}?%")]
    deeper = [url.like(f"%://%/%{escaped}", escape="\\"), url.like(f"%://%/%{escaped}?%", escape="\\")]
    return and_(or_(*bare), not_(or_(*deeper)))


def count_failed_runs(store: SqlStore, tenant_id: int) -> int:
    """How many failed runs are in the dead letter queue."""
    is_there = and_(_RUNS.c.tenant_id == tenant_id, _RUNS.c.dlq_id.is_not(None))
    with store.connect() as connection:
        return connection.execute(select(func.count()).select_from(_RUNS).where(is_there)).scalar_one()


def load_failed(store: SqlStore, runs: Sequence[StoredRun]) -> list[FailedRun]:
    """Failed runs with what a resume, a restart or a callback needs, in order."""
    return [_load_failed(store, stored) for stored in runs]


def _load_failed(store: SqlStore, stored: StoredRun) -> FailedRun:
    run, failure, callback = stored.run, stored.failure, stored.callback
    assert failure is not None
    steps = tuple(load_steps(store, run.seq))
    plans = {entry.message_seq for entry in plans_without_result(steps).values()}
    seqs = {run.init_seq, failure.message_seq, *failure.open_seqs, *plans}
    if callback is not None:
        seqs.add(callback.message_seq)
    messages = select(table_of(MessageRow)).where(_M.seq.in_(seqs))
    last = select(func.max(_ENTRIES.c.position)).where(_ENTRIES.c.run_seq == run.seq)
    waiters = select(_WAITERS).where(_WAITERS.c.run_seq == run.seq).order_by(_WAITERS.c.seq)
    with store.connect() as connection:
        return FailedRun(
            run=run,
            failure=failure,
            callback=callback,
            steps=steps,
            next_position=(connection.execute(last).scalar() or 0) + 1,
            messages={row["seq"]: mapping.message_of(row) for row in connection.execute(messages).mappings()},
            waiters=tuple(map(workflow_mapping.waiter_of, connection.execute(waiters).mappings())),
        )


def load_failing_bodies(store: SqlStore, failed: Sequence[FailedRun]) -> list[bytes]:
    """What each run's failed message was published with, in order."""
    bodies = []
    with store.connect() as connection:
        for one in failed:
            query = (
                select(_ENTRIES.c.body, _B.body.label("message_body"))
                .join(table_of(MessageRow), _M.seq == _ENTRIES.c.message_seq)
                .outerjoin(table_of(BodyRow), _B.seq == _M.body_seq)
                .where(_ENTRIES.c.run_seq == one.run.seq)
                .where(_ENTRIES.c.message_seq == one.failure.message_seq)
            )
            row = connection.execute(query).mappings().first()
            bodies.append((row["body"] or row["message_body"] or b"") if row else b"")
    return bodies


def load_histories(store: SqlStore, runs: Sequence[StoredRun]) -> list[RunHistory]:
    """Everything that is known of runs, in order."""
    return [_load_history(store, stored) for stored in runs]


def _load_history(store: SqlStore, stored: StoredRun) -> RunHistory:
    run = stored.run
    entries = (
        select(
            table_of(MessageRow),
            _B.body.label("message_body"),
            *(column.label(f"entry_{column.name}") for column in _ENTRIES.c),
        )
        .join(table_of(MessageRow), _M.seq == _ENTRIES.c.message_seq)
        .outerjoin(table_of(BodyRow), _B.seq == _M.body_seq)
        .where(_ENTRIES.c.run_seq == run.seq)
        .order_by(_ENTRIES.c.position)
    )
    ended_attempts = (
        select(_L)
        .join(_ENTRIES, _ENTRIES.c.message_seq == _L.c.message_seq)
        .where(_ENTRIES.c.run_seq == run.seq, _L.c.state.in_([State.ERROR.value, State.DELIVERED.value]))
        .order_by(_L.c.seq)
    )
    waiters = select(_WAITERS).where(_WAITERS.c.run_seq == run.seq).order_by(_WAITERS.c.seq)
    children = (
        select(_RUNS)
        .where(_RUNS.c.tenant_id == select(_RUNS.c.tenant_id).where(_RUNS.c.seq == run.seq).scalar_subquery())
        .where(_RUNS.c.invoker_id == run.id, _RUNS.c.created_at >= run.created_at)
        .order_by(_RUNS.c.seq)
    )
    with store.connect() as connection:
        attempts: dict[int, list[LogEntry]] = {}
        for row in connection.execute(ended_attempts).mappings():
            attempts.setdefault(row["message_seq"], []).append(mapping.log_entry_of(row))
        return RunHistory(
            stored=stored,
            entries=tuple(_entry_history(row, attempts) for row in connection.execute(entries).mappings()),
            waiters=tuple(map(workflow_mapping.waiter_of, connection.execute(waiters).mappings())),
            children=tuple(
                child
                for child in map(workflow_mapping.stored_run_of, connection.execute(children).mappings())
                if child.run.invoker is not None and child.run.invoker.run_created_at == run.created_at
            ),
        )


def _entry_history(row: mapping.Record, attempts: dict[int, list[LogEntry]]) -> EntryHistory:
    own = {
        str(name).removeprefix("entry_"): value
        for name, value in row.items()
        if str(name).startswith("entry_")
    }
    return EntryHistory(
        entry=workflow_mapping.entry_of(own),
        message=mapping.message_of(row),
        body=row["message_body"] or b"",
        state=State(row["state"]),
        retried=row["retried"],
        due_at=row["due_at"],
        finished_at=row["finished_at"],
        attempts=tuple(attempts.get(row["seq"], ())),
    )
