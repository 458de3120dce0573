"""Engines: SQLite in a file, PostgreSQL, and in-memory stores that are cheap for tests."""

import sqlite3
from collections.abc import Callable
from functools import cache
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import StaticPool
from sqlalchemy.util import LRUCache

from emulator.errors import EmulatorError

MEMORY_URL = "sqlite://"


def is_memory_url(url: str) -> bool:
    """Return whether ``url`` names an in-memory SQLite database."""
    parsed = make_url(url)
    return parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:")


def open_engine(url: str) -> Engine:
    """Return an engine for a SQLite file or PostgreSQL. Raises EmulatorError for any other database."""
    parsed = make_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    name = parsed.get_backend_name()
    if name not in ("sqlite", "postgresql"):
        raise EmulatorError(f"cannot use {name!r} as a store: SQLite and PostgreSQL are supported")
    if name == "postgresql":
        return _open_postgres(parsed)
    engine = create_engine(parsed, connect_args={"timeout": 30})
    event.listen(engine, "connect", _tune_sqlite)
    return engine


def _open_postgres(url: URL) -> Engine:
    """Raises EmulatorError if the driver is not installed, as in the standalone executable."""
    try:
        return create_engine(url, pool_pre_ping=True)
    except ImportError as error:
        raise EmulatorError(
            f"PostgreSQL needs a driver that is not installed ({error.name}): "
            "pip install 'qstash-emulator[postgres]'; the standalone executable has none"
        ) from None


def memory_engine(create_tables: Callable[[Engine], None]) -> Engine:
    """Return a new in-memory database with tables.

    Tests make many of them: the tables are created once in a process and then copied, and all such engines share a
    dialect with its compiled statements.
    """
    template = _template(create_tables)
    return Engine(
        StaticPool(lambda: _copy_of(template)),  # type: ignore[arg-type]  # only a connection is needed
        template.dialect,
        template.url,
        execution_options={"compiled_cache": _shared_cache()},
    )


@cache
def _template(create_tables: Callable[[Engine], None]) -> Engine:
    engine = create_engine(MEMORY_URL, poolclass=StaticPool, connect_args={"check_same_thread": False})
    create_tables(engine)
    return engine


@cache
def _shared_cache() -> "LRUCache[Any, Any]":
    return LRUCache(500)


def _copy_of(template: Engine) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    original = template.raw_connection()
    try:
        assert isinstance(original.driver_connection, sqlite3.Connection)
        original.driver_connection.backup(connection)
    finally:
        original.close()
    return connection


def _tune_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in (
        "journal_mode = WAL",
        # Every commit reaches the disk; grouped commits make that cheap.
        "synchronous = FULL",
        # KiB for each of three connections: enough for the pages that are used again, and soon full, so that a server's
        # memory stops growing. The rest is the system's page cache; four times as much measured no faster.
        "cache_size = -8192",
        "wal_autocheckpoint = 4000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
