"""Enqueueing inside the caller's transaction: with the caller's own rows, or not at all."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlmodel import Session as ModelSession
from sqlmodel.ext.asyncio.session import AsyncSession as ModelAsyncSession

from jobs_core import JobDispatcher, JobRequest
from jobs_core.database.connections import driver_url
from jobs_core.database.job_store import insert_jobs

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
