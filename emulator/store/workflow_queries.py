"""Queries for workflow runs."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Select, and_, bindparam, case, func, not_, or_, select

from emulator.broker.message import LogEntry, Message, State
from emulator.broker.workflow.failed_run import FailedRun, plans_without_result
from emulator.broker.workflow.recovery import RunSnapshot
from emulator.broker.workflow.rerun import EndedRun, read_groups
from emulator.broker.workflow.run import ActiveRun, Entry, Waiter
from emulator.broker.workflow.run_wait import OpenDelivery, OpenRun
from emulator.store.codec import Codec, together
from emulator.store.compiled_statements import Query
from emulator.store.dashboard_queries import last_attempts
from emulator.store.filters import Filter, Page
from emulator.store.lists import RUNS
from emulator.store.records import ENTRY, EVENT, LOG, MESSAGE, PENDING, RUN, WAITER
from emulator.store.store import SqlStore
from emulator.store.stored import BODY, STORED_RUN, StoredRun
from emulator.store.tables import BodyRow, table_of
from emulator.wire.workflow import PLAN_SPELLINGS, CallType, read_step

_FARTHEST = 2**31 - 1
# A step's result may be large and does not contain its name; a sleep and a plan are small.
_MOST_STEP_BYTES = 4_096
_SEQS_AT_A_TIME = 500
_R, _E, _W, _M, _L = RUN.table.c, ENTRY.table.c, WAITER.table.c, MESSAGE.table.c, LOG.table.c
_BODIES = table_of(BodyRow)
# The messages of entries, with their bodies.
_WITH_MESSAGE = ENTRY.table.join(MESSAGE.table, _M.seq == _E.message_seq).outerjoin(
    _BODIES, _BODIES.c.seq == _M.body_seq
)
_STEPS = Query(
    select(*ENTRY.reading.columns)
    .where(_E.run_seq == bindparam("run"), _E.call_type == bindparam("type"))
    .where(_E.position > bindparam("behind"), _E.position <= bindparam("last"))
    .order_by(_E.position),
    ENTRY.reading,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryHistory:
    """An entry of a run's log with its message, the message's state, and its ended attempts."""

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
    """A run with its log; ``children`` are the runs that it invoked."""

    stored: StoredRun
    entries: tuple[EntryHistory, ...]
    waiters: tuple[Waiter, ...]
    children: tuple[StoredRun, ...]


def load_runs(store: SqlStore, tenant_id: int) -> RunSnapshot:
    """Return a tenant's active runs as committed."""
    is_active = and_(_R.tenant_id == tenant_id, _R.ended_at.is_(None))
    of_active = ENTRY.table.join(RUN.table, _R.seq == _E.run_seq)
    pending = together(lambda run_seq, found: (run_seq, found), _E.run_seq, PENDING)
    of_pending = of_active.join(MESSAGE.table, _M.seq == _E.message_seq)
    of_logs = select(*_RUN_LOG.columns).select_from(of_active).where(is_active).group_by(_E.run_seq)
    logs = dict(store.read(_RUN_LOG, of_logs))
    runs = store.read(RUN.reading, select(*RUN.reading.columns).where(is_active).order_by(_R.seq))

    def of_runs(codec: Codec[Any]) -> Select[Any]:
        c = codec.table.c
        rows = codec.table.join(RUN.table, _R.seq == c.run_seq)
        return select(*codec.reading.columns).select_from(rows).where(is_active).order_by(c.seq)

    return RunSnapshot(
        runs=[ActiveRun(run, **logs.get(run.seq, {})) for run in runs],
        pending=store.read(
            pending,
            select(*pending.columns)
            .select_from(of_pending)
            .where(is_active, _M.due_at.is_not(None))
            .order_by(_M.seq),
        ),
        waiters=store.read(WAITER.reading, of_runs(WAITER)),
        events=store.read(EVENT.reading, of_runs(EVENT)),
    )


def _run_log(
    run_seq: int, last: int, last_config: int, steps: int, context_bytes: int | None
) -> tuple[int, dict[str, Any]]:
    return run_seq, {
        "next_position": last + 1,
        "steps": steps,
        "context_bytes": context_bytes or 0,
        "ends_with_step_config": last_config == last,
    }


