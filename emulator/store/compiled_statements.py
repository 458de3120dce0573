"""Statements that are compiled once for a database and passed directly to its driver.

SQLAlchemy Core also compiles a statement once, but processes every row's parameters and columns in Python; with three
rows for a message that is a third of the cost of a publish. These statements use the driver's cursor in the transaction
of the given connection, and raise the driver's errors.
"""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from importlib import import_module
from itertools import chain
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Connection, Dialect, Executable, Select, Table, bindparam
from sqlalchemy.sql import ClauseElement

from emulator.store.codec import Reading, Values

T = TypeVar("T")

_ROWS_TOGETHER = 64


class Given(NamedTuple):
    """A write of a tenant."""

    tenant_id: int
    write: Any


class ChangeStatement:
    """One UPDATE or DELETE, whose values all come from ``sources``."""

    def __init__(self, statement: Executable, **sources: str | Callable[[Given], Any]) -> None:
        """``sources`` give each parameter's value in a ``Given``, as a path such as ``write.seq`` or a function."""
        assert isinstance(statement, ClauseElement)
        self._statement = statement
        self._sources = {
            name: attrgetter(one) if isinstance(one, str) else one for name, one in sources.items()
        }
        self._text = cache(self._compile)

    def __call__(self, connection: Connection, given: Sequence[Given]) -> None:
        """Run the statement for each of ``given``, in order."""
        text, sources = self._text(connection.dialect.name)
        cursor = connection.connection.cursor()
        cursor.executemany(text, [[source(one) for source in sources] for one in given])
        cursor.close()

    def _compile(self, dialect_name: str) -> tuple[str, list[Callable[[Given], Any]]]:
        compiled: Any = self._statement.compile(dialect=_positional(dialect_name))
        return str(compiled), [self._sources[name] for name in compiled.positiontup]


class Insert:
    """An INSERT with many rows in a statement; with ``replaces``, a row replaces an existing one with its key.

    At every step of a statement the writer's thread yields the interpreter to the event loop and waits to get it back,
    so fewer steps are faster. The numbers of rows are powers of two, so that few statements are prepared.
    """

    def __init__(self, table: Table, names: Sequence[str], *, replaces: bool = False) -> None:
        self._table, self._names, self._replaces = table, names, replaces
        self._of_many = cache(self._compile)

    def __call__(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Insert the rows; each has the values of the names, in their order."""
        cursor = connection.connection.cursor()
        for start, count in _parts(len(rows)):
            text = self._of_many(connection.dialect.name, count)
            cursor.execute(text, tuple(chain.from_iterable(rows[start : start + count])))
        cursor.close()

    def _compile(self, dialect_name: str, count: int) -> str:
        quote = _positional(dialect_name).identifier_preparer.quote
        names = [quote(name) for name in self._names]
        mark = "?" if dialect_name == "sqlite" else "%s"
        row = f"({', '.join([mark] * len(names))})"
        text = f"INSERT INTO {quote(self._table.name)} ({', '.join(names)}) VALUES {', '.join([row] * count)}"  # noqa: S608  only the emulator's own names
        if not self._replaces:
            return text
        keys = [quote(column.name) for column in self._table.primary_key]
        changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
        return f"{text} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}"


@lru_cache(maxsize=1024)
def _parts(count: int) -> Sequence[tuple[int, int]]:
    """Split ``count`` into powers of two, the largest first; return each part's start and size."""
    parts: list[tuple[int, int]] = []
    start = 0
    while start < count:
        size = min(_ROWS_TOGETHER, 1 << ((count - start).bit_length() - 1))
        parts.append((start, size))
        start += size
    return parts


class Query(Generic[T]):
    """One SELECT with bound parameters only."""

    def __init__(self, statement: Select[Any], reading: Reading[T]) -> None:
        """``statement`` selects the columns of ``reading``."""
        self._statement, self._reading = statement, reading
        self._text = cache(self._compile)

    def __call__(self, connection: Connection, **parameters: Any) -> list[T]:
        """Return the results for these parameters, in the statement's order."""
        text, names = self._text(connection.dialect.name)
        return _read(connection, self._reading, text, [parameters[name] for name in names])

    def _compile(self, dialect_name: str) -> tuple[str, Sequence[str]]:
        compiled: Any = self._statement.compile(dialect=_positional(dialect_name))
        return str(compiled), compiled.positiontup


class QueryByNumbers(Generic[T]):
    """A SELECT by a list of numbers, with ``WHERE column IN`` at its end."""

    def __init__(self, statement: Select[Any], reading: Reading[T], column: ColumnElement[int]) -> None:
        """``statement`` selects the columns of ``reading``."""
        self._statement, self._reading = statement.where(column == bindparam("number")), reading
        self._text = cache(self._compile)

    def __call__(self, connection: Connection, numbers: Sequence[int]) -> list[T]:
        """Return the results for the numbers that exist."""
        front, mark = self._text(connection.dialect.name)
        marks = ", ".join([mark] * len(numbers))
        return _read(connection, self._reading, f"{front} IN ({marks})", numbers)

    def _compile(self, dialect_name: str) -> tuple[str, str]:
        front, equals, mark = str(self._statement.compile(dialect=_positional(dialect_name))).rpartition(
            " = "
        )
        assert equals
        return front, mark


def _read(connection: Connection, reading: Reading[T], text: str, values: Sequence[Any]) -> list[T]:
    cursor = connection.connection.cursor()
    cursor.execute(text, tuple(values))
    found = [reading.make(row) for row in cursor.fetchall()]
    cursor.close()
    return found


@cache
def _positional(dialect_name: str) -> Dialect:
    """Return the driver's dialect with positional parameters, which drivers bind fastest."""
    module = import_module(f"sqlalchemy.dialects.{_DRIVERS[dialect_name]}")
    dialect: Dialect = module.dialect(paramstyle="qmark" if dialect_name == "sqlite" else "format")
    return dialect


_DRIVERS = {"sqlite": "sqlite.pysqlite", "postgresql": "postgresql.psycopg"}
