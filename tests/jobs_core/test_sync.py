"""The blocking face, used from ordinary threads."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from jobs_core import JobDispatcher, JobRequest, JobStatus, JobValidationError, Settings, SyncJobDispatcher
from jobs_core.database.connections import driver_url


@pytest.fixture
def blocking(settings: Settings, handlers: Any, qstash: Any) -> Iterator[SyncJobDispatcher]:
    with SyncJobDispatcher(settings, registry=handlers.registry, transport=qstash.transport()) as made:
        yield made


def test_threads_share_a_dispatcher(blocking: SyncJobDispatcher, qstash: Any) -> None:
    with ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(lambda i: blocking.enqueue("do-work", {"count": i}, retries=1), range(40)))
    assert len(set(ids)) == len(qstash.messages) == 40
    assert len(blocking.list().jobs) == 40


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_task_that_exits_leaves_the_loop_running(blocking: SyncJobDispatcher) -> None:
    async def leave() -> None:
        raise SystemExit(3)

    async def start() -> None:
        task = asyncio.get_running_loop().create_task(leave())
        task.add_done_callback(lambda ended: ended.exception())

    blocking.background.run(start())
    assert blocking.list().jobs == ()


def test_the_life_of_a_job(blocking: SyncJobDispatcher, qstash: Any) -> None:
    (job_id,) = blocking.enqueue_many([JobRequest("do-work", {})])
    assert blocking.get(job_id).status is JobStatus.PENDING
    assert blocking.cancel(job_id).status is JobStatus.CANCELLED
    assert blocking.wait(job_id).status is JobStatus.CANCELLED
    assert blocking.retry(job_id).status is JobStatus.PENDING
    with pytest.raises(JobValidationError):
        blocking.enqueue("do-work", {"note": 1})


def test_a_job_in_the_callers_transaction(
    blocking: SyncJobDispatcher, qstash: Any, database_url: str
) -> None:
    engine = create_engine(driver_url(database_url))
    with Session(engine) as session:
        blocking.enqueue("do-work", {"note": "undone"}, session=session)
        session.rollback()
        job_id = blocking.enqueue("do-work", {"note": "done"}, session=session, user_id=1)
        session.commit()
    engine.dispose()
    blocking.close = lambda: None  # type: ignore[method-assign]  # closed here, so that all is published
    SyncJobDispatcher.close(blocking)
    assert [message.id for message in qstash.messages] == [message.id for message in qstash.of(job_id)]


async def test_a_sync_handlers_jobs_know_their_parent(
    blocking: SyncJobDispatcher, dispatcher: JobDispatcher, app: Any, handlers: Any
) -> None:
    import asyncio

    async def spawn(_: Any, job: Any) -> str:
        return await asyncio.to_thread(blocking.enqueue, "block", {})

    handlers.behaviour = spawn
    message = await app.enqueue()
    await app.deliver(message)
    record = await app.record(message)
    assert (await dispatcher.get(record.result)).parent_job_id == record.job_id
