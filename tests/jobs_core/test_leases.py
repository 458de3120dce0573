"""One attempt at a time: a job is claimed under a lease, which is given back, taken over or lost."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from jobs_core import (
    AttemptOutcome,
    Job,
    JobStatus,
)
from jobs_core.app import running
from jobs_core.database.tables import executions
from tests.bounds import HANG_SECONDS


async def test_fifty_concurrent_deliveries_run_the_handler_once(app: Any, handlers: Any, gather: Any) -> None:
    release = asyncio.Event()

    async def wait(*_: Any) -> None:
        await release.wait()

    handlers.behaviour = wait
    message = await app.enqueue()
    deliveries = asyncio.create_task(gather(50, lambda _: app.deliver(message)))
    while not handlers.calls:
        await asyncio.sleep(0)
    release.set()
    statuses = sorted(answer.status_code for answer in await deliveries)
    assert len(handlers.calls) == 1
    assert set(statuses) <= {200, 503}
    assert 200 in statuses
    assert len((await app.record(message)).attempts) == 1


async def test_a_delivery_while_another_attempt_runs_comes_again_when_the_lease_is_over(
    app: Any, handlers: Any, clock: Any
) -> None:
    release = asyncio.Event()

    async def wait(*_: Any) -> None:
        await release.wait()

    handlers.behaviour = wait
    message = await app.enqueue(timeout=30)
    first = asyncio.create_task(app.deliver(message))
    while not handlers.calls:
        await asyncio.sleep(0)
    clock.advance(timedelta(seconds=15))
    second = await app.deliver(message, retried=1)
    assert (second.status_code, second.json()["status"]) == (200, "postponed")
    await app.dispatcher.flush()
    further = app.qstash.messages[-1]
    due = int(further.headers["upstash-not-before"]) - int(clock.now().timestamp())
    assert due == 25  # 30 s, 10 s to answer, 15 s gone
    assert further.headers["upstash-retries"] == "3"  # the job has not failed yet
    release.set()
    assert (await first).status_code == 200
    assert (await app.record(message)).status is JobStatus.COMPLETED
    assert (await app.deliver(further)).json()["status"] == "completed"
    assert len(handlers.calls) == 1


async def test_a_job_whose_worker_died_is_taken_over_when_its_lease_has_run_out(
    app: Any, handlers: Any, clock: Any
) -> None:
    entered = asyncio.Event()

    async def die(*_: Any) -> None:
        entered.set()
        await asyncio.Event().wait()

    handlers.behaviour = die
    message = await app.enqueue()
    dying = asyncio.create_task(app.deliver(message))  # as a killed process: it never says anything
    await entered.wait()

    handlers.behaviour = None
    clock.advance(timedelta(seconds=40))
    assert (await app.deliver(message, retried=2)).status_code == 200
    record = await app.record(message)
    assert record.status is JobStatus.COMPLETED
    assert [attempt.outcome for attempt in record.attempts] == ["lost", "completed"]
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_an_application_closes_after_the_leases_of_its_attempts_are_given_back(
    app: Any, handlers: Any, is_cancelled: bool
) -> None:
    """Servers cancel requests and close the application at the same moment, or leave requests to it."""
    entered = asyncio.Event()

    async def hang(*_: Any) -> None:
        entered.set()
        await asyncio.sleep(HANG_SECONDS)

    handlers.behaviour = hang
    message = await app.enqueue()
    async with running(app.asgi):
        delivery = asyncio.create_task(app.deliver(message))
        await entered.wait()
        if is_cancelled:
            delivery.cancel()
    assert delivery.done()
    (attempt,) = (await app.record(message)).attempts
    assert (attempt.outcome, attempt.status_code) == (AttemptOutcome.LOST, 503)
    await asyncio.gather(delivery, return_exceptions=True)


async def test_an_attempt_that_is_cut_off_gives_its_lease_back(app: Any, handlers: Any) -> None:
    entered = asyncio.Event()

    async def wait(*_: Any) -> None:
        entered.set()
        await asyncio.Event().wait()

    handlers.behaviour = wait
    message = await app.enqueue()
    cut_off = asyncio.create_task(app.deliver(message))
    await entered.wait()
    cut_off.cancel()  # as a server does that ends its grace
    await asyncio.gather(cut_off, return_exceptions=True)
    handlers.behaviour = None
    assert (await app.deliver(message, retried=1)).status_code == 200
    record = await app.record(message)
    assert [attempt.outcome for attempt in record.attempts] == ["lost", "completed"]
    assert record.attempts[0].error == "cut off: the worker was stopped"


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_a_delivery_that_is_cut_off_during_its_claim_holds_no_lease(
    app: Any, handlers: Any, is_cancelled: bool
) -> None:
    """Its commit waits for another's lock, and goes on without it. Or the application closes at that moment."""
    engine = app.dispatcher.database.engine
    message = await app.enqueue()

    async def unlock_when_cut_off() -> None:
        while not delivery.cancelling():
            await asyncio.sleep(0)
        lock.rollback()

    with engine.connect() as lock:
        lock.begin()
        lock.execute(update(executions).values(run=executions.c.run))
        async with asyncio.timeout(HANG_SECONDS), running(app.asgi):
            delivery = asyncio.create_task(app.deliver(message))
            while engine.pool.checkedout() < 2:
                await asyncio.sleep(0)
            unlocking = asyncio.create_task(unlock_when_cut_off())
            if is_cancelled:
                delivery.cancel()
        await unlocking
    assert delivery.cancelled()
    (attempt,) = (await app.record(message)).attempts
    assert (attempt.outcome, attempt.status_code) == (AttemptOutcome.LOST, 503)
    assert (await app.deliver(message, retried=1)).json()["status"] == "completed"
    assert len(handlers.calls) == 1


async def test_an_attempt_that_outlived_its_lease_cannot_overwrite_its_successor(
    app: Any, handlers: Any, clock: Any
) -> None:
    release = asyncio.Event()

    async def slow(_: Any, job: Job) -> str:
        if job.attempt_number == 1:
            await release.wait()
        return f"by attempt {job.attempt_number}"

    handlers.behaviour = slow
    message = await app.enqueue()
    first = asyncio.create_task(app.deliver(message))
    while not handlers.calls:
        await asyncio.sleep(0)
    clock.advance(timedelta(minutes=1))
    await app.deliver(message, retried=1)
    release.set()
    assert (await first).status_code == 200
    assert (await app.record(message)).result == "by attempt 2"
