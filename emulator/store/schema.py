"""The schema's version number, which is stored in the database, and the update of older databases.

A database is updated when it is opened, in one transaction. One of a newer emulator is refused. Databases without a
number count as version 0.

After a change of a table, raise ``VERSION`` and add the new schema to ``tests/store/schemas``. New tables, nullable
columns and indexes need no more than that: missing ones are created, and an index that differs is replaced. Other
changes, such as values for a column, are made in ``_change``, by the version found.
"""

from typing import ClassVar

from sqlalchemy import Connection, Engine, Table, insert, inspect, select, update
from sqlalchemy.schema import CreateColumn
from sqlmodel import Field, SQLModel

from emulator.errors import EmulatorError
from emulator.store.tables import TABLES, TenantRow, table_of
from emulator.store.workflow_tables import WORKFLOW_TABLES

VERSION = 5

STATE_TABLES: tuple[type[SQLModel], ...] = (*TABLES, *WORKFLOW_TABLES)
"""Every table that holds a tenant's state; all have a ``tenant_id``."""


class SchemaRow(SQLModel, table=True):
    """The only row of its table."""

    __tablename__: ClassVar[str] = "store_schema"

    version: int = Field(primary_key=True)


_SCHEMA = table_of(SchemaRow)
_TABLES: tuple[Table, ...] = (table_of(TenantRow), *map(table_of, STATE_TABLES))


def bring_up_to_date(engine: Engine) -> None:
    """Create the tables, or update those of an older version.

    Raises EmulatorError if they are of a newer version, or another program's.
    """
    with engine.connect() as connection:
        if _version(connection) == VERSION:
            return
        connection.rollback()
        if engine.dialect.name == "sqlite":
            # The driver begins no transaction for changes of tables. Other processes that open the file wait here.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        found = _version(connection)
        if found > VERSION:
            raise EmulatorError(
                f"the database was made by a newer qstash-emulator (its schema is version {found}, this one knows "
                f"{VERSION}): update qstash-emulator, or use another database"
            )
        if found < VERSION:
            _check_ours(connection)
            _change(connection)
        connection.commit()


def _version(connection: Connection) -> int:
    if not inspect(connection).has_table(_SCHEMA.name):
        return 0
    return connection.execute(select(_SCHEMA.c.version)).scalar() or 0


def _check_ours(connection: Connection) -> None:
    """Raise EmulatorError for a table with an unknown column: no version removed one, so it is another program's."""
    inspector = inspect(connection)
    for table in _TABLES:
        if not inspector.has_table(table.name):
            continue
        if any(column["name"] not in table.columns for column in inspector.get_columns(table.name)):
            raise EmulatorError(
                f"the database has a table {table.name!r} that is not the emulator's: use a database of its own"
            )


def _change(connection: Connection) -> None:
    SQLModel.metadata.create_all(connection, tables=[_SCHEMA, *_TABLES])
    for table in _TABLES:
        _add_columns(connection, table)
        _renew_indexes(connection, table)
    has_row = connection.execute(select(_SCHEMA)).first() is not None
    connection.execute((update if has_row else insert)(_SCHEMA).values(version=VERSION))


def _add_columns(connection: Connection, table: Table) -> None:
    there = {column["name"] for column in inspect(connection).get_columns(table.name)}
    for column in table.columns:
        if column.name not in there:
            described = CreateColumn(column).compile(dialect=connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {described}")


def _renew_indexes(connection: Connection, table: Table) -> None:
    """Make the table's indexes those of the model, except those of unique columns."""
    wanted = {str(index.name): index for index in table.indexes}
    for index in inspect(connection).get_indexes(table.name):
        name, columns = index["name"], index["column_names"]
        if index["unique"] or name is None:
            continue
        if name not in wanted or columns != [column.name for column in wanted[name].columns]:
            connection.exec_driver_sql(f"DROP INDEX {name}")
    for missing in wanted.values():
        missing.create(connection, checkfirst=True)
