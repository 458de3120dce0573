"""Enqueueing on a connection of the caller's own, without SQLAlchemy: with the caller's rows, or not at all."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import psycopg2
import psycopg2.extras
import pytest
from psycopg.rows import dict_row
from sqlalchemy import text

from jobs_core import JobDispatcher, JobRequest, Settings, SyncJobDispatcher
from jobs_core.database.connections import driver_url
from tests.bounds import HANG_SECONDS

_ROOT = Path(__file__).parents[2]

Execute = Callable[[str], Awaitable[Any]]


class Caller:
    """A connection of some driver, and how its caller speaks to it."""

    def __init__(self, connection: Any, execute: Execute, begin: Execute | None = None) -> None:
        self.connection = connection
        self.execute = execute
        self._begin = begin

    async def begin(self) -> None:
        if self._begin is not None:
            await self._begin("BEGIN")

    async def commit(self) -> None:
        await self.execute("COMMIT")

    async def rollback(self) -> None:
        await self.execute("ROLLBACK")


@asynccontextmanager
async def _sqlite(path: str) -> AsyncIterator[Caller]:
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row

    async def execute(statement: str) -> Any:
        return connection.execute(statement)

    yield Caller(connection, execute)
    connection.close()


@asynccontextmanager
async def _psycopg(dsn: str) -> AsyncIterator[Caller]:
    with psycopg.connect(dsn, row_factory=dict_row) as connection:

        async def execute(statement: str) -> Any:
            return connection.execute(statement.encode())

        yield Caller(connection, execute)


@asynccontextmanager
async def _psycopg2(dsn: str) -> AsyncIterator[Caller]:
    connection = psycopg2.connect(dsn, cursor_factory=psycopg2.extras.DictCursor)

    async def execute(statement: str) -> Any:
        if statement in {"COMMIT", "ROLLBACK"}:  # as statements, the driver would not hear of them
            return connection.commit() if statement == "COMMIT" else connection.rollback()
        with connection.cursor() as cursor:
            return cursor.execute(statement)

    yield Caller(connection, execute)
    connection.close()


@asynccontextmanager
async def _psycopg_async(dsn: str) -> AsyncIterator[Caller]:
    async with await psycopg.AsyncConnection.connect(
        dsn, cursor_factory=psycopg.AsyncRawCursor, row_factory=dict_row
    ) as connection:

        async def execute(statement: str) -> Any:
            return await connection.execute(statement.encode())

        yield Caller(connection, execute)


@asynccontextmanager
async def _asyncpg(dsn: str) -> AsyncIterator[Caller]:
    connection = await asyncpg.connect(dsn)
    # As many applications have it: JSON parameters are encoded by the connection.
    await connection.set_type_codec("json", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    yield Caller(connection, connection.execute, connection.execute)
    await connection.close()


KINDS = {
    "sqlite3": _sqlite,
    "psycopg": _psycopg,
    "psycopg async": _psycopg_async,
    "psycopg 2": _psycopg2,
    "asyncpg": _asyncpg,
}


@pytest.fixture(params=list(KINDS))
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database_kind(driver: str) -> str:
    """The database that the driver is for."""
    return "sqlite" if driver == "sqlite3" else "postgresql"


@pytest.fixture
async def caller(driver: str, database_url: str) -> AsyncIterator[Caller]:
    url = driver_url(database_url)
    where = url.database if driver == "sqlite3" else database_url
    async with KINDS[driver](str(where)) as made:
        await made.execute("CREATE TABLE users (name TEXT)")
        if driver != "asyncpg":
            await made.execute("COMMIT") if driver != "sqlite3" else made.connection.commit()
        yield made


async def test_a_job_is_committed_with_the_callers_rows(
    dispatcher: JobDispatcher, qstash: Any, caller: Caller, driver: str
) -> None:
    await caller.begin()
    await caller.execute("INSERT INTO users VALUES ('Ada')")
    job_id = await dispatcher.enqueue(
        "do-work", {"note": "100 % 'Ada'"}, user_id=7, retries=1, connection=caller.connection
    )
    if driver != "sqlite3":  # whose one writer is the caller, for now
        await dispatcher.flush()
    assert qstash.messages == []
    await caller.commit()
    await dispatcher.flush()
    (message,) = qstash.of(job_id)
    record = await dispatcher.get(job_id)
    assert (record.payload["note"], record.user_id, record.max_retries) == ("100 % 'Ada'", 7, 1)
    assert record.created_at == dispatcher.clock.now()
    assert record.message_id == message.id


async def test_a_rollback_leaves_nothing(
    dispatcher: JobDispatcher, qstash: Any, caller: Caller, clock: Any
) -> None:
    await caller.begin()
    await dispatcher.enqueue("do-work", {}, connection=caller.connection)
    await caller.rollback()
    clock.advance(timedelta(minutes=5))
    await dispatcher.flush()
    assert qstash.messages == []
    assert (await dispatcher.list()).jobs == ()


async def test_a_savepoint_rolled_back_takes_its_job_along(
    dispatcher: JobDispatcher, qstash: Any, caller: Caller
) -> None:
    await caller.begin()
    kept = await dispatcher.enqueue("do-work", {"note": "kept"}, connection=caller.connection)
    await caller.execute("SAVEPOINT inner_one")
    await dispatcher.enqueue("do-work", {"note": "undone"}, connection=caller.connection)
    await caller.execute("ROLLBACK TO SAVEPOINT inner_one")
    await caller.commit()
    await dispatcher.flush()
    assert [message.id for message in qstash.messages] == [message.id for message in qstash.of(kept)]
    assert [record.job_id for record in (await dispatcher.list()).jobs] == [kept]


async def test_an_idempotency_key_holds(dispatcher: JobDispatcher, qstash: Any, caller: Caller) -> None:
    first = await dispatcher.enqueue("do-work", {}, idempotency_key="k")
    await caller.begin()
    requests = [JobRequest("do-work", {}, idempotency_key=key) for key in ("k", "new", "new")]
    ids = await dispatcher.enqueue_many(requests, connection=caller.connection)
    await caller.commit()
    await dispatcher.flush()
    assert ids[0] == first
    assert ids[1] == ids[2] != first
    assert len(qstash.messages) == 2


# A process of its own: it commits a row and a job, writes a further job, and dies before anything is published.
_PROCESS = """
import asyncio, os, signal, sys
from datetime import datetime, timedelta
import httpx
from jobs_core import Job, JobDispatcher, ManualClock, Payload, Registry, Settings, job
from tests.jobs_core.test_caller_connections import KINDS

