"""Statements that every message needs, compiled once and handed to the driver as they are.

SQLAlchemy Core compiles a statement once too, but works on every row's parameters and columns in Python; for three
rows a message that is a third of what a publish costs. So these go to the driver's own cursor, in the transaction
of the connection they are given; they raise the driver's own errors.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import import_module
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Dialect, Executable, Select, bindparam
from sqlalchemy.sql import ClauseElement

from emulator.store.mapping import Row


class Prepared:
    """One INSERT, UPDATE or DELETE with bound parameters only, for one dialect."""

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
