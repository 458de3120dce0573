"""The statements that every job needs, compiled once and given to the driver as text.

SQLAlchemy Core builds a statement anew each time, looks up its compiled form, and processes every parameter
and column in Python: for a job's statements that is half of the job's cost. So these go to the driver's own
cursor, in the transaction of the given connection.

A statement is written once, for the rows that it is `Given`. PostgreSQL gets all rows as one table,
``unnest`` of an array for each parameter, so that it parses, plans and responds once, however many jobs share
a transaction. Elsewhere the statement runs once for each row, which costs SQLite nothing more.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ARRAY,
    JSON,
    ColumnElement,
    Connection,
    Dialect,
    String,
    Table,
    Text,
    TypeDecorator,
    bindparam,
    cast,
    column,
    func,
    literal,
    select,
)
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import ClauseElement
from sqlalchemy.types import TypeEngine

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

Row = tuple[Any, ...]
Parameters = Mapping[str, Any]
Types = Mapping[str, TypeEngine[Any]]

# The driver's name in dialects whose statements go to a connection that is not SQLAlchemy's.
PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class SqlStatement:
    """A statement's text and its parameters, in the order of their placeholders."""

    text: str
    parameters: tuple[Any, ...]


def are_one_table(dialect: Dialect) -> bool:
    """Return whether the rows are given as a table. Other drivers, in a caller's own session, need other arrays."""
    return dialect.driver.startswith("psycopg")


class Given:
    """The rows that a statement runs for, inside the statement: ``given["name"]`` is a parameter's value."""

    def __init__(self, values: Mapping[str, ColumnElement[Any]], dialect: Dialect) -> None:
        self._values = dict(values)
        self._dialect = dialect

    @classmethod
    def of(cls, types: Types, dialect: Dialect) -> "Given":
        if are_one_table(dialect):
            return cls(_columns(types), dialect)
        return cls({name: _parameter(name, type_, dialect) for name, type_ in types.items()}, dialect)

    def __getitem__(self, name: str) -> ColumnElement[Any]:
        return self._values[name]

    def locking(self, table: Table, condition: ColumnElement[bool]) -> tuple["Given", ColumnElement[bool]]:
        """Return the given rows and the condition for an UPDATE of the rows of ``table`` that meet ``condition``.

        PostgreSQL locks them in the order of their ids first. An UPDATE alone locks them in the order of its
        plan, and two that share some rows would deadlock.
        """
        if not are_one_table(self._dialect):
            return self, condition
        locked = (
            select(table.c.id.label("locked"), *self._values.values())
            .where(condition)
            .order_by(table.c.id)
            .with_for_update(of=table)
            .cte("locked_rows")
        )
        found = {name: locked.c[name] for name in self._values}
        return Given(found, self._dialect), table.c.id == locked.c.locked

    def but(self, **values: ColumnElement[Any]) -> "Given":
        """Return the rows with these values alone, of which some may be another table's."""
        return Given(values, self._dialect)

    def only(self, names: Iterable[str]) -> "Given":
        """Return the rows with these parameters alone."""
        return self.but(**{name: self[name] for name in names})

    def into(
        self, table: Table, *conditions: ColumnElement[bool], **constants: Any
    ) -> "sqlite.Insert | postgresql.Insert":
        """Return an INSERT of the rows into the columns that have the parameters' names.

        ``conditions`` say which of the rows, and are only for those that `are_one_table`.
        """
        values = self._values | {
            name: literal(value, table.c[name].type) for name, value in constants.items()
        }
        # Only the dialect that is in use is imported: the other one would cost every start.
        if self._dialect.name == "sqlite":
            from sqlalchemy.dialects import sqlite

            return sqlite.insert(table).values(values)
        from sqlalchemy.dialects import postgresql

        insert = postgresql.insert(table)
        if are_one_table(self._dialect):
            return insert.from_select(list(values), select(*values.values()).where(*conditions))
        return insert.values(values)


class Prepared:
    """One INSERT, UPDATE or DELETE over the rows it is given.

    Of two rows about one record PostgreSQL takes either: callers give one.
    """

    def __init__(self, build: Callable[[Given], ClauseElement], types: Types) -> None:
        """``types`` are the parameters of a row, by name."""
        self._build = build
        self._types = types
        self._compiled: dict[tuple[str, str, str], _Compiled] = {}

    def execute(self, connection: Connection, rows: Sequence[Parameters]) -> None:
        """Run the statement. Raise SQLAlchemy's DBAPIError, as Core does."""
        compiled = self._for(connection.dialect)
        parameters = compiled.parameters(rows)
        with _cursor(connection) as cursor:
            if len(parameters) == 1:
                cursor.execute(compiled.text, parameters[0])
            else:
                cursor.executemany(compiled.text, parameters)

    def returning(self, connection: Connection, rows: Sequence[Parameters]) -> list[Row]:
        """Run the statement and return the rows it RETURNs, in no particular order. Raise DBAPIError."""
        compiled = self._for(connection.dialect)
        found: list[Row] = []
        with _cursor(connection) as cursor:
            for parameters in compiled.parameters(rows):
                cursor.execute(compiled.text, parameters)
                found += cursor.fetchall()
        return [compiled.read(row) for row in found]

    def statement(self, dialect: Dialect, row: Parameters) -> SqlStatement:
        """Return the statement for one row, to be run elsewhere. The driver of ``dialect`` must be one of `PLAIN`."""
        compiled = self._for(dialect)
        [parameters] = compiled.parameters([row])
        return SqlStatement(compiled.text, parameters)

    def _for(self, dialect: Dialect) -> "_Compiled":
        key = dialect.name, dialect.driver, dialect.paramstyle
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = _Compiled(self._build(Given.of(self._types, dialect)), dialect, self._types)
            self._compiled[key] = compiled
        return compiled


