"""The caller's own connections without SQLAlchemy, which ``enqueue(connection=…)`` writes on.

sqlite3, psycopg 3 (blocking and async), psycopg 2 and asyncpg. Each is adapted to one of two small
interfaces, which run one statement and return its rows. Neither begins nor ends a transaction: that is the
caller's.
"""

import sqlite3
from collections.abc import Generator, Sequence
from functools import cache
from typing import Any, Protocol, TypeVar

from sqlalchemy import Dialect

from jobs_core.database.compiled import PLAIN, Row, SqlStatement

T = TypeVar("T")
Statements = Generator[SqlStatement, Sequence[Row], T]

_ACCEPTED = (
    "a sqlite3.Connection, a psycopg.Connection or AsyncConnection, or a connection of psycopg2 or asyncpg"
)
_ACCEPTED_BLOCKING = "a sqlite3.Connection, a psycopg.Connection or a psycopg2 connection"


class BlockingConnection(Protocol):
    """A connection that blocks the calling thread."""

    @property
    def dialect(self) -> Dialect:
        """Return the dialect that its statements are compiled for."""
        ...

    def run(self, statement: SqlStatement) -> Sequence[Row]:
        """Run the statement in the connection's transaction, and return its rows. Raise the driver's errors."""
        ...


class AsyncConnection(Protocol):
    """A connection that is awaited."""

    @property
    def dialect(self) -> Dialect:
        """Return the dialect that its statements are compiled for."""
        ...

    async def run(self, statement: SqlStatement) -> Sequence[Row]:
        """Run the statement in the connection's transaction, and return its rows. Raise the driver's errors."""
        ...


@cache
def sqlite_dialect(paramstyle: str) -> Dialect:
    """Return SQLite's dialect for a driver with this style of placeholders."""
    from sqlalchemy.dialects.sqlite.base import SQLiteDialect

    class Plain(SQLiteDialect):
        driver = PLAIN
        supports_statement_cache = False

    make: Any = Plain
    dialect: Dialect = make(paramstyle=paramstyle)
    return dialect


@cache
def postgresql_dialect(paramstyle: str) -> Dialect:
    """Return PostgreSQL's dialect for a driver with this style of placeholders."""
    from sqlalchemy.dialects.postgresql.base import PGDialect

    class Plain(PGDialect):
        driver = PLAIN
        supports_statement_cache = False

    make: Any = Plain
    dialect: Dialect = make(paramstyle=paramstyle)
    return dialect


def run_blocking(connection: BlockingConnection, statements: Statements[T]) -> T:
    """Run the statements one after the other, and return the generator's result."""
    rows: Sequence[Row] | None = None
    while True:
        try:
            statement = next(statements) if rows is None else statements.send(rows)
        except StopIteration as end:
            result: T = end.value
            return result
        rows = connection.run(statement)


async def run_awaiting(connection: AsyncConnection, statements: Statements[T]) -> T:
    """As ``run_blocking``."""
    rows: Sequence[Row] | None = None
    while True:
        try:
            statement = next(statements) if rows is None else statements.send(rows)
        except StopIteration as end:
            result: T = end.value
            return result
        rows = await connection.run(statement)


def blocking(connection: Any) -> BlockingConnection | None:
    """Return the adapted connection; ``None`` if it is not a blocking one.

    Raises:
        ValueError: it is not in a transaction, so each statement would be committed on its own.
    """
    if isinstance(connection, sqlite3.Connection):
        is_implicit = (
            connection.isolation_level is not None and getattr(connection, "autocommit", 0) is not True
        )
        _check_transaction(is_open=connection.in_transaction or is_implicit)
        return _Sqlite(connection)
    if _is_from(connection, "psycopg"):
        from psycopg import Connection

        if isinstance(connection, Connection):
            _check_transaction(is_open=_is_open(connection))
            return _Psycopg(connection)
    if _is_from(connection, "psycopg2"):
        from psycopg2.extensions import connection as kind

        if isinstance(connection, kind):
            _check_transaction(is_open=_is_open_psycopg2(connection))
            return _Psycopg2(connection)
    return None


