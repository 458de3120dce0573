"""Signing keys are rotated twice while jobs go on: no delivery is turned away, no job is lost."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from pydantic import SecretStr

from emulator.testing import Harness
from jobs_core import (
    Job,
    JobDispatcher,
    JobFilter,
    JobRequest,
    JobStatus,
    Payload,
    Registry,
    Settings,
    create_app,
    job,
)
from jobs_core.database import migrations

BASE_URL = "https://app.example.com"
JOBS_AT_ONCE = 100


class Work(Payload):
    number: int


@job("work", endpoint="/api/jobs/work", retries=0, timeout=timedelta(seconds=5), description="Counts.")
async def work(payload: Work, job: Job) -> int:
    return payload.number


async def test_two_rotations_under_load_lose_no_delivery(qstash: Harness, tmp_path: Path) -> None:
    database_url = f"sqlite:///{tmp_path / 'jobs.db'}"
    migrations.upgrade(database_url)

    class Time:
        def now(self) -> datetime:
            return datetime.fromtimestamp(qstash.now / 1000, UTC)

    def deployed(keys: dict[str, str]) -> JobDispatcher:
        """The application with the keys that its environment had when it was started."""
        settings = Settings(
            database_url=database_url,
            base_url=BASE_URL,
            qstash_url="http://localhost:8080",
            qstash_current_signing_key=SecretStr(keys["current"]),
            qstash_next_signing_key=SecretStr(keys["next"]),
        )
        transport = httpx.ASGITransport(qstash.app)
        return JobDispatcher(settings, registry=Registry([work]), clock=Time(), transport=transport)

    async def load(dispatcher: JobDispatcher) -> None:
        """Jobs without a second chance: one rejected delivery would fail one."""
        await dispatcher.enqueue_many([JobRequest(work, Work(number=n)) for n in range(JOBS_AT_ONCE)])

    async def rotate() -> dict[str, str]:
        keys: dict[str, str] = (await qstash.client.post("/v2/keys/rotate")).json()
        return keys

    keys = (await qstash.client.get("/v2/keys")).json()
    first = deployed(keys)
    qstash.mount(BASE_URL, create_app(dispatcher=first))
    await load(first)
    rotated = await rotate()
    assert rotated["current"] == keys["next"]
    await load(first)  # signed with what this deployment calls the next key
    await qstash.settle()
    second = deployed(rotated)
    qstash.mount(BASE_URL, create_app(dispatcher=second))
    await load(second)
    rotated_again = await rotate()
    assert rotated_again["current"] == rotated["next"]
    await load(second)
    await qstash.settle()

    done = await second.list(JobFilter(status=JobStatus.COMPLETED, limit=1000))
    assert len(done.jobs) == 4 * JOBS_AT_ONCE
    assert (await qstash.client.get("/v2/dlq")).json()["messages"] == []
    await first.aclose()
    await second.aclose()
