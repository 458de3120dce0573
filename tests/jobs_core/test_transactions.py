"""Enqueueing inside the caller's transaction: with the caller's own rows, or not at all."""

import asyncio
import json
import threading
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, text
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker
from sqlmodel import Session as ModelSession
from sqlmodel.ext.asyncio.session import AsyncSession as ModelAsyncSession

from jobs_core import JobDispatcher, JobRequest, JobStatus, Settings
from jobs_core.database.connections import driver_url
from jobs_core.database.new_jobs import insert_jobs
from jobs_core.database.tables import JobsModel

from .conftest import RecordingQStash


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """The application's own."""
    made = create_async_engine(_asynchronous(database_url))
    async with made.begin() as connection:
        await connection.execute(text("CREATE TABLE users (name TEXT)"))
    yield made
    await made.dispose()


def _asynchronous(database_url: str) -> URL:
    url = driver_url(database_url)
    return url.set(drivername="sqlite+aiosqlite") if url.get_backend_name() == "sqlite" else url


async def settle(dispatcher: JobDispatcher) -> None:
    """Let the wake-up arrive, and the relay finish."""
    await asyncio.sleep(0)
    await dispatcher.outbox.close()


@pytest.mark.parametrize("kind", [AsyncSession, ModelAsyncSession])
async def test_a_job_is_published_after_the_commit(
    dispatcher: JobDispatcher, qstash: Any, engine: AsyncEngine, kind: type[AsyncSession]
) -> None:
    async with kind(engine) as session:
        await (await session.connection()).execute(text("INSERT INTO users VALUES ('Ada')"))
        job_id = await dispatcher.enqueue("do-work", {"note": "Ada"}, session=session)
        await settle(dispatcher)
        assert qstash.messages == []
        await session.commit()
    await settle(dispatcher)
    (message,) = qstash.of(job_id)
    assert (await dispatcher.get(job_id)).message_id == message.id


@pytest.mark.parametrize("database_kind", ["sqlite", "postgresql", "psycopg 2"])
@pytest.mark.parametrize("kind", [Session, ModelSession])
async def test_a_blocking_session_will_do(
    dispatcher: JobDispatcher, qstash: Any, database_url: str, kind: type[Session]
) -> None:
    engine = create_engine(driver_url(database_url))
    with kind(engine) as session:
        job_id = await dispatcher.enqueue("do-work", {}, session=session)
        session.commit()
    await settle(dispatcher)
    assert len(qstash.of(job_id)) == 1
    engine.dispose()


async def test_a_rollback_publishes_nothing_and_leaves_no_record(
    dispatcher: JobDispatcher, qstash: Any, engine: AsyncEngine, clock: Any
) -> None:
    async with AsyncSession(engine) as session:
        await dispatcher.enqueue("do-work", {}, session=session)
        await session.rollback()
    await settle(dispatcher)
    clock.advance(timedelta(minutes=5))
    await dispatcher.outbox.relay()
    assert qstash.messages == []
    assert (await dispatcher.list()).jobs == ()


async def test_a_released_savepoint_is_not_a_commit(
    dispatcher: JobDispatcher, qstash: Any, engine: AsyncEngine
) -> None:
    async with AsyncSession(engine) as session:
        # Without a statement before it, the SQLite driver would take the savepoint for a transaction.
        await (await session.connection()).execute(text("INSERT INTO users VALUES ('Ada')"))
        async with session.begin_nested():
            await dispatcher.enqueue("do-work", {}, session=session)
        await settle(dispatcher)
        assert qstash.messages == []
        await session.rollback()
    await settle(dispatcher)
    assert qstash.messages == []


async def test_an_idempotency_key_holds_inside_a_transaction(
    dispatcher: JobDispatcher, qstash: Any, engine: AsyncEngine
) -> None:
    first = await dispatcher.enqueue("do-work", {}, idempotency_key="k")
    async with AsyncSession(engine) as session:
        assert await dispatcher.enqueue("do-work", {}, idempotency_key="k", session=session) == first
        await session.commit()
    await settle(dispatcher)
    assert len(qstash.messages) == 1


async def test_a_process_that_dies_after_the_commit_loses_nothing(
    dispatcher: JobDispatcher, qstash: Any, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher.outbox, "wake", lambda: None)
    async with AsyncSession(engine) as session:
        await dispatcher.enqueue("do-work", {}, session=session)
        await session.commit()
    assert qstash.messages == []
    assert await dispatcher.outbox.relay() == 1
    assert len(qstash.messages) == 1


