"""The store on SQLite or PostgreSQL, through SQLAlchemy Core.

Everything here is synchronous and runs on one thread at a time; ``emulator.store.writer`` decides which.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Table,
    bindparam,
    delete,
    event,
    false,
    func,
    insert,
    null,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import SQLModel

from emulator.broker.writes import Cleared, Write
from emulator.errors import StoreLost, StoreUnavailable
from emulator.store.batch import Batch, EntityTable
from emulator.store.compiled_statements import Prepared, PreparedInsert, PreparedQuery, PreparedSelect
from emulator.store.database_file import DatabaseFile, file_of
from emulator.store.engines import MEMORY_URL, is_memory_url, memory_engine, open_engine
from emulator.store.exclusive_lock import claim
from emulator.store.mapping import Row
from emulator.store.schema import STATE_TABLES, bring_up_to_date
from emulator.store.tables import (
    BodyRow,
    BulkActionRow,
    DeadLetterRow,
    DeduplicationRow,
    FlowKeyRow,
    LogRow,
    MessageRow,
    QueueRow,
    ScheduleRow,
    TenantRow,
    UrlGroupRow,
    table_of,
)
from emulator.store.workflow_tables import EntryRow, EventRow, RunRow, WaiterRow
from emulator.wire.workflow import CallType

__all__ = ["MEMORY_URL", "STATE_TABLES", "SqlStore", "TenantWrites", "table_of"]

TenantWrites = tuple[int, Sequence[Write]]


# Whose rows are numbered from the one sequence, beside messages.
_NUMBERED: tuple[type[SQLModel], ...] = (BodyRow, RunRow, WaiterRow, EventRow)

_MESSAGES = table_of(MessageRow)
_DEAD_LETTERS = table_of(DeadLetterRow)
_TENANTS = table_of(TenantRow)

_RESCHEDULE = (
    update(_MESSAGES)
    .where(_MESSAGES.c.seq == bindparam("key"))
    .values(state=bindparam("new_state"), due_at=bindparam("new_due_at"), retried=bindparam("new_retried"))
)
_NOTE_CANCEL = update(_MESSAGES).where(_MESSAGES.c.seq == bindparam("key")).values(is_cancel_requested=True)
_FINISH = (
    update(_MESSAGES)
    .where(_MESSAGES.c.seq == bindparam("key"))
    .values(
        state=bindparam("new_state"),
        due_at=null(),
        retried=bindparam("new_retried"),
        finished_at=bindparam("new_finished_at"),
    )
)
# Entries are numbered by the database.
_ADD_LOG = insert(table_of(LogRow)).values(
    {column.name: bindparam(column.name) for column in table_of(LogRow).c if column.name != "seq"}
)
_REMOVE_DEAD_LETTER = delete(_DEAD_LETTERS).where(
    _DEAD_LETTERS.c.tenant_id == bindparam("key"), _DEAD_LETTERS.c.dlq_id == bindparam("key_dlq_id")
)
_ROTATE = (
    update(_TENANTS)
    .where(_TENANTS.c.id == bindparam("key"))
    .values(current_key=bindparam("new_current_key"), next_key=bindparam("new_next_key"))
)
_TURN_CLOCK = (
    update(_TENANTS).where(_TENANTS.c.id == bindparam("key")).values(clock_at=bindparam("new_clock_at"))
)

_ENTRIES = table_of(EntryRow)
_STEPS = (
    select(_ENTRIES)
    .where(_ENTRIES.c.run_seq == bindparam("run"))
    .where(_ENTRIES.c.position > bindparam("behind"), _ENTRIES.c.position <= bindparam("last"))
    .where(_ENTRIES.c.call_type == bindparam("type"))
    .order_by(_ENTRIES.c.position)
)

_NAME_COLUMN: dict[EntityTable, str] = {
    QueueRow: "name", UrlGroupRow: "name", ScheduleRow: "id", FlowKeyRow: "key",
    BulkActionRow: "id",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _HotStatements:
    """What every message needs, and every step of a workflow run."""

    add_bodies: PreparedInsert
    add_messages: PreparedInsert
    add_logs: PreparedInsert
    reschedule: Prepared
    finish: Prepared
    for_delivery: PreparedSelect
    add_entries: PreparedInsert
    steps: PreparedQuery


@cache
def _hot_statements(dialect_name: str) -> _HotStatements:
    bodies = table_of(BodyRow)
    with_body = select(_MESSAGES, bodies.c.body).join_from(
        _MESSAGES, bodies, bodies.c.seq == _MESSAGES.c.body_seq, isouter=True
    )
    return _HotStatements(
        add_bodies=PreparedInsert(insert(bodies), dialect_name),
        add_messages=PreparedInsert(insert(_MESSAGES), dialect_name),
        add_logs=PreparedInsert(_ADD_LOG, dialect_name),
        reschedule=Prepared(_RESCHEDULE, dialect_name),
        finish=Prepared(_FINISH, dialect_name),
        for_delivery=PreparedSelect(with_body, _MESSAGES.c.seq, dialect_name),
        add_entries=PreparedInsert(insert(_ENTRIES), dialect_name),
        steps=PreparedQuery(_STEPS, dialect_name),
    )


@cache
def _upserts(dialect_name: str) -> dict[type[SQLModel], Any]:
    models = (QueueRow, UrlGroupRow, ScheduleRow, FlowKeyRow, BulkActionRow, DeduplicationRow, RunRow)
    return {model: _upsert(table_of(model), dialect_name) for model in models}


def _upsert(table: Table, dialect_name: str) -> Any:
    # The dialect in use alone: PostgreSQL's takes a while to import.
    statement = import_module(f"sqlalchemy.dialects.{dialect_name}").insert(table)
    keys = [column.name for column in table.primary_key]
    changed = {column.name: statement.excluded[column.name] for column in table.c if column.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=changed)


def _ready_engine(url: str) -> Engine:
    """An engine whose database has the newest tables. Raises EmulatorError, or what the database says."""
    engine = open_engine(url)
    try:
        bring_up_to_date(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


class SqlStore:
    """Tables in one database. Raises StoreUnavailable with the database's own words when it refuses."""

    def __init__(self, url: str = MEMORY_URL) -> None:
        """``url`` is any SQLAlchemy URL of SQLite or PostgreSQL; the default keeps everything in memory."""
        self.is_memory: bool = is_memory_url(url)
        self._refusals: tuple[type[Exception], ...] = (SQLAlchemyError,)
        with self._translating("open the store"):
            self.engine: Engine = memory_engine(bring_up_to_date) if self.is_memory else _ready_engine(url)
        driver: Any = self.engine.dialect.loaded_dbapi
        self._refusals = (SQLAlchemyError, driver.Error)
        self._hot = _hot_statements(self.engine.dialect.name)
        self._upserts = _upserts(self.engine.dialect.name)
        self._connection: Connection | None = None
        self._release: Callable[[], None] | None = None
        self._file: DatabaseFile | None = None

    @property
    def description(self) -> str:
        """What the store is, without credentials: ``memory``, a file's path, or a URL."""
        if self.is_memory:
            return "memory"
        if self.engine.dialect.name == "sqlite":
            return str(self.engine.url.database)
        return self.engine.url.render_as_string(hide_password=True)

    def check_writable(self) -> None:
        """Raise StoreUnavailable if this can only be read: better now than with the first message."""
        if self.engine.dialect.name == "sqlite" and not self.is_memory:
            with self._translating("write to the store"), self.engine.connect() as connection:
                # BEGIN IMMEDIATE is content with reading where nothing can be written.
                connection.execute(update(_TENANTS).where(false()).values(name=_TENANTS.c.name))
                connection.rollback()

    def claim(self) -> None:
        """Be the only one at work on this database until it is closed. Raises StoreUnavailable if another is."""
        if not self.is_memory:
            with self._translating("open the store"):
                file = file_of(self.engine)
                self._release = claim(self.engine, file)
            self._watch(file)

    def _watch(self, file: DatabaseFile | None) -> None:
        self._file = file
        # A new connection would make an empty file of that name.
        event.listen(self.engine, "do_connect", lambda *_: self._check_file())

    def loss(self) -> str | None:
        """What became of the database's file, if it is not there any more, or another one is."""
        return None if self._file is None else self._file.loss()

    def _check_file(self) -> None:
        if (loss := self.loss()) is not None:
            raise StoreLost(loss)

    def close(self) -> None:
        """Close all connections, and let go of the claim; once more does no harm."""
        if self._connection is not None:
            self._connection.close()
        release, self._release = self._release, None
        if release is not None:
            release()
        self.engine.dispose()

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection for reading."""
        if self.is_memory:
            # There is but one; what it read is let go of as a pool would.
            with self._translating("read"):
                try:
                    yield self._only_connection()
                finally:
                    self._only_connection().rollback()
            return
        with self._translating("read"), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A connection in a transaction."""
        self._check_file()
        with self._translating("write"):
            connection = self._only_connection()
            try:
                with connection.begin():
                    yield connection
            except BaseException:
                self._let_go_of(connection)
                raise
        # What was committed to a file that nobody finds again is not kept.
        self._check_file()

    def _only_connection(self) -> Connection:
        """The one that writes, kept open: there is one writer."""
        if self._connection is None:
            self._connection = self.engine.connect()
        return self._connection

    def _let_go_of(self, connection: Connection) -> None:
        """Begin anew with a fresh connection: this one may be broken, and the hot statements go past SQLAlchemy."""
        if not self.is_memory:
            self._connection = None
            connection.invalidate()
            connection.close()

    def next_seq(self) -> int:
        """One more than the largest sequence number in use."""
        with self.connect() as connection:
            largest = [
                connection.execute(select(func.max(table.c.seq))).scalar() or 0
                for table in (_MESSAGES, *(table_of(model) for model in _NUMBERED))
            ]
        return max(largest) + 1

    def select_for_delivery(self, connection: Connection, seqs: Sequence[int]) -> Iterator[Row]:
        """Message rows, each with its ``body``, of the messages numbered ``seqs``."""
        return self._hot.for_delivery.rows(connection, seqs)

    def select_steps(self, connection: Connection, run_seq: int, *, behind: int, last: int) -> list[Row]:
        """The rows of a workflow run's steps behind one position and up to another, in order."""
        wanted = {"run": run_seq, "behind": behind, "last": last, "type": CallType.STEP.value}
        return self._hot.steps.rows(connection, wanted)

    def apply(self, work: Iterable[TenantWrites]) -> None:
        """Carry out writes in order, in one transaction: all of them are durable afterwards, or none."""
        with self.begin() as connection:
            batch = Batch()
            for tenant_id, writes in work:
                for write in writes:
                    if isinstance(write, Cleared):
                        self._flush(connection, batch)
                        batch = Batch()
                        self._clear(connection, tenant_id)
                    else:
                        batch.add(tenant_id, write)
            self._flush(connection, batch)

    def _flush(self, connection: Connection, batch: Batch) -> None:
        hot = self._hot
        for prepared, rows in (
            (hot.add_bodies, batch.bodies),
            (hot.add_messages, batch.messages),
            (hot.reschedule, batch.rescheduled),
            (hot.finish, batch.finished),
            (hot.add_logs, batch.logs),
            (hot.add_entries, batch.workflows.entries),
        ):
            if rows:
                prepared.execute(connection, rows)
        for statement, rows in (
            (_NOTE_CANCEL, batch.cancel_noted),
            (insert(_DEAD_LETTERS), batch.dead_letters),
            (_REMOVE_DEAD_LETTER, batch.removed_dead_letters),
            (self._upserts[DeduplicationRow], list(batch.deduplications.values())),
            (_ROTATE, list(batch.keys.values())),
            (_TURN_CLOCK, list(batch.clocks.values())),
        ):
            if rows:
                connection.execute(statement, rows)
        self._flush_entities(connection, batch)
        batch.workflows.flush(connection, self._upserts[RunRow])

    def _flush_entities(self, connection: Connection, batch: Batch) -> None:
        saved: dict[EntityTable, list[Row]] = {}
        for (model, tenant_id, name), row in batch.entities.items():
            if row is not None:
                saved.setdefault(model, []).append(row)
                continue
            table = table_of(model)
            name_column = table.c[_NAME_COLUMN[model]]
            connection.execute(delete(table).where(table.c.tenant_id == tenant_id, name_column == name))
        for model, rows in saved.items():
            connection.execute(self._upserts[model], rows)

    def _clear(self, connection: Connection, tenant_id: int) -> None:
        for table in map(table_of, STATE_TABLES):
            connection.execute(delete(table).where(table.c.tenant_id == tenant_id))

    @contextmanager
    def _translating(self, verb: str) -> Iterator[None]:
        try:
            yield
        except self._refusals as error:
            cause = getattr(error, "orig", None) or error
            raise StoreUnavailable(f"cannot {verb}: {cause}") from error
