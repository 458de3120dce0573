"""Faults that job systems over QStash are known for. Each has a test with its name, which fails where the fault is.

The whole path is run: enqueue, publish, signed deliveries by the emulator under its manual clock, handler, record.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from emulator.testing import Harness
from jobs_core import (
    AttemptOutcome,
    Job,
    JobDispatcher,
    JobFilter,
    JobStatus,
    PermanentJobError,
    Settings,
)
from jobs_core.testing import add_execution, jobs_running, wait_for_job

DAY = timedelta(days=1)


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    async with Harness() as made:
        yield made


@pytest.fixture
async def jobs(harness: Harness, handlers: Any, database_url: str) -> AsyncIterator[JobDispatcher]:
    settings = Settings(base_url="https://app.example.com", database_url=database_url)
    async with jobs_running(harness, registry=handlers.registry, settings=settings) as dispatcher:
        yield dispatcher


async def test_a_publish_that_fails_after_the_record_is_written_leaves_no_job_pending_for_ever(
    jobs: JobDispatcher, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    with monkeypatch.context() as patched:
        patched.setattr(jobs.client._clients.here(), "request", fail)
        job_id = await jobs.enqueue("do-work", {})
        assert (await jobs.get(job_id)).message_id is None
    await harness.advance("1m")
    record = await wait_for_job(jobs, job_id, turn=harness.run_until_idle)
    assert record.message_id is not None


@pytest.mark.parametrize(
    ("delay", "waited"), [(timedelta(minutes=1), 60), (90, 90), (timedelta(milliseconds=1500), 2)]
)
async def test_delays_are_not_milliseconds_given_to_an_api_that_takes_seconds(
    jobs: JobDispatcher, harness: Harness, delay: Any, waited: int
) -> None:
    job_id = await jobs.enqueue("do-work", {}, delay=delay)
    record = await wait_for_job(jobs, job_id, turn=harness.run_until_idle)
    assert record.started_at is not None
    assert record.started_at - record.created_at == timedelta(seconds=waited)


async def test_the_first_failed_attempt_does_not_mark_the_job_failed_although_it_will_be_retried(
    jobs: JobDispatcher, harness: Harness, handlers: Any
) -> None:
    async def fail_once(_: Any, job: Job) -> str:
        if job.attempt_number == 1:
            raise ValueError("broken")
        return "mended"

    handlers.behaviour = fail_once
    job_id = await jobs.enqueue("do-work", {})
    await harness.settle()
    waiting = await jobs.get(job_id)
    assert (waiting.status, waiting.retry_count, waiting.error) == (
        JobStatus.PENDING,
        1,
        "ValueError: broken",
    )
    assert waiting.next_attempt_at is not None
    assert waiting.completed_at is None
    assert (await wait_for_job(jobs, job_id, turn=harness.run_until_idle)).result == "mended"


async def test_the_configured_timeout_is_not_left_unapplied(
    jobs: JobDispatcher, harness: Harness, handlers: Any
) -> None:
    async def hang_once(_: Any, job: Job) -> str:
        if job.attempt_number == 1:
            await asyncio.Event().wait()
        return "in time"

    handlers.behaviour = hang_once
    job_id = await jobs.enqueue("do-work", {}, timeout=0.05)
    record = await wait_for_job(jobs, job_id, turn=harness.run_until_idle)
    assert [(attempt.outcome, attempt.status_code) for attempt in record.attempts] == [
        (AttemptOutcome.RETRY, 504),
        (AttemptOutcome.COMPLETED, 200),
    ]


async def test_the_idempotency_key_is_not_stored_and_never_used(
    jobs: JobDispatcher, harness: Harness, handlers: Any
) -> None:
    first = await jobs.enqueue("do-work", {"note": "first"}, idempotency_key="order-1")
    again = [
        await jobs.enqueue("do-work", {"note": "again"}, idempotency_key="order-1"),
        *await asyncio.gather(
            *(jobs.enqueue("do-work", {"note": "again"}, idempotency_key="order-1") for _ in range(5))
        ),
    ]
    await harness.run_until_idle()
    assert set(again) == {first}
    assert [payload.note for payload, _ in handlers.calls] == ["first"]


async def test_the_firings_of_a_schedule_do_not_overwrite_one_record(
    jobs: JobDispatcher, harness: Harness, handlers: Any
) -> None:
    schedule_id = await jobs.schedule("do-work", "0 * * * *", {"note": "hourly"}, timeout=5, retries=1)
    await harness.advance(DAY)
    records = (await jobs.list(JobFilter(schedule_id=schedule_id))).jobs
    assert len({record.job_id for record in records}) == len(handlers.calls) == 24
    assert {(record.status, record.max_retries) for record in records} == {(JobStatus.COMPLETED, 1)}


async def test_a_permanent_error_is_not_retried_like_any_other(
    jobs: JobDispatcher, harness: Harness, handlers: Any
) -> None:
    async def refuse(*_: Any) -> None:
        raise PermanentJobError("there is no such user")

    handlers.behaviour = refuse
    job_id = await jobs.enqueue("do-work", {})
    record = await wait_for_job(jobs, job_id, JobStatus.FAILED, turn=harness.run_until_idle)
    assert [attempt.status_code for attempt in record.attempts] == [489]
    assert len(handlers.calls) == 1


async def test_a_redelivered_job_does_not_run_twice(app: Any, handlers: Any) -> None:
    message = await app.enqueue()
    answers = [await app.deliver(message) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert len(handlers.calls) == 1


async def test_clean_up_is_not_a_stub(harness: Harness, database_url: str) -> None:
    settings = Settings(base_url="https://app.example.com", database_url=database_url)
    async with jobs_running(harness, settings=settings) as jobs:
        long_ago = jobs.clock.now() - 40 * DAY
        for status in ("completed", "failed", "pending"):
            await add_execution(jobs, status=status, created_at=long_ago)
        await wait_for_job(
            jobs, await jobs.enqueue("cleanup-old-data", {"retention": 30}), turn=harness.run_until_idle
        )
        left = [record.status for record in (await jobs.list()).jobs if record.created_at == long_ago]
    assert left == [JobStatus.PENDING]


async def test_a_job_cancelled_while_it_waits_for_its_retry_never_runs_again(
    jobs: JobDispatcher, harness: Harness, handlers: Any
) -> None:
    async def fail(*_: Any) -> None:
        raise ValueError("broken")

    handlers.behaviour = fail
    job_id = await jobs.enqueue("do-work", {})
    await harness.advance("13s")
    assert (await jobs.cancel(job_id)).status is JobStatus.CANCELLED
    await harness.run_until_idle()
    record = await jobs.get(job_id)
    assert (record.status, len(record.attempts), len(handlers.calls)) == (JobStatus.CANCELLED, 2, 2)


async def test_options_that_a_schedule_cannot_have_are_refused(jobs: JobDispatcher) -> None:
    from jobs_core import JobValidationError

    with pytest.raises(JobValidationError, match="a schedule has no delay"):
        await jobs.schedule("do-work", "0 * * * *", {}, delay=5)
    with pytest.raises(JobValidationError, match="colour"):
        await jobs.schedule("do-work", "0 * * * *", {}, colour="red")