_IS_RESULT = and_(
    _E.call_type == CallType.STEP.value,
    not_(or_(*(func.substr(_E.body, 1, len(plan)) == plan for plan in PLAN_SPELLINGS))),
)
# The sizes of runs' logs: all entries, results of steps, bytes of context (contract W6.7).
_RUN_LOG = together(
    _run_log,
    _E.run_seq,
    func.max(_E.position),
    func.max(case((_E.call_type == CallType.STEP_CONFIG.value, _E.position), else_=-1)),
    func.sum(case((and_(_IS_RESULT, _E.position > 0), 1), else_=0)),
    func.sum(case((_IS_RESULT, func.length(_E.body)), else_=0)),
)


def load_steps(store: SqlStore, run_seq: int, *, behind: int = -1, through: int | None = None) -> list[Entry]:
    """Return the steps of a run's log behind one position and through another, in order."""
    last = _FARTHEST if through is None else through
    with store.connect() as connection:
        return _STEPS(connection, run=run_seq, behind=behind, last=last, type=CallType.STEP.value)


def find_run(store: SqlStore, tenant_id: int, run_id: str, created_at: int | None = None) -> StoredRun | None:
    """Return the run of that id: the newest one, unless ``created_at`` names another."""
    wanted = Filter(run_ids=(run_id,), created_at=created_at)
    by_seq = replace(RUNS, is_by_seq=True)
    return next(iter(by_seq.page(store, tenant_id, wanted, Page(count=1)).items), None)


def load_failed(store: SqlStore, runs: Sequence[StoredRun]) -> list[FailedRun]:
    """Return failed runs with the data for a resume, a restart or a callback, in order."""
    return [_load_failed(store, stored) for stored in runs]


def _load_failed(store: SqlStore, stored: StoredRun) -> FailedRun:
    run, failure, callback = stored.run, stored.failure, stored.callback
    assert failure is not None
    steps = tuple(load_steps(store, run.seq))
    plans = {entry.message_seq for entry in plans_without_result(steps).values()}
    seqs = {run.init_seq, failure.message_seq, *failure.open_seqs, *plans}
    if callback is not None:
        seqs.add(callback.message_seq)
    messages = select(*MESSAGE.reading.columns).where(_M.seq.in_(seqs))
    with store.connect() as connection:
        last = connection.execute(select(func.max(_E.position)).where(_E.run_seq == run.seq)).scalar() or 0
    return FailedRun(
        run=run,
        failure=failure,
        callback=callback,
        steps=steps,
        next_position=last + 1,
        messages={message.seq: message for message in store.read(MESSAGE.reading, messages)},
        waiters=_waiters(store, run.seq),
    )


def _waiters(store: SqlStore, run_seq: int) -> tuple[Waiter, ...]:
    query = select(*WAITER.reading.columns).where(_W.run_seq == run_seq).order_by(_W.seq)
    return tuple(store.read(WAITER.reading, query))


def load_ended(store: SqlStore, stored: StoredRun) -> EndedRun:
    """Return a run with its steps and their messages, to start it again from one of them."""
    steps = tuple(load_steps(store, stored.run.seq))
    seqs = [entry.message_seq for entry in steps]
    messages: dict[int, Message] = {}
    for start in range(0, len(seqs), _SEQS_AT_A_TIME):
        some = _M.seq.in_(seqs[start : start + _SEQS_AT_A_TIME])
        query = select(*MESSAGE.reading.columns).where(some)
        messages |= {message.seq: message for message in store.read(MESSAGE.reading, query)}
    # A run under way is refused, so its steps are not needed.
    groups = [] if stored.ended_at is None else read_groups(steps)
    return EndedRun(run=stored.run, ended_at=stored.ended_at, steps=steps, groups=groups, messages=messages)


def load_failing_bodies(store: SqlStore, failed: Sequence[FailedRun]) -> list[bytes]:
    """Return the published body of each run's failed message, in order."""
    body = together(lambda own, of_message: own or of_message, _E.body, BODY)
    bodies = []
    for one in failed:
        of_failure = (_E.run_seq == one.run.seq, _E.message_seq == one.failure.message_seq)
        query = select(*body.columns).select_from(_WITH_MESSAGE).where(*of_failure)
        bodies.append(next(iter(store.read(body, query)), b""))
    return bodies


def load_histories(store: SqlStore, runs: Sequence[StoredRun]) -> list[RunHistory]:
    """Return the histories of runs, in order."""
    return [_load_history(store, stored) for stored in runs]


