"""Statements that every message needs, compiled once and handed to the driver as they are.

SQLAlchemy Core compiles a statement once too, but works on every row's parameters in Python; for three rows a
message that is a third of what a publish costs.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Dialect, Executable
from sqlalchemy.sql import ClauseElement

from emulator.store.mapping import Row


class Prepared:
    """One INSERT, UPDATE or DELETE with bound parameters only, for one dialect."""

    def __init__(self, statement: Executable, dialect: Dialect) -> None:
        assert isinstance(statement, ClauseElement)
        # The same dialect with positional parameters, which drivers bind fastest.
        style = "qmark" if dialect.name == "sqlite" else "format"
        positional: Any = type(dialect)
        compiled: Any = statement.compile(dialect=positional(paramstyle=style))
        self._text: str = str(compiled)
        self._values: Callable[[Row], tuple[Any, ...]] = _picker(compiled.positiontup)

    def execute(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Run the statement for every row: a mapping of parameter names to plain values."""
        connection.exec_driver_sql(self._text, list(map(self._values, rows)))


def _picker(names: Sequence[str]) -> Callable[[Row], tuple[Any, ...]]:
    if len(names) == 1:
        [name] = names
        return lambda row: (row[name],)
    return itemgetter(*names)
