"""The store on SQLite or PostgreSQL, through SQLAlchemy Core.

Everything here is synchronous and runs on one thread at a time; ``emulator.store.writer`` chooses the thread.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Select, delete, event, false, func, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import SQLModel

from emulator.broker.writes import Cleared, Write
from emulator.errors import StoreLost, StoreUnavailable
from emulator.store.batch import Batch
from emulator.store.codec import Reading
from emulator.store.database_file import DatabaseFile, file_of
from emulator.store.engines import MEMORY_URL, is_memory_url, memory_engine, open_engine
from emulator.store.exclusive_lock import claim
from emulator.store.schema import STATE_TABLES, bring_up_to_date
from emulator.store.tables import BodyRow, MessageRow, TenantRow, table_of
from emulator.store.workflow_tables import EventRow, RunRow, WaiterRow

__all__ = ["MEMORY_URL", "STATE_TABLES", "SqlStore", "TenantWrites", "table_of"]

T = TypeVar("T")

TenantWrites = tuple[int, Sequence[Write]]


# The tables, beside messages, whose rows are numbered from the one sequence.
_NUMBERED: tuple[type[SQLModel], ...] = (MessageRow, BodyRow, RunRow, WaiterRow, EventRow)

_TENANTS = table_of(TenantRow)


def _ready_engine(url: str) -> Engine:
    """Return an engine whose database has the newest tables. Raises EmulatorError, or the database's error."""
    engine = open_engine(url)
    try:
        bring_up_to_date(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


class SqlStore:
    """Tables in one database. Raises StoreUnavailable with the database's error text when it refuses."""

    def __init__(self, url: str = MEMORY_URL) -> None:
        """``url`` is any SQLAlchemy URL of SQLite or PostgreSQL; the default keeps everything in memory."""
        self.is_memory: bool = is_memory_url(url)
        self._refusals: tuple[type[Exception], ...] = (SQLAlchemyError,)
        with self._translating("open the store"):
            self.engine: Engine = memory_engine(bring_up_to_date) if self.is_memory else _ready_engine(url)
        driver: Any = self.engine.dialect.loaded_dbapi
        self._refusals = (SQLAlchemyError, driver.Error)
        self._connection: Connection | None = None
        self._release: Callable[[], None] | None = None
        self._file: DatabaseFile | None = None

    @property
    def description(self) -> str:
        """Return a description without credentials: ``memory``, a file's path, or a URL."""
        if self.is_memory:
            return "memory"
        if self.engine.dialect.name == "sqlite":
            return str(self.engine.url.database)
        return self.engine.url.render_as_string(hide_password=True)

    def check_writable(self) -> None:
        """Raise StoreUnavailable if the database is read-only, instead of at the first message."""
        if self.engine.dialect.name == "sqlite" and not self.is_memory:
            with self._translating("write to the store"), self.engine.connect() as connection:
                # BEGIN IMMEDIATE succeeds on a read-only database, so write something.
                connection.execute(update(_TENANTS).where(false()).values(name=_TENANTS.c.name))
                connection.rollback()

    def claim(self) -> None:
        """Lock the database for exclusive use until it is closed. Raises StoreUnavailable if another uses it."""
        if not self.is_memory:
            with self._translating("open the store"):
                file = file_of(self.engine)
                self._release = claim(self.engine, file)
            self._watch(file)

    def _watch(self, file: DatabaseFile | None) -> None:
        self._file = file
        # A new connection would create an empty file of that name.
        event.listen(self.engine, "do_connect", lambda *_: self._check_file())

    def loss(self) -> str | None:
        """Return what happened to the database's file if it was removed or replaced, else ``None``."""
        return None if self._file is None else self._file.loss()

    def _check_file(self) -> None:
        if (loss := self.loss()) is not None:
            raise StoreLost(loss)

    def close(self) -> None:
        """Close all connections and release the lock. Repeated calls have no effect."""
        if self._connection is not None:
            self._connection.close()
        release, self._release = self._release, None
        if release is not None:
            release()
        self.engine.dispose()

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Yield a connection for reading."""
        if self.is_memory:
            # There is only one connection; end its read transaction, as a pool would.
            with self._translating("read"):
                try:
                    yield self._only_connection()
                finally:
                    self._only_connection().rollback()
            return
        with self._translating("read"), self.engine.connect() as connection:
            yield connection

    def read(self, reading: Reading[T], query: Select[Any]) -> list[T]:
        """Return the results of ``query``, which selects the columns of ``reading``."""
        with self.connect() as connection:
            return [reading.make(row) for row in connection.execute(query)]

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Yield a connection in a transaction."""
        self._check_file()
        with self._translating("write"):
            connection = self._only_connection()
            try:
                with connection.begin():
                    yield connection
            except BaseException:
                self._let_go_of(connection)
                raise
        # A commit to a file that was removed meanwhile does not count as durable.
        self._check_file()

    def _only_connection(self) -> Connection:
        """Return the writer's connection, which stays open."""
        if self._connection is None:
            self._connection = self.engine.connect()
        return self._connection

    def _let_go_of(self, connection: Connection) -> None:
        """Replace the connection, which may be broken: the compiled statements bypass SQLAlchemy's checks."""
        if not self.is_memory:
            self._connection = None
            connection.invalidate()
            connection.close()

    def next_seq(self) -> int:
        """Return one more than the largest sequence number in use."""
        with self.connect() as connection:
            largest = [
                connection.execute(select(func.max(table.c.seq))).scalar() or 0
                for table in map(table_of, _NUMBERED)
            ]
        return max(largest) + 1

    def apply(self, work: Iterable[TenantWrites]) -> None:
        """Carry out writes in order, in one transaction: all of them are durable afterwards, or none."""
        with self.begin() as connection:
            batch = Batch()
            for tenant_id, writes in work:
                for write in writes:
                    if isinstance(write, Cleared):
                        batch.flush(connection)
                        batch = Batch()
                        self._clear(connection, tenant_id)
                    else:
                        batch.add(tenant_id, write)
            batch.flush(connection)

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