def awaiting(connection: Any) -> AsyncConnection | None:
    """Return the adapted connection; ``None`` if it is not an awaitable one.

    Raises:
        ValueError: it is not in a transaction, so each statement would be committed on its own.
    """
    if _is_from(connection, "asyncpg") and hasattr(connection, "is_in_transaction"):
        _check_transaction(is_open=connection.is_in_transaction())
        return _Asyncpg(connection)
    if _is_from(connection, "psycopg"):
        from psycopg import AsyncConnection as Awaited

        if isinstance(connection, Awaited):
            _check_transaction(is_open=_is_open(connection))
            return _PsycopgAwaited(connection)
    return None


def not_accepted(connection: Any, *, is_blocking: bool) -> TypeError:
    """Return the error to raise for a connection of an unknown kind."""
    accepted = _ACCEPTED_BLOCKING if is_blocking else _ACCEPTED
    kind = type(connection)
    hint = (
        "; for Django's own there is jobs_core.django.enqueue"
        if kind.__module__.startswith("django.")
        else ""
    )
    return TypeError(f"connection must be {accepted}, not a {kind.__module__}.{kind.__qualname__}{hint}")


def _is_from(connection: Any, package: str) -> bool:
    """Return whether its class, or a base of that, is the package's; if so, the package is already imported."""
    return any(kind.__module__.partition(".")[0] == package for kind in type(connection).__mro__)


def _is_open(connection: Any) -> bool:
    from psycopg.pq import TransactionStatus

    return not connection.autocommit or connection.info.transaction_status != TransactionStatus.IDLE


def _is_open_psycopg2(connection: Any) -> bool:
    from psycopg2.extensions import STATUS_READY, TRANSACTION_STATUS_IDLE

    # Where the caller sent COMMIT as a statement, the driver still believes in a transaction, and begins none.
    will_begin = not connection.autocommit and connection.status == STATUS_READY
    return will_begin or bool(connection.get_transaction_status() != TRANSACTION_STATUS_IDLE)


def _check_transaction(*, is_open: bool) -> None:
    if not is_open:
        raise ValueError(
            "connection is not in a transaction, so the job and its message would be committed one without the "
            "other: begin a transaction first"
        )


class _Sqlite:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def dialect(self) -> Dialect:
        return sqlite_dialect("qmark")

    def run(self, statement: SqlStatement) -> Sequence[Row]:
        cursor = self._connection.cursor()
        cursor.row_factory = None  # the caller's may return rows of another kind
        try:
            return cursor.execute(statement.text, statement.parameters).fetchall()
        finally:
            cursor.close()


class _Psycopg:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def dialect(self) -> Dialect:
        return postgresql_dialect("format")

    def run(self, statement: SqlStatement) -> Sequence[Row]:
        from psycopg import Cursor
        from psycopg.rows import tuple_row

        # A cursor of the plain kind: the connection's own may take other placeholders, or return rows of another kind.
        with Cursor(self._connection, row_factory=tuple_row) as cursor:
            cursor.execute(statement.text.encode(), statement.parameters)
            return cursor.fetchall() if cursor.description else []


class _Psycopg2:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def dialect(self) -> Dialect:
        return postgresql_dialect("format")

    def run(self, statement: SqlStatement) -> Sequence[Row]:
        from psycopg2.extensions import cursor as plain

        with plain(self._connection) as cursor:  # the connection's own may return rows of another kind
            cursor.execute(statement.text, statement.parameters)
            return cursor.fetchall() if cursor.description else []


class _PsycopgAwaited:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def dialect(self) -> Dialect:
        return postgresql_dialect("format")

    async def run(self, statement: SqlStatement) -> Sequence[Row]:
        from psycopg import AsyncCursor
        from psycopg.rows import tuple_row

        async with AsyncCursor(self._connection, row_factory=tuple_row) as cursor:
            await cursor.execute(statement.text.encode(), statement.parameters)
            return await cursor.fetchall() if cursor.description else []


class _Asyncpg:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def dialect(self) -> Dialect:
        return postgresql_dialect("numeric_dollar")

    async def run(self, statement: SqlStatement) -> Sequence[Row]:
        return [tuple(row) for row in await self._connection.fetch(statement.text, *statement.parameters)]
