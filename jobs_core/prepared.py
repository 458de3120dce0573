"""Statements that every job needs, compiled once and handed to the driver as they are.

SQLAlchemy Core builds a statement anew each time, looks up what it compiled, and works on every parameter and
column in Python: for the five statements of a job, that is half of what the job costs. So these go to the driver's
own cursor, in the transaction of the connection they are given; they raise the driver's own errors.

PostgreSQL gets all rows of a statement in one round trip, where each would cost one.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.sql import ClauseElement

Row = tuple[Any, ...]
Parameters = Mapping[str, Any]


class Prepared:
    """One INSERT, UPDATE or DELETE, made by ``build`` for a dialect's name."""

    def __init__(self, build: Callable[[str], ClauseElement], columns: Sequence[str] | None = None) -> None:
        """``columns`` are those that an INSERT gives, by their names as parameters."""
        self._build = build
        self._columns = columns
        self._compiled: dict[str, _Compiled] = {}

    def execute(self, connection: Connection, rows: Sequence[Parameters]) -> None:
        """Run the statement for every row of parameters."""
        compiled = self._for(connection.dialect)
        cursor = connection.connection.cursor()
        try:
            cursor.executemany(compiled.text, [compiled.bind(row) for row in rows])
        finally:
            cursor.close()

    def returning(self, connection: Connection, rows: Sequence[Parameters]) -> list[Row | None]:
        """Run it for every row of parameters, in order; answers what each RETURNs, ``None`` where that is nothing."""
        compiled = self._for(connection.dialect)
        bound = [compiled.bind(row) for row in rows]
        cursor = connection.connection.cursor()
        try:
            found = (
                _one_by_one(cursor, compiled.text, bound)
                if connection.dialect.name == "sqlite" or len(bound) == 1
                else _together(cursor, compiled.text, bound)
            )
        finally:
            cursor.close()
        return [None if row is None else compiled.read(row) for row in found]

    def _for(self, dialect: Dialect) -> "_Compiled":
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = _Compiled(self._build(dialect.name), dialect, self._columns)
            self._compiled[dialect.name] = compiled
        return compiled


class _Compiled:
    """A statement's text for one dialect, and what becomes of values on their way there and back."""

    def __init__(self, statement: ClauseElement, dialect: Dialect, columns: Sequence[str] | None) -> None:
        compiled: Any = statement.compile(dialect=dialect, column_keys=columns)
        self.text: str = compiled.string
        self._names: Sequence[str] | None = compiled.positiontup  # None: parameters go by name
        self._writers: dict[str, Callable[[Any], Any]] = dict(compiled._bind_processors)  # noqa: SLF001
        self._constants = {
            name: self._write(name, bound.value.value if isinstance(bound.value, Enum) else bound.value)
            for name, bound in compiled.binds.items()
            if not bound.required
        }
        self._readers = [
            (place, reader)
            for place, column in enumerate(compiled._result_columns)  # noqa: SLF001
            if (reader := column.type.dialect_impl(dialect).result_processor(dialect, None)) is not None
        ]

    def bind(self, row: Parameters) -> Any:
        """The parameters as the driver takes them."""
        values = {**self._constants, **row}
        for name, writer in self._writers.items():
            if name in row:
                values[name] = writer(values[name])
        return values if self._names is None else tuple([values[name] for name in self._names])

    def read(self, row: Row) -> Row:
        """A row as the tables declare it."""
        if not self._readers:
            return row
        values = list(row)
        for place, reader in self._readers:
            values[place] = reader(values[place])
        return tuple(values)

    def _write(self, name: str, value: Any) -> Any:
        writer = self._writers.get(name)
        return value if writer is None else writer(value)


def _one_by_one(cursor: Any, text: str, bound: Sequence[Any]) -> list[Row | None]:
    found: list[Row | None] = []
    for parameters in bound:
        cursor.execute(text, parameters)
        rows = cursor.fetchall()
        found.append(rows[0] if rows else None)
    return found


def _together(cursor: Any, text: str, bound: Sequence[Any]) -> list[Row | None]:
    cursor.executemany(text, bound, returning=True)
    found: list[Row | None] = [cursor.fetchone()]
    while cursor.nextset():
        found.append(cursor.fetchone())
    return found
