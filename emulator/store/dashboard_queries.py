"""What the dashboard reads: short rows of many messages, without bodies and headers, newest first."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, and_, case, func, literal, not_, or_, select

from emulator.broker.message import AttemptResult, LogEntry, State
from emulator.broker.transitions import PENDING_STATES
from emulator.store.mapping import load_headers, load_labels, log_entry_of
from emulator.store.store import SqlStore, table_of
from emulator.store.tables import BodyRow, DeadLetterRow, LogRow, MessageRow

_M = table_of(MessageRow).c
_B = table_of(BodyRow).c
_L = table_of(LogRow).c
_D = table_of(DeadLetterRow).c

# A list that says "more than this many" is as good as one that counts a million rows each time it moves.
MOST_COUNTED = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryFilter:
    """Conditions on a message; different ones combine with AND, values of one with OR, empty means "not given".

    ``text`` is looked for in ids, URLs, labels and bodies, but never in bodies that are redacted. Times are unix
    milliseconds of the message's making, inclusive.
    """

    states: tuple[State, ...] = ()
    url: str | None = None
    queue_name: str | None = None
    label: str | None = None
    schedule_id: str | None = None
    topic_name: str | None = None
    text: str | None = None
    from_at: int | None = None
    to_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One message in a list. ``due_at`` is ``None`` once it is finished."""

    seq: int
    id: str
    url: str
    method: str
    state: State
    created_at: int
    due_at: int | None
    finished_at: int | None
    retried: int
    max_retries: int
    queue_name: str | None
    schedule_id: str | None
    topic_name: str | None
    flow_key: str | None
    labels: tuple[str, ...]
    is_callback: bool
    is_of_run: bool
    """Whether it belongs to a workflow run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of a message's history, with what a live view shows of the message beside it."""

    seq: int
    time_at: int
    state: State
    retried: int
    next_delivery_at: int | None
    status: int | None
    error: str | None
    message_seq: int
    message_id: str
    url: str
    method: str
    created_at: int
    not_before_at: int
    max_retries: int
    queue_name: str | None
    schedule_id: str | None
    labels: tuple[str, ...]
    response: AttemptResult | None = None
    """The answer that failed an attempt, its body cut; only where it was asked for."""

    @property
    def entry(self) -> LogEntry:
        """The line of the history itself."""
        return LogEntry(
            message_seq=self.message_seq,
            time_at=self.time_at,
            state=self.state,
            retried=self.retried,
            next_delivery_at=self.next_delivery_at,
            error=self.error,
            response=self.response,
        )


_SUMMARY = (
    _M.seq, _M.id, _M.url, _M.method, _M.state, _M.created_at, _M.due_at, _M.finished_at, _M.retried,
    _M.max_retries, _M.queue_name, _M.schedule_id, _M.topic_name, _M.flow_key, _M.labels,
    _M.options_json.contains('"source":"', autoescape=True).label("is_callback"),
    _M.options_json.contains('"tag":[', autoescape=True).label("is_of_run"),
)  # fmt: skip
# As much of a body as words are made of.
_SHOWN_BYTES = 20_000
_FAILED_RESPONSE = (
    case((_L.state == State.ERROR.value, _L.response_headers_json)).label("response_headers_json"),
    case((_L.state == State.ERROR.value, func.substr(_L.response_body, 1, _SHOWN_BYTES))).label(
        "response_body"
    ),
)
_STEP = (
    _L.seq, _L.time_at, _L.state, _L.retried, _L.next_delivery_at, _L.response_status.label("status"), _L.error,
    _L.message_seq, _M.id.label("message_id"), _M.url, _M.method, _M.created_at, _M.not_before_at, _M.max_retries,
    _M.queue_name, _M.schedule_id, _M.labels,
)  # fmt: skip


def list_summaries(
    store: SqlStore,
    tenant_id: int,
    wanted: SummaryFilter,
    *,
    active: Collection[int],
    before_seq: int | None,
    count: int,
) -> tuple[list[Summary], bool]:
    """One page of messages, and whether more follow.

    ``active`` are the seqs whose attempts are under way: the store does not write that state down for each.
    """
    query = select(*_SUMMARY).where(*_conditions(store, tenant_id, wanted, active))
    if before_seq is not None:
        query = query.where(_M.seq < before_seq)
    with store.connect() as connection:
        rows = connection.execute(query.order_by(_M.seq.desc()).limit(count + 1)).mappings().all()
    return [_summary_of(row, active) for row in rows[:count]], len(rows) > count


def count_summaries(
    store: SqlStore, tenant_id: int, wanted: SummaryFilter, *, active: Collection[int]
) -> int:
    """How many messages match, at most ``MOST_COUNTED``."""
    matching = select(_M.seq).where(*_conditions(store, tenant_id, wanted, active)).limit(MOST_COUNTED)
    with store.connect() as connection:
        return connection.execute(select(func.count()).select_from(matching.subquery())).scalar_one()


