"""Against the emulator, over a month of its time: what only a server that delivers can show."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

from emulator.testing import Harness
from jobs_core import (
    Cron,
    JobDispatcher,
    JobFilter,
    JobRequest,
    JobStateError,
    JobStatus,
    Registry,
    Settings,
    create_app,
)
from jobs_core.engine.lost_jobs import Closer

PUBLIC = "https://app.example.com/background"


@dataclass
class EmulatorTime:
    """The emulator's clock, for the records."""

    harness: Harness

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.harness.now / 1000, UTC)


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    start = datetime(2026, 6, 1, tzinfo=UTC)
    async with Harness(now_at=int(start.timestamp() * 1000)) as made:
        yield made


@pytest.fixture
async def jobs(harness: Harness, database_url: str, handlers: Any) -> AsyncIterator[JobDispatcher]:
    """A dispatcher whose worker is mounted under a prefix of another app, behind a proxy."""
    settings = Settings(base_url=PUBLIC, database_url=database_url)
    async with JobDispatcher(
        settings,
        registry=handlers.registry,
        clock=EmulatorTime(harness),
        transport=httpx.ASGITransport(harness.app),
    ) as made:
        harness.mount(
            "https://app.example.com", Starlette(routes=[Mount("/background", create_app(dispatcher=made))])
        )
        yield made


async def test_a_schedule_makes_a_job_of_every_firing_for_a_month(
    jobs: JobDispatcher, harness: Harness, handlers: Any
) -> None:
    schedule_id = await jobs.schedules.create(
        "do-work", "0 9 * * *", {"note": "daily"}, timezone="Europe/Berlin", user_id=7, schedule_id="daily"
    )
    assert schedule_id == "daily"
    await harness.advance(timedelta(days=30))
    records = (await jobs.list(JobFilter(schedule_id="daily", limit=100))).jobs
    assert len(records) == len(handlers.calls) == 30
    assert {record.status for record in records} == {JobStatus.COMPLETED}
    assert {record.user_id for record in records} == {7}
    assert {record.created_at.hour for record in records} == {7}  # nine in Berlin's summer

    (schedule,) = await jobs.schedules.list()
    assert (schedule.schedule_id, schedule.is_paused) == ("daily", False)
    assert await jobs.schedules.pause("daily")
    await harness.advance(timedelta(days=3))
    assert len(handlers.calls) == 30
    assert await jobs.schedules.resume("daily")
    await harness.advance(timedelta(days=1))
    assert len(handlers.calls) == 31
    assert await jobs.schedules.remove("daily")
    assert not await jobs.schedules.remove("daily")


async def test_a_job_that_always_fails_is_attempted_four_times_over_the_default_backoff(
    jobs: JobDispatcher, harness: Harness, handlers: Any
) -> None:
    async def fail(*_: Any) -> None:
        raise ValueError("never")

    handlers.behaviour = fail
    job_id = await jobs.enqueue("do-work", {})
    await harness.settle()
    started = (await jobs.get(job_id)).started_at
    expected = (await jobs.get(job_id)).next_attempt_at
    assert started is not None
    assert expected is not None
    await harness.run_until_idle()
    record = await jobs.get(job_id)
    assert (record.status, record.retry_count, len(record.attempts)) == (JobStatus.FAILED, 3, 4)
    waits = [
        (later.started_at - earlier.started_at).total_seconds()
        for earlier, later in zip(record.attempts, record.attempts[1:], strict=False)
    ]
    assert waits == pytest.approx([12.18, 148.41, 1808.04], abs=0.01)
    assert expected == pytest.approx(record.attempts[1].started_at, abs=timedelta(milliseconds=10))


async def test_a_queue_keeps_its_order(jobs: JobDispatcher, harness: Harness, handlers: Any) -> None:
    for count in range(5):
        await jobs.enqueue("do-work", {"count": count}, queue="ordered")
    await harness.run_until_idle()
    assert [payload.count for payload, _ in handlers.calls] == [0, 1, 2, 3, 4]


async def test_many_jobs_in_one_batch_all_run(jobs: JobDispatcher, harness: Harness, handlers: Any) -> None:
    requests = [JobRequest.of("do-work", {"count": count}, delay=60) for count in range(30)]
    await jobs.enqueue_many(requests)
    await harness.run_until_idle()
    assert {payload.count for payload, _ in handlers.calls} == set(range(30))
    assert len((await jobs.list(JobFilter(status=JobStatus.COMPLETED))).jobs) == 30


