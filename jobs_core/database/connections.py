"""Connections to SQLite or PostgreSQL, and transactions that share a commit.

``write`` groups the writes of concurrent callers into one commit, and each caller resumes after it. One
commit costs as much as a hundred rows, so this is what makes two durable records for every job affordable.
When one write of a group fails, the group is rolled back and each is run again on its own; a unit of work
must therefore do nothing but use its connection.

A unit of work is a plain function, run in a thread with a blocking connection: a whole group costs the event
loop one hand-over, where an async driver costs one for each statement (measured: a third of the throughput).
"""

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, TypeVar, cast

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from jobs_core.database.batching import Coalescer, PerLoop

log: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")
Item = TypeVar("Item")
Work = Callable[[Connection], Any]
JointWork = Callable[[Connection, Sequence[Item]], Sequence[T]]

LARGEST_GROUP = 100
# How long a SQLite connection waits for another process's write.
BUSY_TIMEOUT_SECONDS = 30
CONNECT_TIMEOUT_SECONDS = 10
# PostgreSQL commits independent transactions side by side; SQLite has one writer.
POSTGRESQL_LANES = 4
READERS = 4

# How often a dead connection or a deadlock is retried, and the wait in which a deadlock's winner ends.
_REPEATS = 4
_PAUSE_SECONDS = 0.01

_READ_ONLY = "jobs_read_only"
# Source: PostgreSQL's documentation, appendix A, error codes.
_DEADLOCK_DETECTED = "40P01"
_DISK_FULL = "53100"
# Connection exceptions, too many connections, and a server that starts or stops.
_NO_CONNECTION = ("08", "53300", "57P0")


def driver_url(url: str) -> URL:
    """Return ``url`` with the driver to use: sqlite3; psycopg 3, or psycopg 2 where that is named or the one
    installed.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return parsed.set(drivername="sqlite")
    is_older_meant = parsed.drivername.endswith("+psycopg2") or find_spec("psycopg") is None
    is_older = is_older_meant and find_spec("psycopg2") is not None
    return parsed.set(drivername="postgresql+psycopg2" if is_older else "postgresql+psycopg")


@dataclass(frozen=True, slots=True)
class _Part:
    """One caller's part of a joint unit of work."""

    work: JointWork[Any, Any]
    item: Any


