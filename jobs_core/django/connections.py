"""Django's database connections: jobs are written on them, and handlers leave none open."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.db.backends.base.base import BaseDatabaseWrapper
from sqlalchemy import Dialect

from jobs_core.database.caller_connections import postgresql_dialect, sqlite_dialect
from jobs_core.database.compiled import Row, SqlStatement
from jobs_core.engine.job import Job
from jobs_core.engine.registry import JobDefinition

if TYPE_CHECKING:
    from django.db.backends.sqlite3.base import DatabaseWrapper as SqliteConnection


def is_in_memory(connection: BaseDatabaseWrapper) -> bool:
    """Return whether it is a SQLite database in memory, which no other process sees."""
    return connection.vendor == "sqlite" and cast("SqliteConnection", connection).is_in_memory_db()


class DjangoConnection:
    """One of ``django.db.connections``, for writing jobs; errors are Django's ``DatabaseError``."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def dialect(self) -> Dialect:
        """Return the dialect: Django's cursors take %s for a placeholder, on SQLite too."""
        make = sqlite_dialect if self._connection.vendor == "sqlite" else postgresql_dialect
        return make("format")

    def run(self, statement: SqlStatement) -> Sequence[Row]:
        """Run the statement in the present transaction."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement.text, statement.parameters)
            return cursor.fetchall() if cursor.description else []


def with_fresh_connections(definition: JobDefinition[Any]) -> JobDefinition[Any]:
    """Return the job type with a handler that closes old or broken connections before and after, as a request
    does.
    """
    handler: Any = definition.handler

    if definition.is_async:

        @functools.wraps(handler)
        async def awaited(payload: Any, job: Job) -> Any:
            await sync_to_async(close_old_connections)()
            try:
                return await handler(payload, job)
            finally:
                await sync_to_async(close_old_connections)()

        return replace(definition, handler=awaited)

    @functools.wraps(handler)
    def blocking(payload: Any, job: Job) -> Any:
        close_old_connections()
        try:
            return handler(payload, job)
        finally:
            close_old_connections()

    return replace(definition, handler=blocking)