async def test_declared_schedules_are_synchronised_and_removed_ones_only_on_request(
    jobs: JobDispatcher, harness: Harness, handlers: Any, settings: Settings
) -> None:
    (work,) = [definition for definition in handlers.registry if definition.job_type == "do-work"]
    declared = replace(work, schedule=Cron("*/10 * * * *", {"note": "often"}))
    await jobs.schedules.create("block", "0 0 * * *", {}, schedule_id="jobs-core.old")
    await jobs.schedules.create("block", "0 0 * * *", {}, schedule_id="made-by-hand")

    jobs.context.registry = Registry([declared])
    plan = await jobs.schedules.plan()
    assert (list(plan.declared), plan.undeclared) == (["jobs-core.do-work"], ("jobs-core.old",))
    await jobs.schedules.carry_out(plan, remove=False)
    assert len(await jobs.schedules.list()) == 3
    await jobs.schedules.carry_out(plan, remove=True)
    assert {each.schedule_id for each in await jobs.schedules.list()} == {"jobs-core.do-work", "made-by-hand"}
    await harness.advance("1h")
    assert [payload.note for payload, _ in handlers.calls] == ["often"] * 6


async def test_qstash_reports_the_signing_keys_that_we_have(jobs: JobDispatcher) -> None:
    assert await jobs.client.signing_keys() == (
        jobs.settings.qstash_current_signing_key.get_secret_value(),
        jobs.settings.qstash_next_signing_key.get_secret_value(),
    )


async def test_a_job_that_waits_runs_at_once_when_asked(
    jobs: JobDispatcher, harness: Harness, handlers: Any
) -> None:
    job_id = await jobs.enqueue("do-work", {"note": "later"}, user_id=7, delay=timedelta(days=1))
    asked_at = harness.now
    assert (await jobs.run_now(job_id)).job_id == job_id
    await harness.settle()
    assert (await jobs.get(job_id)).status is JobStatus.COMPLETED
    assert harness.now == asked_at
    with pytest.raises(JobStateError, match="does not wait in QStash"):
        await jobs.run_now(job_id)


async def test_a_delivery_of_the_second_region_is_checked_with_that_regions_keys(
    database_url: str, handlers: Any
) -> None:
    async with Harness(region="us-east-1") as qstash:
        keys = qstash.runtime.broker.state.keys
        settings = Settings(
            base_url=PUBLIC,
            database_url=database_url,
            qstash_region="EU_CENTRAL_1",
            qstash_current_signing_key="sig_of_the_first_region_32_bytes_",
            qstash_next_signing_key="sig_of_the_first_region_next_32__",
            us_east_1_qstash_current_signing_key=keys.current,
            us_east_1_qstash_next_signing_key=keys.next,
        )
        async with JobDispatcher(
            settings,
            registry=handlers.registry,
            clock=EmulatorTime(qstash),
            transport=httpx.ASGITransport(qstash.app),
        ) as jobs:
            app = create_app(dispatcher=jobs)
            qstash.mount("https://app.example.com", Starlette(routes=[Mount("/background", app)]))
            job_id = await jobs.enqueue("do-work", {"note": "from the second"})
            await qstash.settle()
            assert (await jobs.get(job_id)).status is JobStatus.COMPLETED


@pytest.mark.parametrize("status", [502, 413, 403])
async def test_a_job_whose_failure_callback_is_refused_until_its_own_retries_run_out_is_closed_by_the_sweep(
    harness: Harness, jobs: JobDispatcher, handlers: Any, status: int
) -> None:
    """A proxy answers everything, the callback too. QStash still has the message's record: in its log and its DLQ."""

    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("a proxy", status_code=status)(scope, receive, send)

    harness.mount("https://app.example.com", refuse)
    job_id = await jobs.enqueue("do-work", {}, retries=1)
    await harness.advance(timedelta(days=1))
    assert (await jobs.get(job_id)).status is JobStatus.PENDING  # nobody told us
    assert await Closer(jobs.context).sweep() == [job_id]
    record = await jobs.get(job_id)
    assert record.status is JobStatus.FAILED
    assert f"QStash gave up its message {record.message_id}" in (record.error or "")
    assert str(status) in (record.error or "")
    assert handlers.calls == []
    assert await Closer(jobs.context).sweep() == []
