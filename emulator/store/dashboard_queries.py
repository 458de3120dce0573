"""Queries of the dashboard: short rows of many messages, without bodies and headers, newest first."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, literal, not_, or_, select

from emulator.broker.message import AttemptResult, LogEntry, State
from emulator.broker.transitions import PENDING_STATES
from emulator.store.codec import Reading, together
from emulator.store.filters import Filter, Page
from emulator.store.lists import PENDING_MESSAGES, Listing, contains_any
from emulator.store.records import DEAD_LETTER, LOG, MESSAGE, load_labels, load_lines
from emulator.store.store import SqlStore
from emulator.store.tables import BodyRow, table_of

_M, _L, _D, _B = MESSAGE.table.c, LOG.table.c, DEAD_LETTER.table.c, table_of(BodyRow).c

# Beyond this number a list says "more than": counting a million rows at each change would be slow.
MOST_COUNTED = 100_000


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
class HistoryStep:
    """One line of a message's history, with the message's fields that a live view shows."""

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
    """The answer to a failed attempt, its body cut; only if requested."""

    @property
    def entry(self) -> LogEntry:
        """Return the line of the history itself."""
        return LogEntry(
            message_seq=self.message_seq,
            time_at=self.time_at,
            state=self.state,
            retried=self.retried,
            next_delivery_at=self.next_delivery_at,
            error=self.error,
            response=self.response,
        )


# Summaries

_PLAIN = [
    one.name for one in fields(Summary) if one.name not in ("state", "labels", "is_callback", "is_of_run")
]
_IS_CALLBACK = _M.options_json.contains('"source":"', autoescape=True).label("is_callback")
_IS_OF_RUN = _M.options_json.contains('"tag":[', autoescape=True).label("is_of_run")


def summaries(active: Collection[int]) -> Listing[Summary]:
    """Return the list of all messages.

    ``active`` are the seqs with attempts under way, a state that the store does not record.
    """

    def make(plain: Sequence[Any], state: str, labels: str | None, *flags: object) -> Summary:
        made = dict(zip(_PLAIN, plain, strict=True))
        return Summary(
            **made,
            state=State.ACTIVE if made["seq"] in active else State(state),
            labels=load_labels(labels),
            is_callback=bool(flags[0]),
            is_of_run=bool(flags[1]),
        )

    plain = Reading(tuple(_M[name] for name in _PLAIN), tuple)
    return Listing(
        reading=together(make, plain, _M.state, _M.labels, _IS_CALLBACK, _IS_OF_RUN),
        rows=MESSAGE.table,
        tenant_id=_M.tenant_id,
        criteria={
            **PENDING_MESSAGES.criteria,
            "url_parts": contains_any(_M.url),
            "texts": _has_text,
            "states": lambda _store, states: _in_state(states, active),
        },
        at=_M.created_at,
        seq=_M.seq,
        is_by_seq=True,
    )


def count_by_state(store: SqlStore, tenant_id: int, *, active: Collection[int]) -> dict[State, int]:
    """Return how many of the newest ``MOST_COUNTED`` messages are in each state."""
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
                # A message under way may be older than all counted ones.
                counts[State(state)] = max(0, counts.get(State(state), 0) - count)
                counts[State.ACTIVE] = counts.get(State.ACTIVE, 0) + count
    return counts


def callbacks_of(
    store: SqlStore, tenant_id: int, seq: int, message_id: str, *, active: Collection[int]
) -> list[Summary]:
    """Return the messages that report a message's attempts, oldest first, at most a hundred."""
    names_it = _M.options_json.contains(f'"source":"{message_id}"', autoescape=True)
    page = Page(count=100, order="earliestFirst")
    return summaries(active).page(store, tenant_id, Filter(), page, _M.seq > seq, names_it).items


def find_summary(
    store: SqlStore, tenant_id: int, message_id: str, *, active: Collection[int]
) -> Summary | None:
    """Return one message by its public id."""
    return next(iter(summaries(active).all(store, tenant_id, Filter(message_ids=(message_id,)))), None)


def siblings_of(
    store: SqlStore, tenant_id: int, seq: int, topic_name: str, created_at: int, *, active: Collection[int]
) -> list[Summary]:
    """Return the other messages of one publish to a URL group."""
    wanted = Filter(topic_names=(topic_name,), from_at=created_at, to_at=created_at)
    nearby = _M.seq.between(seq - 1_000, seq + 1_000)
    return summaries(active).all(store, tenant_id, wanted, nearby, _M.seq != seq)


def count_dead_letters(store: SqlStore, tenant_id: int) -> int:
    """Return the number of entries in the dead letter queue."""
    with store.connect() as connection:
        query = select(func.count()).select_from(DEAD_LETTER.table).where(_D.tenant_id == tenant_id)
        return connection.execute(query).scalar_one()


def dlq_id_of(store: SqlStore, tenant_id: int, seq: int) -> str | None:
    """Return the id of the message's entry in the dead letter queue, or ``None``."""
    query = select(_D.dlq_id).where(_D.tenant_id == tenant_id, _D.message_seq == seq)
    with store.connect() as connection:
        found: str | None = connection.execute(query).scalar()
    return found


def _in_state(states: Sequence[str], active: Collection[int]) -> ColumnElement[bool]:
    is_active = _M.seq.in_(_few(active))
    alternatives: list[ColumnElement[bool]] = []
    for state in states:
        if state == State.ACTIVE:
            alternatives.append(is_active)
        elif state in PENDING_STATES:
            alternatives.append(and_(_M.state == str(state), not_(is_active)))
        else:
            alternatives.append(_M.state == str(state))
    return reduce(or_, alternatives)