class _Compiled:
    """A statement's text for one dialect, with the conversions of its parameters and results."""

    def __init__(self, statement: ClauseElement, dialect: Dialect, types: Types) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self._is_for_all = are_one_table(dialect)
        self.text: str = compiled.string
        self._names: Sequence[str] = compiled.positiontup or ()
        # Arrays are written as text, so are their elements.
        target = DefaultDialect() if self._is_for_all else dialect
        self._writers = {
            name: type_.dialect_impl(target).bind_processor(target) for name, type_ in types.items()
        }
        self._constants = {
            name: bound.value.value if isinstance(bound.value, Enum) else bound.value
            for name, bound in compiled.binds.items()
            if not bound.required
        }
        self._readers = [
            (place, reader)
            for place, found in enumerate(compiled._result_columns)  # noqa: SLF001
            if (reader := found.type.dialect_impl(dialect).result_processor(dialect, None)) is not None
        ]

    def parameters(self, rows: Sequence[Parameters]) -> list[Any]:
        """Return the driver's parameters for each execution: one for all rows, or one for each."""
        columns = {
            name: [row[name] if write is None else write(row[name]) for row in rows]
            for name, write in self._writers.items()
        }
        if self._is_for_all:
            return [{name: _array(values) for name, values in columns.items()} | self._constants]
        columns |= {name: [value] * len(rows) for name, value in self._constants.items()}
        return list(zip(*(columns[name] for name in self._names), strict=True))

    def read(self, row: Row) -> Row:
        """Return a row with values of the types that the tables declare."""
        if not self._readers:
            return row
        values = list(row)
        for place, reader in self._readers:
            values[place] = reader(values[place])
        return tuple(values)


def types_of(table: Table, *names: str) -> Types:
    """Return parameters with the names and types of columns of ``table``."""
    return {name: table.c[name].type for name in names}


def _parameter(name: str, type_: TypeEngine[Any], dialect: Dialect) -> ColumnElement[Any]:
    if dialect.driver == PLAIN and dialect.name == "postgresql" and isinstance(type_, JSON):
        # As text: a connection may have been told to encode JSON parameters itself, and would do so again.
        return cast(cast(bindparam(name, type_=Text()), Text()), type_)
    return bindparam(name, type_=type_)


def _columns(types: Types) -> dict[str, ColumnElement[Any]]:
    """Return the columns of a table of the rows, made from an array for each parameter."""
    unbounded = {name: _of_any_length(type_) for name, type_ in types.items()}
    arrays = [bindparam(name, type_=ARRAY(type_)) for name, type_ in unbounded.items()]
    columns = [column(name, type_) for name, type_ in unbounded.items()]
    table = func.unnest(*arrays).table_valued(*columns).render_derived(name="given")
    return dict(table.c.items())


def _of_any_length(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return the type without its length: a cast to VARCHAR(n) would silently cut off what a column of that
    type refuses.
    """
    if isinstance(type_, TypeDecorator):
        return type(type_)()
    return Text() if isinstance(type_, String) else type_


def _array(values: Iterable[Any]) -> str:
    """Return an array in PostgreSQL's text form. The driver's own conversion runs a regular expression on
    every element.
    """
    return f"{{{','.join(map(_element, values))}}}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return f'"{value.isoformat()}"' if isinstance(value, datetime) else str(value)


@contextmanager
def _cursor(connection: Connection) -> Iterator[Any]:
    """Yield the driver's cursor. Its errors are raised as SQLAlchemy's, and a dead connection is marked as such."""
    driver, dialect = connection.connection, connection.dialect
    cursor = driver.cursor()
    try:
        yield cursor
    except dialect.loaded_dbapi.Error as error:
        is_lost = dialect.is_disconnect(error, driver.dbapi_connection, cursor)
        if is_lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            None, None, error, dialect.loaded_dbapi.Error,
            hide_parameters=True, connection_invalidated=is_lost, dialect=dialect,
        ) from error  # fmt: skip
    finally:
        with suppress(dialect.loaded_dbapi.Error):  # the connection may be gone, and the first error says so
            cursor.close()
