"""Differences between the databases' SQL dialects and drivers: ON CONFLICT, and the number of changed rows."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, CursorResult, Table

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite


def insert_into(table: Table, connection: Connection) -> "sqlite.Insert | postgresql.Insert":
    """Return an INSERT of the connection's own dialect, which knows ON CONFLICT."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # slow to import, and only needed on PostgreSQL

    return postgresql.insert(table)


def insert_unless_there(connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert ``row`` unless one of its unique keys exists. Return whether it was inserted.

    Drivers do not agree on the row count of an INSERT (psycopg's is -1 where SQLAlchemy does not ask for it),
    so the statement returns what it wrote.
    """
    statement = insert_into(table, connection).values(row).on_conflict_do_nothing().returning(table.c[0])
    return connection.execute(statement).first() is not None


def changed_rows(result: CursorResult[Any]) -> int:
    """Return how many rows an UPDATE or DELETE changed.

    Raises:
        RuntimeError: the driver does not know; taken for a number, its -1 would mean yes.
    """
    if result.rowcount < 0:
        raise RuntimeError("the database driver does not say how many rows were changed")
    return result.rowcount