def _load_history(store: SqlStore, stored: StoredRun) -> RunHistory:
    run = stored.run
    ended_attempts = (
        select(*LOG.reading.columns)
        .select_from(LOG.table.join(ENTRY.table, _E.message_seq == _L.message_seq))
        .where(_E.run_seq == run.seq, _L.state.in_([State.ERROR.value, State.DELIVERED.value]))
        .order_by(_L.seq)
    )
    attempts: dict[int, list[LogEntry]] = {}
    for attempt in store.read(LOG.reading, ended_attempts):
        attempts.setdefault(attempt.message_seq, []).append(attempt)

    def history(entry: Entry, message: Message, body: bytes, state: str, *rest: Any) -> EntryHistory:
        retried, due_at, finished_at = rest
        return EntryHistory(
            entry=entry,
            message=message,
            body=body,
            state=State(state),
            retried=retried,
            due_at=due_at,
            finished_at=finished_at,
            attempts=tuple(attempts.get(message.seq, ())),
        )

    standing = (_M.state, _M.retried, _M.due_at, _M.finished_at)
    reading = together(history, ENTRY.reading, MESSAGE.reading, BODY, *standing)
    of_run = select(*reading.columns).select_from(_WITH_MESSAGE).where(_E.run_seq == run.seq)
    return RunHistory(
        stored=stored,
        entries=tuple(store.read(reading, of_run.order_by(_E.position))),
        waiters=_waiters(store, run.seq),
        children=_children(store, stored),
    )


def _children(store: SqlStore, stored: StoredRun) -> tuple[StoredRun, ...]:
    run = stored.run
    tenant_id = select(_R.tenant_id).where(_R.seq == run.seq).scalar_subquery()
    children = (
        select(*STORED_RUN.columns)
        .where(_R.tenant_id == tenant_id, _R.invoker_id == run.id, _R.created_at >= run.created_at)
        .order_by(_R.seq)
    )
    return tuple(
        child
        for child in store.read(STORED_RUN, children)
        if child.run.invoker is not None and child.run.invoker.run_created_at == run.created_at
    )


def load_open(store: SqlStore, tenant_id: int, runs: Sequence[StoredRun]) -> dict[int, OpenRun]:
    """Return by run seq the open deliveries, waits and invocations of those ``runs`` that are under way."""
    open_runs = {one.run.seq: one.run for one in runs if one.ended_at is None}
    if not open_runs:
        return {}
    deliveries: dict[int, list[OpenDelivery]] = {}
    for run_seq, delivery in _open_deliveries(store, open_runs):
        deliveries.setdefault(run_seq, []).append(delivery)
    last = last_attempts(store, [one.pending.seq for some in deliveries.values() for one in some])
    waiters: dict[int, list[Waiter]] = {}
    of_runs = select(*WAITER.reading.columns).where(_W.run_seq.in_(open_runs)).order_by(_W.seq)
    for waiter in store.read(WAITER.reading, of_runs):
        waiters.setdefault(waiter.run_seq, []).append(waiter)
    invoked: dict[tuple[str, int], list[str]] = {}
    ids = sorted({run.id for run in open_runs.values()})
    children = (
        select(*STORED_RUN.columns)
        .where(_R.tenant_id == tenant_id, _R.invoker_id.in_(ids), _R.ended_at.is_(None))
        .order_by(_R.seq)
    )
    for child in store.read(STORED_RUN, children):
        if (by := child.run.invoker) is not None:
            invoked.setdefault((by.run_id, by.run_created_at), []).append(child.run.id)
    return {
        seq: OpenRun(
            deliveries=[replace(one, last=last.get(one.pending.seq)) for one in deliveries.get(seq, ())],
            waiters=waiters.get(seq, ()),
            invoked=invoked.get((run.id, run.created_at), ()),
        )
        for seq, run in open_runs.items()
    }


def _open_deliveries(store: SqlStore, run_seqs: Collection[int]) -> list[tuple[int, OpenDelivery]]:
    def delivery(
        run_seq: int, position: int, call_type: str, body: bytes | None, *rest: Any
    ) -> tuple[int, OpenDelivery]:
        url, method, pending = rest
        return run_seq, OpenDelivery(
            call_type=CallType(call_type),
            position=position,
            step=read_step(body or b""),
            url=url,
            method=method,
            pending=pending,
        )

    small_body = case((func.length(_E.body) <= _MOST_STEP_BYTES, _E.body), else_=None)
    of_entry = (_E.run_seq, _E.position, _E.call_type, small_body)
    reading = together(delivery, *of_entry, _M.url, _M.method, PENDING)
    found = (
        select(*reading.columns)
        .select_from(ENTRY.table.join(MESSAGE.table, _M.seq == _E.message_seq))
        .where(_E.run_seq.in_(run_seqs), _M.due_at.is_not(None))
        .order_by(_E.run_seq, _E.position)
    )
    return store.read(reading, found)