class Work(Payload):
    note: str = ""

@job("do-work", endpoint="/api/jobs/work", retries=3, timeout=timedelta(seconds=30), description="Never run here.")
async def do_work(payload: Work, job: Job) -> None: ...

def refuse(request):
    raise AssertionError(f"published in the process that was to die: {request.url}")

async def main(driver, where, database_url, now):
    settings = Settings(base_url="https://app.example.com", database_url=database_url)
    clock = ManualClock(datetime.fromisoformat(now))
    async with KINDS[driver](where) as caller, JobDispatcher(
        settings, registry=Registry([do_work]), clock=clock, transport=httpx.MockTransport(refuse)
    ) as dispatcher:
        await caller.begin()
        await caller.execute("INSERT INTO users VALUES ('kept')")
        await dispatcher.enqueue(do_work, Work(note="kept"), connection=caller.connection)
        await caller.commit()
        await caller.begin()
        await caller.execute("INSERT INTO users VALUES ('undone')")
        await dispatcher.enqueue(do_work, Work(note="undone"), connection=caller.connection)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a thing of POSIX")
async def test_what_a_killed_process_committed_is_published_by_another_and_what_it_did_not_is_gone(
    dispatcher: JobDispatcher, qstash: Any, caller: Caller, driver: str, database_url: str
) -> None:
    where = str(driver_url(database_url).database) if driver == "sqlite3" else database_url
    arguments = [driver, where, database_url, dispatcher.clock.now().isoformat()]
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-W", "ignore", "-c", _PROCESS, *arguments],
        env={**os.environ, "PYTHONPATH": str(_ROOT)}, capture_output=True, text=True, check=False, timeout=HANG_SECONDS,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    names = await dispatcher.database.read(
        lambda connection: connection.scalars(text("SELECT name FROM users")).all()
    )
    assert names == ["kept"]
    assert qstash.messages == []

    assert await dispatcher.outbox.relay() == 1
    (record,) = (await dispatcher.list()).jobs
    (message,) = qstash.of(record.job_id)
    assert (record.payload["note"], record.message_id) == ("kept", message.id)


async def test_a_connection_that_commits_each_statement_is_refused(
    dispatcher: JobDispatcher, driver: str, caller: Caller
) -> None:
    if driver == "sqlite3":
        caller.connection.isolation_level = None
    elif driver in {"psycopg", "psycopg 2"}:
        caller.connection.autocommit = True
    elif driver == "psycopg async":
        await caller.connection.set_autocommit(True)
    with pytest.raises(ValueError, match="begin a transaction first"):
        await dispatcher.enqueue("do-work", {}, connection=caller.connection)
    assert (await dispatcher.list()).jobs == ()


@pytest.mark.parametrize("driver", ["psycopg 2"], indirect=True)
async def test_a_psycopg2_connection_that_was_committed_behind_its_drivers_back_is_refused(
    dispatcher: JobDispatcher, caller: Caller
) -> None:
    """The driver believes itself in a transaction and begins none, so each statement would be committed."""
    with caller.connection.cursor() as cursor:
        cursor.execute("INSERT INTO users VALUES ('Ada')")
        cursor.execute("COMMIT")
    with pytest.raises(ValueError, match="begin a transaction first"):
        await dispatcher.enqueue("do-work", {}, connection=caller.connection)
    assert (await dispatcher.list()).jobs == ()


async def test_what_is_no_connection_is_refused_with_what_is_accepted(
    dispatcher: JobDispatcher, driver: str, caller: Caller
) -> None:
    with pytest.raises(TypeError, match=r"must be a sqlite3\.Connection, a psycopg\.Connection"):
        await dispatcher.enqueue("do-work", {}, connection=object())
    with pytest.raises(TypeError, match="session or connection, not both"):
        await dispatcher.enqueue("do-work", {}, session=object(), connection=caller.connection)  # type: ignore[arg-type]


async def test_the_blocking_face_takes_a_connection_that_blocks(
    settings: Settings, handlers: Any, qstash: Any, driver: str, caller: Caller
) -> None:
    def use() -> str:
        with SyncJobDispatcher(settings, registry=handlers.registry, transport=qstash.transport()) as jobs:
            job_id = jobs.enqueue("do-work", {}, connection=caller.connection)
            caller.connection.commit()
            jobs.flush()
            return job_id

    if driver in {"sqlite3", "psycopg", "psycopg 2"}:
        assert len(qstash.of(use())) == 1
        return
    with pytest.raises(
        TypeError, match=r"must be a sqlite3\.Connection, a psycopg\.Connection or a psycopg2 connection, not"
    ):
        await asyncio.to_thread(use)
