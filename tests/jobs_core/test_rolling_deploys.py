"""Workers of the version before and of this one share a migrated database, as they do while one replaces the other."""

import contextlib
import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine

from jobs_core import AttemptOutcome, JobStatus, ManualClock
from jobs_core.database.connections import driver_url
from tests.jobs_core.older_version import RECORDED, columns_of, older_statements


def test_migrations_only_add_what_the_version_before_need_not_know(database_url: str) -> None:
    engine = create_engine(driver_url(database_url))
    with engine.connect() as connection:
        tables = columns_of(connection)
    engine.dispose()
    for table, before in json.loads(RECORDED.read_text())["tables"].items():
        for column, is_optional in before.items():
            assert column in tables[table], f"{table}.{column} is gone"
            assert tables[table][column] or not is_optional, f"{table}.{column} must be given now"
        for column in tables[table].keys() - before.keys():
            assert tables[table][column], f"{table}.{column} is new, and must be given"


def _version(name: str) -> contextlib.AbstractContextManager[None]:
    return older_statements() if name == "old" else contextlib.nullcontext()


@pytest.fixture(params=["old then new", "new then old"])
def versions(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """Two versions, one after the other."""
    first, _, second = str(request.param).partition(" then ")
    return lambda: _version(first), lambda: _version(second)


async def test_what_one_version_enqueues_the_other_runs(app: Any, versions: Any) -> None:
    first, second = versions
    with first():
        message = await app.enqueue(idempotency_key="once")
    with second():
        assert (await app.deliver(message)).json()["status"] == "completed"
        job_id = await app.dispatcher.enqueue("do-work", {"note": ""}, idempotency_key="once")
    record = await app.record(message)
    assert (record.job_id, record.status) == (job_id, JobStatus.COMPLETED)
    with first():
        assert (await app.deliver(message)).json()["status"] == "completed"
    assert (await app.record(message)).attempt_count == 1


async def test_what_fails_in_one_version_is_retried_by_the_other(
    app: Any, handlers: Any, versions: Any
) -> None:
    async def fail_once(*_: Any) -> None:
        if len(handlers.calls) == 1:
            raise RuntimeError("not yet")

    handlers.behaviour = fail_once
    first, second = versions
    with first():
        message = await app.enqueue(retries=1)
        assert (await app.deliver(message)).status_code == 500
    with second():
        assert (await app.deliver(message, retried=1)).status_code == 200
    outcomes = [attempt.outcome for attempt in (await app.record(message)).attempts]
    assert outcomes == [AttemptOutcome.RETRY, AttemptOutcome.COMPLETED]


async def test_a_job_left_by_a_dead_worker_of_one_version_is_taken_over_by_the_other(
    app: Any, clock: ManualClock, handlers: Any, versions: Any
) -> None:
    """The dead one comes back, and finds that it has lost the job."""
    first, second = versions
    answers: list[Any] = []

    async def outlive(*_: Any) -> None:
        if len(handlers.calls) > 1:
            return
        clock.advance(timedelta(minutes=2))
        with second():
            answers.append(await app.deliver(message, retried=1))

    handlers.behaviour = outlive
    with first():
        message = await app.enqueue()
        late = await app.deliver(message)
    assert [answer.json()["status"] for answer in (*answers, late)] == ["completed", "superseded"]
    record = await app.record(message)
    assert record.status is JobStatus.COMPLETED
    assert [attempt.outcome for attempt in record.attempts] == [AttemptOutcome.LOST, AttemptOutcome.COMPLETED]


async def test_what_one_version_could_not_publish_the_other_does(
    app: Any, clock: ManualClock, versions: Any
) -> None:
    first, second = versions
    app.qstash.unreachable = True
    with first():
        job_id = await app.dispatcher.enqueue("do-work", {"note": ""})
    app.qstash.unreachable = False
    clock.advance(timedelta(minutes=5))
    with second():
        await app.dispatcher.outbox.relay()
    (message,) = app.qstash.of(job_id)
    assert (await app.dispatcher.get(job_id)).message_id == message.id