class Database:
    """One process's access to the records. Connects at first use; ``close`` it at the end."""

    def __init__(self, url: str, *, pool_size: int = 10, is_pooled_elsewhere: bool = False) -> None:
        """``is_pooled_elsewhere``: a pooler gives out the server's connections by the transaction."""
        self._is_used = False
        self._process = 0
        # That which met the trouble last told of; only its success ends it.
        self._failing: Engine | None = None
        self._is_pooled_elsewhere = is_pooled_elsewhere
        parsed = driver_url(url)
        self.is_sqlite: bool = parsed.get_backend_name() == "sqlite"
        self.engine: Engine = self._create_engine(parsed, pool_size)
        self._reading = self.engine.execution_options(**{_READ_ONLY: True})
        lanes = 1 if self.is_sqlite else min(POSTGRESQL_LANES, pool_size)
        self._writer: PerLoop[Coalescer[Work | _Part, Any]] = PerLoop(
            lambda: Coalescer(self._commit, limit=LARGEST_GROUP, lanes=lanes)
        )
        self._writers = ThreadPoolExecutor(lanes, thread_name_prefix="jobs_core-write")
        self._readers = ThreadPoolExecutor(min(READERS, pool_size), thread_name_prefix="jobs_core-read")

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction, possibly with others, and return its result after the commit."""
        self._check_process()
        return cast("T", await self._writer.here().submit(work))

    async def write_jointly(self, work: JointWork[Item, T], item: Item) -> T:
        """Run ``work`` as ``write`` does, but once for all callers in a transaction that name the same ``work``.

        ``work`` is a module's function. It gets the callers' items, in the order they came, and returns as
        many results.
        """
        self._check_process()
        return cast("T", await self._writer.here().submit(_Part(work, item)))

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run ``query``, which changes nothing and sees only committed rows. Return its result."""
        self._check_process()
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, query)

    async def close(self) -> None:
        await self._writer.here().join()
        self._writers.shutdown()
        self._readers.shutdown()
        self.engine.dispose()

    def _check_process(self) -> None:
        """Raise RuntimeError in a forked child of the process that used it first."""
        if not self._is_used:
            self._is_used, self._process = True, os.getpid()
        elif self._process != os.getpid():
            raise RuntimeError(
                "the job system was used before this process was forked: its threads and connections are the "
                "parent's. Make or use it only after the fork (gunicorn without --preload, or in post_fork)"
            )

    async def _commit(self, group: Sequence[Work | _Part]) -> Sequence[Any]:
        return await asyncio.get_running_loop().run_in_executor(self._writers, self._commit_blocking, group)

    def _commit_blocking(self, group: Sequence[Work | _Part]) -> Sequence[Any]:
        try:
            return self._together(group)
        except Exception as error:  # noqa: BLE001 -- each finds its own error, alone
            return [error] if len(group) == 1 else [self._alone(work) for work in group]

    def _together(self, group: Sequence[Work | _Part]) -> list[Any]:
        return self._transact(self.engine, lambda connection: _perform(connection, group))

    def _alone(self, work: Work | _Part) -> Any:
        try:
            return self._together([work])[0]
        except Exception as error:  # noqa: BLE001 -- raised where the work came from
            return error

    def _read(self, query: Callable[[Connection], T]) -> T:
        return self._transact(self._reading, query)

    def _transact(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction of its own. Log when the database becomes unreachable, and when it is
        back.
        """
        try:
            result = self._transact_patiently(engine, work, repeats=_REPEATS)
        except Exception as error:
            if is_unavailable(error) and self._failing is None:
                self._failing = self._reading if is_lost(error) else engine
                reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
                log.error(  # noqa: TRY400 -- one line says it all
                    "%s: %s", why_unavailable(error), reason, extra={"event": "database_unavailable"}
                )
            raise
        if self._failing in {self._reading, engine}:
            self._failing = None
            log.warning("the database answers again", extra={"event": "database_available"})
        return result

    def _transact_patiently(self, engine: Engine, work: Callable[[Connection], T], *, repeats: int) -> T:
        """Run ``work`` in a transaction, and repeat it after a dead connection or a deadlock.

        A restarted server leaves dead connections in the pool. Checking each before its use would cost a
        round trip every time, so the work finds out. Nothing is committed by then, nor after a deadlock; an
        error of the commit itself is not repeated.
        """
        with engine.connect() as connection:
            connection.begin()
            try:
                result = work(connection)
            except DBAPIError as error:
                is_dead = error.connection_invalidated
                if not (repeats and (is_dead or _is_deadlock(error))):
                    raise
            else:
                connection.commit()
                return result
        if is_dead:
            engine.dispose()  # the others are as old
        else:
            # At once, it could take the same lock before the winner wakes, and lose again.
            time.sleep(_PAUSE_SECONDS)
        return self._transact_patiently(engine, work, repeats=repeats - 1)

    def _create_engine(self, url: URL, pool_size: int) -> Engine:
        if not self.is_sqlite:
            arguments: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_SECONDS}
            arguments = {name: value for name, value in arguments.items() if name not in url.query}
            if self._is_pooled_elsewhere and url.drivername.endswith("+psycopg"):
                arguments["prepare_threshold"] = None  # the next transaction may be on another connection
            return create_engine(
                url, pool_size=pool_size, max_overflow=0, hide_parameters=True, connect_args=arguments
            )
        # Parameters are payloads, and errors are logged.
        engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine


def _perform(connection: Connection, group: Sequence[Work | _Part]) -> list[Any]:
    """Return the results in the group's order. A joint unit of work runs in the place of its first part."""
    places: dict[JointWork[Any, Any], list[int]] = {}
    for place, work in enumerate(group):
        if isinstance(work, _Part):
            places.setdefault(work.work, []).append(place)
    results: list[Any] = [None] * len(group)
    for place, work in enumerate(group):
        if not isinstance(work, _Part):
            results[place] = work(connection)
        elif (shared := places.pop(work.work, None)) is not None:
            items = [cast("_Part", group[each]).item for each in shared]
            for each, result in zip(shared, work.work(connection, items), strict=True):
                results[each] = result
    return results


def is_unavailable(error: BaseException) -> bool:
    """Return whether an error means that the database cannot be used now, by any statement."""
    if _is_deadlock(error) or _is_wrong_statement(error):
        return False
    return isinstance(error, OperationalError | InterfaceError | PoolTimeoutError)


def is_lost(error: BaseException) -> bool:
    """Return whether an error means that there is no connection to the database, rather than that a statement
    met a limit: a lock timeout, a statement timeout, a full disk.
    """
    if not is_unavailable(error):
        return False
    state = _sqlstate(error)
    is_cut = isinstance(error, DBAPIError) and error.connection_invalidated
    return (
        is_cut or (state is None and not is_full(error)) or bool(state and state.startswith(_NO_CONNECTION))
    )


def is_full(error: BaseException) -> bool:
    """Return whether an error means that the database has no room left to write."""
    return _sqlite_code(error) == sqlite3.SQLITE_FULL or _sqlstate(error) == _DISK_FULL


def why_unavailable(error: BaseException) -> str:
    """Return in words why the database cannot be used now, of an error for which `is_unavailable` holds."""
    return "the database's disk is full" if is_full(error) else "the database does not answer"


def _sqlstate(error: BaseException) -> str | None:
    """Return PostgreSQL's code of an error; ``None`` of SQLite's, and where no server was reached."""
    found = getattr(error, "orig", None)
    # The one in psycopg 3, the other in psycopg 2.
    return getattr(found, "sqlstate", None) or getattr(found, "pgcode", None)


def _is_wrong_statement(error: BaseException) -> bool:
    """Return whether the statement is wrong. SQLite reports a missing table as PostgreSQL reports an
    unreachable server.
    """
    return _sqlite_code(error) == sqlite3.SQLITE_ERROR


def _sqlite_code(error: BaseException) -> int | None:
    """Return SQLite's code of an error; ``None`` of PostgreSQL's."""
    code: int | None = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    return code


def _is_deadlock(error: BaseException) -> bool:
    return _sqlstate(error) == _DEADLOCK_DETECTED


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    # The driver would begin a transaction only at the first write, too late to be isolated; we begin it.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads and then writes cannot wait for its turn any more, so a writer says at once
    # that it will write.
    is_reader = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if is_reader else "BEGIN IMMEDIATE")


SQLITE_MINIMUM = (3, 35, 0)  # UPDATE … RETURNING
if sqlite3.sqlite_version_info < SQLITE_MINIMUM:  # pragma: no cover
    raise ImportError(f"SQLite {sqlite3.sqlite_version} is too old; 3.35 or newer is needed")