async def test_flush_waits_for_what_another_relay_has_taken_and_not_yet_published(
    dispatcher: JobDispatcher, qstash: RecordingQStash
) -> None:
    """The relay of the running app and a flush meet: whoever comes second finds nothing to take, but must wait."""
    job = dispatcher.composer.prepare(JobRequest("do-work", {"note": "x"}))
    now = dispatcher.clock.now()
    await dispatcher.database.write(lambda connection: insert_jobs(connection, [job], locked_until=now))
    running = asyncio.create_task(dispatcher.outbox.relay())
    await dispatcher.flush()
    assert len(qstash.messages) == 1
    await running


# --- the sessions that applications have


class _Base(DeclarativeBase): ...


class _Thing(_Base):
    """A table of the application's, in a database of its own."""

    __tablename__ = "things"
    id: Mapped[int] = mapped_column(primary_key=True)


async def test_a_scoped_session_is_taken_and_has_one_hook_however_often_it_enqueues(
    dispatcher: JobDispatcher, qstash: Any
) -> None:
    scoped = scoped_session(sessionmaker(dispatcher.database.engine))
    job_ids = [await dispatcher.enqueue("do-work", {"count": count}, session=scoped) for count in range(5)]
    assert len(scoped().dispatch.after_commit) == 1
    assert qstash.messages == []
    scoped.commit()
    await dispatcher.flush()
    assert len(qstash.messages) == len(job_ids)
    scoped.remove()


async def test_an_asynchronous_scoped_session_is_taken_likewise(
    dispatcher: JobDispatcher, qstash: Any, engine: AsyncEngine
) -> None:
    scoped = async_scoped_session(async_sessionmaker(engine), scopefunc=asyncio.current_task)
    job_ids = [await dispatcher.enqueue("do-work", {"count": count}, session=scoped) for count in range(5)]
    assert len(scoped().sync_session.dispatch.after_commit) == 1
    assert qstash.messages == []
    await scoped.commit()
    await settle(dispatcher)
    assert len(qstash.messages) == len(job_ids)
    await scoped.remove()


async def test_the_job_tables_may_be_in_another_database_of_the_session(
    dispatcher: JobDispatcher, tmp_path: Path
) -> None:
    elsewhere = create_engine(f"sqlite:///{tmp_path / 'application.db'}")
    binds: dict[Any, Any] = {JobsModel: dispatcher.database.engine, _Thing: elsewhere}
    with Session(binds=binds) as session:
        job_id = await dispatcher.enqueue("do-work", {}, session=session)
        session.commit()
    assert (await dispatcher.get(job_id)).status is JobStatus.PENDING
    with (
        Session(binds={_Thing: elsewhere}) as session,
        pytest.raises(UnboundExecutionError, match="JobsModel"),
    ):
        await dispatcher.enqueue("do-work", {}, session=session)
    elsewhere.dispose()


async def test_what_is_no_session_is_refused_in_words(dispatcher: JobDispatcher) -> None:
    wrong: Any = dispatcher.database.engine
    with pytest.raises(TypeError, match=r"session must be a Session or scoped_session .* not Engine"):
        await dispatcher.enqueue("do-work", {}, session=wrong)


def test_one_dispatcher_serves_event_loops_that_come_and_go_and_threads_with_loops_of_their_own(
    settings: Settings, handlers: Any
) -> None:
    """Over real sockets: connections that were kept open belong to a loop."""

    class QStash(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            answer = json.dumps({"messageId": f"msg_{uuid.uuid4().hex}"}).encode()
            self.send_response(201)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), QStash)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    there = settings.model_copy(update={"qstash_url": f"http://127.0.0.1:{server.server_address[1]}"})
    dispatcher = JobDispatcher(there, registry=handlers.registry)

    async def enqueue() -> str | None:
        job_id = await dispatcher.enqueue("do-work", {})
        message_id = (await dispatcher.get(job_id)).message_id
        await dispatcher.client.aclose()
        return message_id

    try:
        assert all(asyncio.run(enqueue()) for _ in range(3))
        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(lambda _: asyncio.run(enqueue()), range(12)))
    finally:
        asyncio.run(dispatcher.aclose())
        server.shutdown()
        server.server_close()