def _has_text(store: SqlStore, texts: Sequence[str]) -> ColumnElement[bool]:
    in_columns = contains_any(_M.id, _M.url, _M.labels)(store, texts)
    is_open = or_(_M.options_json.is_(None), not_(_M.options_json.contains('"redact":', autoescape=True)))
    in_body = or_(*(_is_in_body(store, text.encode("utf-8", "replace")) for text in texts))
    matching = select(_B.seq).where(_B.seq == _M.body_seq, in_body).correlate(MESSAGE.table).exists()
    return or_(in_columns, and_(is_open, matching))


def _is_in_body(store: SqlStore, sought: bytes) -> ColumnElement[bool]:
    if store.engine.dialect.name == "sqlite":
        return func.instr(_B.body, sought) > 0
    from sqlalchemy.dialects.postgresql import BYTEA  # slow to import, and needed for PostgreSQL only

    return func.position(literal(sought, BYTEA).op("IN")(_B.body)) > 0


def _few(active: Collection[int]) -> list[int]:
    """Return at most as many as one statement can bind."""
    return sorted(active)[-10_000:]


# Steps of histories

# The part of a body that texts are made from.
_SHOWN_BYTES = 20_000
# SQLite returns NULL for a part of an empty body.
_CUT_BODY = func.coalesce(func.substr(_L.response_body, 1, _SHOWN_BYTES), literal(b""))
_CUT_LOG = replace(
    LOG.reading,
    columns=tuple(_CUT_BODY if one is _L.response_body else one for one in LOG.reading.columns),
)
_STEP = (
    _L.seq, _L.time_at, _L.state, _L.retried, _L.next_delivery_at, _L.response_status.label("status"), _L.error,
    _L.message_seq, _M.id.label("message_id"), _M.url, _M.method, _M.created_at, _M.not_before_at, _M.max_retries,
    _M.queue_name, _M.schedule_id, _M.labels,
)  # fmt: skip
_STEP_NAMES = [str(one.key) for one in _STEP]


def _step(values: Sequence[Any]) -> HistoryStep:
    made = dict(zip(_STEP_NAMES, values, strict=True))
    made["state"], made["labels"] = State(made["state"]), load_labels(made["labels"])
    return HistoryStep(**made)


def _with_answer(step: HistoryStep, lines: str | None, body: bytes | None) -> HistoryStep:
    if lines is None or step.status is None:
        return step
    error = step.error if step.status == 0 else None
    return replace(
        step,
        response=AttemptResult(status=step.status, headers=load_lines(lines), body=body or b"", error=error),
    )


_STEPS = Reading(_STEP, _step)
_STEPS_WITH_ANSWERS = together(
    _with_answer,
    _STEPS,
    case((_L.state == State.ERROR.value, _L.response_headers_json)).label("lines"),
    case((_L.state == State.ERROR.value, func.substr(_L.response_body, 1, _SHOWN_BYTES))).label("body"),
)


def _select_steps(reading: Reading[HistoryStep], tenant_id: int) -> Select[Any]:
    rows = LOG.table.join(MESSAGE.table, _M.seq == _L.message_seq)
    return select(*reading.columns).select_from(rows).where(_L.tenant_id == tenant_id)


def list_steps(store: SqlStore, tenant_id: int, *, after_seq: int, count: int) -> list[HistoryStep]:
    """Return the lines of all histories behind ``after_seq``, in order, with the answers of failed attempts."""
    query = _select_steps(_STEPS_WITH_ANSWERS, tenant_id).where(_L.seq > after_seq)
    return store.read(_STEPS_WITH_ANSWERS, query.order_by(_L.seq).limit(count))


def latest_steps(store: SqlStore, tenant_id: int, *, since_at: int, count: int) -> list[HistoryStep]:
    """Return the newest ``count`` lines of all histories that are not older than ``since_at``, in order."""
    newest = _select_steps(_STEPS, tenant_id).order_by(_L.seq.desc()).limit(count)
    return [step for step in reversed(store.read(_STEPS, newest)) if step.time_at >= since_at]


def history_of(store: SqlStore, message_seq: int) -> list[LogEntry]:
    """Return one message's history, in order, responses included."""
    query = select(*LOG.reading.columns).where(_L.message_seq == message_seq).order_by(_L.seq)
    return store.read(LOG.reading, query)


def last_attempts(store: SqlStore, message_seqs: Collection[int]) -> dict[int, LogEntry]:
    """Return by message the log line of its last ended attempt, the answer's body cut; only for those with one."""
    ended = (
        select(func.max(_L.seq))
        .where(
            _L.message_seq.in_(sorted(message_seqs)), _L.state.in_((State.ERROR.value, State.DELIVERED.value))
        )
        .group_by(_L.message_seq)
    )
    query = select(*_CUT_LOG.columns).where(_L.seq.in_(ended.scalar_subquery()))
    return {entry.message_seq: entry for entry in store.read(_CUT_LOG, query)}


def last_step_seq(store: SqlStore, tenant_id: int) -> int:
    """Return the seq of the newest line, or 0."""
    with store.connect() as connection:
        query = select(_L.seq).where(_L.tenant_id == tenant_id).order_by(_L.seq.desc()).limit(1)
        return connection.execute(query).scalar() or 0
