"""Statements that every message needs, compiled once and handed to the driver as they are.

SQLAlchemy Core compiles a statement once too, but works on every row's parameters and columns in Python; for three
rows a message that is a third of what a publish costs. So these go to the driver's own cursor, in the transaction
of the connection they are given; they raise the driver's own errors.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import import_module
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Dialect, Executable, Insert, Select, bindparam
from sqlalchemy.sql import ClauseElement

from emulator.store.mapping import Row

_ROWS_TOGETHER = 64


class Prepared:
    """One UPDATE, DELETE or INSERT with bound parameters only, for one dialect."""

    def __init__(self, statement: Executable, dialect_name: str) -> None:
        assert isinstance(statement, ClauseElement)
        compiled: Any = statement.compile(dialect=_positional(dialect_name))
        self._text: str = str(compiled)
        self._values: Callable[[Row], tuple[Any, ...]] = _picker(compiled.positiontup)

    def execute(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Run the statement for every row: a mapping of parameter names to plain values."""
        cursor = connection.connection.cursor()
        cursor.executemany(self._text, list(map(self._values, rows)))
        cursor.close()


class PreparedInsert(Prepared):
    """One INSERT, many rows in a statement.

    The writer's thread hands the interpreter to the event loop at every step of a statement, and waits to have it
    back: so the fewer steps, the better. Numbers of rows are powers of two, so that few statements are prepared.
    """

    def __init__(self, statement: Insert, dialect_name: str) -> None:
        super().__init__(statement.inline(), dialect_name)  # the numbers that rows get are not asked for

    def execute(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Insert the rows in their order."""
        values = list(map(self._values, rows))
        cursor = connection.connection.cursor()
        for start, count in _parts(len(values)):
            some = values[start : start + count]
            cursor.execute(self._of_many(count), tuple(chain.from_iterable(some)))
        cursor.close()

    def _of_many(self, count: int) -> str:
        front, values, row = self._text.rpartition(" VALUES ")
        assert values
        return front + values + ", ".join([row] * count)


def _parts(count: int) -> Iterator[tuple[int, int]]:
    """``count`` things in parts whose sizes are powers of two, the largest first: where each starts, and its size."""
    start = 0
    while start < count:
        size = min(_ROWS_TOGETHER, 1 << ((count - start).bit_length() - 1))
        yield start, size
        start += size


class PreparedSelect:
    """One SELECT by a list of numbers, which ``SELECT … WHERE column IN`` ends with."""

    def __init__(self, statement: Select[Any], column: ColumnElement[int], dialect_name: str) -> None:
        by_number = statement.where(column == bindparam("number"))
        text = str(by_number.compile(dialect=_positional(dialect_name)))
        self._front, equals, self._mark = text.rpartition(" = ")
        assert equals
        self.names: tuple[str, ...] = tuple(str(selected.key) for selected in statement.selected_columns)

    def rows(self, connection: Connection, numbers: Sequence[int]) -> Iterator[Row]:
        """A row for each number that is there."""
        marks = ", ".join([self._mark] * len(numbers))
        cursor = connection.connection.cursor()
        cursor.execute(f"{self._front} IN ({marks})", tuple(numbers))
        for row in cursor.fetchall():
            yield dict(zip(self.names, row, strict=True))
        cursor.close()


class PreparedQuery:
    """One SELECT with bound parameters only."""

    def __init__(self, statement: Select[Any], dialect_name: str) -> None:
        compiled: Any = statement.compile(dialect=_positional(dialect_name))
        self._text: str = str(compiled)
        self._values: Callable[[Row], tuple[Any, ...]] = _picker(compiled.positiontup)
        self._names: tuple[str, ...] = tuple(str(selected.key) for selected in statement.selected_columns)

    def rows(self, connection: Connection, parameters: Row) -> list[Row]:
        """What it finds for these parameters, in its order."""
        cursor = connection.connection.cursor()
        cursor.execute(self._text, self._values(parameters))
        found = [dict(zip(self._names, row, strict=True)) for row in cursor.fetchall()]
        cursor.close()
        return found


def _picker(names: Sequence[str]) -> Callable[[Row], tuple[Any, ...]]:
    if len(names) == 1:
        [name] = names
        return lambda row: (row[name],)
    return itemgetter(*names)


@cache
def _positional(dialect_name: str) -> Dialect:
    """The dialect of a driver with positional parameters, which drivers bind fastest."""
    module = import_module(f"sqlalchemy.dialects.{_DRIVERS[dialect_name]}")
    dialect: Dialect = module.dialect(paramstyle="qmark" if dialect_name == "sqlite" else "format")
    return dialect


_DRIVERS = {"sqlite": "sqlite.pysqlite", "postgresql": "postgresql.psycopg"}
