"""The store on SQLite or PostgreSQL, through SQLAlchemy Core.

Everything here is synchronous and runs on one thread at a time; ``emulator.store.writer`` decides which.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Table,
    bindparam,
    create_engine,
    delete,
    event,
    func,
    insert,
    null,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool
from sqlmodel import SQLModel

from emulator.broker.writes import Cleared, Write
from emulator.errors import EmulatorError, StoreUnavailable
from emulator.store.batch import Batch, EntityTable
from emulator.store.mapping import Row
from emulator.store.prepared import Prepared
from emulator.store.tables import (
    TABLES,
    BodyRow,
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
from emulator.store.workflow_tables import WORKFLOW_TABLES, EventRow, RunRow, WaiterRow

__all__ = ["MEMORY_URL", "SqlStore", "TenantWrites", "table_of"]

MEMORY_URL = "sqlite://"

TenantWrites = tuple[int, Sequence[Write]]


_STATE: tuple[type[SQLModel], ...] = (*TABLES, *WORKFLOW_TABLES)

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

_NAME_COLUMN: dict[EntityTable, str] = {
    QueueRow: "name", UrlGroupRow: "name", ScheduleRow: "id", FlowKeyRow: "key",
}  # fmt: skip


class SqlStore:
    """Tables in one database. Raises StoreUnavailable with the database's own words when it refuses."""

    def __init__(self, url: str = MEMORY_URL) -> None:
        """``url`` is any SQLAlchemy URL of SQLite or PostgreSQL; the default keeps everything in memory."""
        self.engine = _create_engine(url)
        self.is_memory = self.engine.dialect.name == "sqlite" and self.engine.url.database in (
            None,
            ":memory:",
        )
        self._add_bodies, self._add_messages, self._add_logs, self._reschedule, self._finish = (
            Prepared(statement, self.engine.dialect)
            for statement in (
                insert(table_of(BodyRow)), insert(_MESSAGES), _ADD_LOG, _RESCHEDULE, _FINISH,
            )
        )  # fmt: skip
        self._upserts = {
            model: self._upsert(table_of(model))
            for model in (QueueRow, UrlGroupRow, ScheduleRow, FlowKeyRow, DeduplicationRow, RunRow)
        }
        with self._translating("open the store"):
            SQLModel.metadata.create_all(self.engine, tables=[_TENANTS, *map(table_of, _STATE)])

    @property
    def description(self) -> str:
        """What the store is, without credentials: ``memory``, a file's path, or a URL."""
        if self.is_memory:
            return "memory"
        if self.engine.dialect.name == "sqlite":
            return str(self.engine.url.database)
        return self.engine.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection for reading."""
        with self._translating("read"), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A connection in a transaction."""
        with self._translating("write"), self.engine.begin() as connection:
            yield connection

    def next_seq(self) -> int:
        """One more than the largest sequence number in use."""
        with self.connect() as connection:
            largest = [
                connection.execute(select(func.max(table.c.seq))).scalar() or 0
                for table in (_MESSAGES, *(table_of(model) for model in _NUMBERED))
            ]
        return max(largest) + 1

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
        for prepared, rows in (
            (self._add_bodies, batch.bodies),
            (self._add_messages, batch.messages),
            (self._reschedule, batch.rescheduled),
            (self._finish, batch.finished),
            (self._add_logs, batch.logs),
        ):
            if rows:
                prepared.execute(connection, rows)
        for statement, rows in (
            (_NOTE_CANCEL, batch.cancel_noted),
            (insert(_DEAD_LETTERS), batch.dead_letters),
            (_REMOVE_DEAD_LETTER, batch.removed_dead_letters),
            (self._upserts[DeduplicationRow], list(batch.deduplications.values())),
            (_ROTATE, list(batch.keys.values())),
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
        for table in map(table_of, _STATE):
            connection.execute(delete(table).where(table.c.tenant_id == tenant_id))

    def _upsert(self, table: Table) -> Any:
        dialect = sqlite if self.engine.dialect.name == "sqlite" else postgresql
        statement = dialect.insert(table)
        keys = [column.name for column in table.primary_key]
        changed = {
            column.name: statement.excluded[column.name] for column in table.c if column.name not in keys
        }
        return statement.on_conflict_do_update(index_elements=keys, set_=changed)

    @contextmanager
    def _translating(self, verb: str) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise StoreUnavailable(f"cannot {verb}: {cause}") from error


def _create_engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    name = parsed.get_backend_name()
    if name not in ("sqlite", "postgresql"):
        raise EmulatorError(f"cannot use {name!r} as a store: SQLite and PostgreSQL are supported")
    if name == "postgresql":
        return create_engine(parsed, pool_pre_ping=True)
    if parsed.database in (None, "", ":memory:"):
        return create_engine(parsed, poolclass=StaticPool, connect_args={"check_same_thread": False})
    engine = create_engine(parsed, connect_args={"timeout": 30})
    event.listen(engine, "connect", _tune_sqlite)
    return engine


def _tune_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in (
        "journal_mode = WAL",
        # Every commit reaches the disk; grouped commits make that cheap.
        "synchronous = FULL",
        "cache_size = -65536",
        "wal_autocheckpoint = 4000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
