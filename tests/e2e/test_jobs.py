"""The whole path in one process: enqueue, publish, signed delivery, handler, record; under a manual clock."""

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from emulator.testing import Harness
from jobs_core import (
    AttemptOutcome,
    Job,
    JobDispatcher,
    JobStatus,
    Payload,
    PermanentJobError,
    Registry,
    RetryLater,
    Settings,
    create_app,
    job,
)
from jobs_core.database import migrations

BASE_URL = "https://app.example.com"


class Work(Payload):
    """Payload of the test job."""

    note: str = ""


@dataclass
class EmulatorTime:
    """The job system's clock, read from the emulator's: both turn together."""

    harness: Harness

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.harness.now / 1000, UTC)


@dataclass
class Recorder:
    """Passes requests on to an app, and keeps their bodies and retry counts by path."""

    app: Any
    seen: list[tuple[str, str | None, bytes]] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""

        async def keeping() -> Any:
            nonlocal body
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                headers = dict(scope["headers"])
                retried = headers.get(b"upstash-retried")
                self.seen.append((scope["path"], retried.decode() if retried else None, body))
            return message

        await self.app(scope, keeping, send)


@dataclass
class System:
    """Everything a test needs of both packages."""

    qstash: Harness
    dispatcher: JobDispatcher
    worker: Recorder
    outcomes: list[Exception | None]
    started_at: list[int]

    def deliveries(self) -> list[str | None]:
        """``Upstash-Retried`` of each delivery of the job, in order."""
        return [retried for path, retried, _ in self.worker.seen if path == "/api/jobs/work"]

    def waits(self) -> list[int]:
        """Milliseconds between the handler's runs."""
        return [later - earlier for earlier, later in zip(self.started_at, self.started_at[1:], strict=False)]


@pytest.fixture
async def system(qstash: Harness, tmp_path: Path) -> AsyncIterator[System]:
    outcomes: list[Exception | None] = []
    started_at: list[int] = []

    @job(
        "do-work",
        endpoint="/api/jobs/work",
        retries=3,
        timeout=timedelta(seconds=30),
        description="A test's work.",
    )
    async def do_work(payload: Work, job: Job) -> dict[str, str]:
        started_at.append(qstash.now)
        outcome = outcomes.pop(0) if outcomes else None
        if outcome is not None:
            raise outcome
        return {"done": payload.note}

    database_url = f"sqlite:///{tmp_path / 'jobs.db'}"
    migrations.upgrade(database_url)
    settings = Settings(base_url=BASE_URL, database_url=database_url, environment="test")
    dispatcher = JobDispatcher(
        settings,
        registry=Registry([do_work]),
        clock=EmulatorTime(qstash),
        transport=httpx.ASGITransport(qstash.app),
    )
    async with dispatcher:
        worker = Recorder(create_app(dispatcher=dispatcher))
        qstash.mount(BASE_URL, worker)
        yield System(qstash, dispatcher, worker, outcomes, started_at)


async def test_a_job_goes_the_whole_way(system: System) -> None:
    job_id = await system.dispatcher.enqueue("do-work", {"note": "hello"}, user_id=7)
    await system.qstash.settle()
    record = await system.dispatcher.get(job_id)
    assert (record.status, record.result, record.user_id) == (JobStatus.COMPLETED, {"done": "hello"}, 7)
    assert [attempt.outcome for attempt in record.attempts] == [AttemptOutcome.COMPLETED]


async def test_a_handler_that_fails_twice_is_tried_after_the_default_backoff(system: System) -> None:
    system.outcomes[:] = [RuntimeError("first"), RuntimeError("second")]
    job_id = await system.dispatcher.enqueue("do-work", {"note": "x"})
    await system.qstash.settle()
    waiting = await system.dispatcher.get(job_id)
    assert waiting.status is JobStatus.PENDING
    assert waiting.error is not None
    assert "first" in waiting.error
    await system.qstash.run_until_idle()
    assert system.waits() == [12_182, 148_413]
    assert system.deliveries() == ["0", "1", "2"]
    record = await system.dispatcher.get(job_id)
    assert record.status is JobStatus.COMPLETED
    assert [attempt.number for attempt in record.attempts] == [1, 2, 3]
    assert [attempt.outcome is AttemptOutcome.COMPLETED for attempt in record.attempts] == [
        False,
        False,
        True,
    ]


async def test_a_handler_that_always_fails_ends_in_the_dlq_and_its_record_says_failed(system: System) -> None:
    system.outcomes[:] = [RuntimeError("broken")] * 9
    job_id = await system.dispatcher.enqueue("do-work", {"note": "x"})
    await system.qstash.run_until_idle()
    record = await system.dispatcher.get(job_id)
    assert record.status is JobStatus.FAILED
    assert record.error is not None
    assert "broken" in record.error
    assert len(record.attempts) == 4
    [dead] = (await system.qstash.client.get("/v2/dlq")).json()["messages"]
    [notice] = [
        json.loads(body) for path, _, body in system.worker.seen if path.endswith("/callbacks/failure")
    ]
    assert notice["dlqId"] == dead["dlqId"]
    assert (notice["status"], notice["retried"], notice["maxRetries"]) == (500, 3, 3)
    assert notice["sourceMessageId"] == dead["messageId"]
    assert notice["url"] == f"{BASE_URL}/api/jobs/work"
    assert json.loads(base64.b64decode(notice["sourceBody"]))["jobId"] == job_id


async def test_a_permanent_error_is_not_tried_again(system: System) -> None:
    system.outcomes[:] = [PermanentJobError("no such user")]
    job_id = await system.dispatcher.enqueue("do-work", {"note": "x"})
    await system.qstash.run_until_idle()
    assert system.deliveries() == ["0"]
    assert (await system.dispatcher.get(job_id)).status is JobStatus.FAILED


async def test_retry_later_decides_the_wait(system: System) -> None:
    system.outcomes[:] = [RetryLater(timedelta(minutes=5))]
    await system.dispatcher.enqueue("do-work", {"note": "x"})
    await system.qstash.run_until_idle()
    assert system.waits() == [300_000]


async def test_a_delayed_job_waits_and_a_cancelled_one_never_runs(system: System) -> None:
    later = await system.dispatcher.enqueue("do-work", {"note": "x"}, delay=timedelta(hours=1))
    never = await system.dispatcher.enqueue("do-work", {"note": "y"}, delay=timedelta(hours=1))
    await system.dispatcher.cancel(never)
    await system.qstash.advance("59m59s")
    assert system.started_at == []
    await system.qstash.advance("1s")
    assert (await system.dispatcher.get(later)).status is JobStatus.COMPLETED
    assert (await system.dispatcher.get(never)).status is JobStatus.CANCELLED


async def test_one_idempotency_key_is_one_message(system: System) -> None:
    ids = {await system.dispatcher.enqueue("do-work", {"note": "x"}, idempotency_key="k") for _ in range(3)}
    await system.qstash.settle()
    assert len(ids) == 1
    assert len(system.started_at) == 1