def count_by_state(store: SqlStore, tenant_id: int, *, active: Collection[int]) -> dict[State, int]:
    """How many of the newest ``MOST_COUNTED`` messages are in each state."""
    newest = (
        select(_M.state)
        .where(_M.tenant_id == tenant_id)
        .order_by(_M.seq.desc())
        .limit(MOST_COUNTED)
        .subquery()
    )
    query = select(newest.c.state, func.count()).group_by(newest.c.state)
    with store.connect() as connection:
        counts = {State(state): count for state, count in connection.execute(query)}
        if active:
            resting = select(_M.state, func.count()).where(_M.seq.in_(_few(active))).group_by(_M.state)
            for state, count in connection.execute(resting):
                # One that is under way may be older than all that were counted.
                counts[State(state)] = max(0, counts.get(State(state), 0) - count)
                counts[State.ACTIVE] = counts.get(State.ACTIVE, 0) + count
    return counts


def list_steps(store: SqlStore, tenant_id: int, *, after_seq: int, count: int) -> list[Step]:
    """The lines of all histories behind ``after_seq``, in order, with the answers that failed an attempt."""
    query = _steps(tenant_id, *_FAILED_RESPONSE).where(_L.seq > after_seq).order_by(_L.seq)
    with store.connect() as connection:
        return [_step_of(row) for row in connection.execute(query.limit(count)).mappings()]


def latest_steps(store: SqlStore, tenant_id: int, *, since_at: int, count: int) -> list[Step]:
    """The newest ``count`` lines of all histories that are not older than ``since_at``, in order."""
    query = _steps(tenant_id).order_by(_L.seq.desc())
    with store.connect() as connection:
        newest = [_step_of(row) for row in connection.execute(query.limit(count)).mappings()]
    return [step for step in reversed(newest) if step.time_at >= since_at]


def steps_of(store: SqlStore, message_seq: int) -> list[RowMapping]:
    """All rows of one message's history, in order, responses included."""
    query = select(table_of(LogRow)).where(_L.message_seq == message_seq).order_by(_L.seq)
    with store.connect() as connection:
        return list(connection.execute(query).mappings())


def last_attempts(store: SqlStore, message_seqs: Collection[int]) -> dict[int, LogEntry]:
    """By message, the line that its last ended attempt left, the answer's body cut; without those that have none."""
    ended = (
        select(func.max(_L.seq).label("seq"))
        .where(
            _L.message_seq.in_(sorted(message_seqs)), _L.state.in_((State.ERROR.value, State.DELIVERED.value))
        )
        .group_by(_L.message_seq)
        .subquery()
    )
    columns = [column for column in _L if column.name != "response_body"]
    body = func.substr(_L.response_body, 1, _SHOWN_BYTES).label("response_body")
    query = select(*columns, body).join(ended, ended.c.seq == _L.seq)
    with store.connect() as connection:
        rows = connection.execute(query).mappings().all()
    # SQLite makes nothing of a part of an empty body.
    return {
        row["message_seq"]: log_entry_of({**row, "response_body": row["response_body"] or b""})
        for row in rows
    }


def last_step_seq(store: SqlStore, tenant_id: int) -> int:
    """The seq of the newest line; 0 if there is none."""
    with store.connect() as connection:
        query = select(_L.seq).where(_L.tenant_id == tenant_id).order_by(_L.seq.desc()).limit(1)
        return connection.execute(query).scalar() or 0


def callbacks_of(
    store: SqlStore, tenant_id: int, seq: int, message_id: str, *, active: Collection[int]
) -> list[Summary]:
    """The messages that report a message's attempts, oldest first, at most a hundred."""
    names_it = _M.options_json.contains(f'"source":"{message_id}"', autoescape=True)
    query = select(*_SUMMARY).where(_M.tenant_id == tenant_id, _M.seq > seq, names_it)
    with store.connect() as connection:
        return [
            _summary_of(row, active)
            for row in connection.execute(query.order_by(_M.seq).limit(100)).mappings()
        ]


def find_summary(
    store: SqlStore, tenant_id: int, message_id: str, *, active: Collection[int]
) -> Summary | None:
    """One message by its public id."""
    query = select(*_SUMMARY).where(_M.tenant_id == tenant_id, _M.id == message_id)
    with store.connect() as connection:
        row = connection.execute(query).mappings().first()
    return None if row is None else _summary_of(row, active)


def siblings_of(
    store: SqlStore, tenant_id: int, seq: int, topic_name: str, created_at: int, *, active: Collection[int]
) -> list[Summary]:
    """The other messages of one publish to a URL group."""
    nearby = _M.seq.between(seq - 1_000, seq + 1_000)
    query = select(*_SUMMARY).where(
        _M.tenant_id == tenant_id,
        nearby,
        _M.topic_name == topic_name,
        _M.created_at == created_at,
        _M.seq != seq,
    )
    with store.connect() as connection:
        return [_summary_of(row, active) for row in connection.execute(query.order_by(_M.seq)).mappings()]


def dlq_id_of(store: SqlStore, tenant_id: int, seq: int) -> str | None:
    """The message's entry in the dead letter queue, if it is there."""
    query = select(_D.dlq_id).where(_D.tenant_id == tenant_id, _D.message_seq == seq)
    with store.connect() as connection:
        found: str | None = connection.execute(query).scalar()
    return found


def count_dead_letters(store: SqlStore, tenant_id: int) -> int:
    """How many entries the dead letter queue has."""
    with store.connect() as connection:
        query = select(func.count()).select_from(table_of(DeadLetterRow)).where(_D.tenant_id == tenant_id)
        return connection.execute(query).scalar_one()


def _steps(tenant_id: int, *more: ColumnElement[Any]) -> Select[Any]:
    return (
        select(*_STEP, *more)
        .join_from(table_of(LogRow), table_of(MessageRow), _M.seq == _L.message_seq)
        .where(_L.tenant_id == tenant_id)
    )


def _conditions(
    store: SqlStore, tenant_id: int, wanted: SummaryFilter, active: Collection[int]
) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [_M.tenant_id == tenant_id]
    equal = (
        (_M.queue_name, wanted.queue_name),
        (_M.schedule_id, wanted.schedule_id),
        (_M.topic_name, wanted.topic_name),
    )
    conditions += [column == value for column, value in equal if value is not None]
    if wanted.states:
        conditions.append(_in_state(wanted.states, active))
    if wanted.url is not None:
        conditions.append(_M.url.contains(wanted.url, autoescape=True))
    if wanted.label is not None:
        conditions.append(_M.labels.contains(f",{wanted.label},", autoescape=True))
    if wanted.text is not None:
        conditions.append(_has_text(store, wanted.text))
    if wanted.from_at is not None:
        conditions.append(_M.created_at >= wanted.from_at)
    if wanted.to_at is not None:
        conditions.append(_M.created_at <= wanted.to_at)
    return conditions


def _in_state(states: Sequence[State], active: Collection[int]) -> ColumnElement[bool]:
    is_active = _M.seq.in_(_few(active))
    alternatives: list[ColumnElement[bool]] = []
    for state in states:
        if state is State.ACTIVE:
            alternatives.append(is_active)
        elif state in PENDING_STATES:
            alternatives.append(and_(_M.state == state.value, not_(is_active)))
        else:
            alternatives.append(_M.state == state.value)
    return reduce(or_, alternatives)


def _has_text(store: SqlStore, text: str) -> ColumnElement[bool]:
    in_columns = [column.contains(text, autoescape=True) for column in (_M.id, _M.url, _M.labels)]
    sought = text.encode("utf-8", "replace")
    if store.engine.dialect.name == "sqlite":
        in_body = func.instr(_B.body, sought) > 0
    else:
        from sqlalchemy.dialects.postgresql import BYTEA  # slow to import; only who uses PostgreSQL pays

        in_body = func.position(literal(sought, BYTEA).op("IN")(_B.body)) > 0
    is_open = or_(_M.options_json.is_(None), not_(_M.options_json.contains('"redact":', autoescape=True)))
    matching = select(_B.seq).where(_B.seq == _M.body_seq, in_body).correlate(table_of(MessageRow)).exists()
    return or_(*in_columns, and_(is_open, matching))


def _few(active: Collection[int]) -> list[int]:
    """At most as many as one statement takes."""
    return sorted(active)[-10_000:]


def _summary_of(row: RowMapping, active: Collection[int]) -> Summary:
    return Summary(
        **{
            **row,
            "state": State.ACTIVE if row["seq"] in active else State(row["state"]),
            "labels": load_labels(row["labels"]),
            "is_callback": bool(row["is_callback"]),
            "is_of_run": bool(row["is_of_run"]),
        }
    )


def _step_of(row: RowMapping) -> Step:
    fields = {**row, "state": State(row["state"]), "labels": load_labels(row["labels"])}
    headers, body = fields.pop("response_headers_json", None), fields.pop("response_body", None)
    if headers is not None and fields["status"] is not None:
        error = fields["error"] if fields["status"] == 0 else None
        fields["response"] = AttemptResult(
            status=fields["status"], headers=load_headers(headers), body=body or b"", error=error
        )
    return Step(**fields)
