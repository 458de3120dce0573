"""Each fault as the job system sees it: how often the handler ran, and what the job's record says in the end."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from emulator.testing import Harness
from jobs_core import Job, JobDispatcher, JobStatus, Payload, Registry, Settings, create_app, job
from jobs_core.database import migrations

BASE_URL = "https://app.example.com"


class Note(Payload):
    """Payload of the test's job."""

    text: str = ""


@dataclass
class EmulatorTime:
    """The job system's clock, read from the emulator's."""

    harness: Harness

    def now(self):
        return self.harness.utc_now()


@dataclass
class System:
    """The dispatcher, and what its one handler did."""

    dispatcher: JobDispatcher
    ran: list[str]


@pytest.fixture
async def system(qstash: Harness, tmp_path: Path) -> AsyncIterator[System]:
    ran: list[str] = []

    @job("note", endpoint="/api/jobs/note", retries=3, timeout=timedelta(seconds=30), description="A note.")
    async def take_note(payload: Note, job: Job) -> None:
        ran.append(payload.text)

    database_url = f"sqlite:///{tmp_path / 'jobs.db'}"
    migrations.upgrade(database_url)
    # Where QStash is, and its keys, come from the environment, as in production.
    settings = Settings(base_url=BASE_URL, database_url=database_url, environment="test")
    async with JobDispatcher(
        settings, registry=Registry([take_note]), clock=EmulatorTime(qstash)
    ) as dispatcher:
        qstash.mount(BASE_URL, create_app(dispatcher=dispatcher))
        yield System(dispatcher, ran)


@pytest.mark.parametrize(
    ("kind", "fields", "attempts"),
    [
        ("refuse", {}, 2),
        ("answer", {"status": 503}, 2),
        ("drop", {}, 2),
        ("cut-response", {}, 1),
        ("time-out", {}, 2),
        ("delay", {"delay": "10m"}, 1),
        ("out-of-order", {}, 1),
        ("deliver-twice", {}, 1),
        ("crash", {}, 2),
        ("wrong-signature", {}, 2),
        ("expired-signature", {}, 2),
        ("other-url-signature", {}, 2),
        ("next-key-signature", {}, 1),
    ],
)
async def test_a_job_runs_once_and_completes_whatever_befalls_its_delivery(
    qstash: Harness, system: System, kind: str, fields: dict[str, str], attempts: int
) -> None:
    qstash.faults.add(kind, count=1, **fields)
    job_id = await system.dispatcher.enqueue("note", {"text": "hello"})
    await qstash.run_until_idle()
    record = await system.dispatcher.get(job_id)
    assert (record.status, system.ran) == (JobStatus.COMPLETED, ["hello"])
    message = qstash.assert_delivered(f"{BASE_URL}/api/jobs/note", count=1)
    assert len(message.attempts) == attempts
    qstash.assert_invariants()


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("publish-answer", {"status": 429}),
        ("publish-answer", {"status": 500}),
        ("publish-answer", {"status": 500, "accepted": True}),
        ("publish-silence", {}),
        ("publish-silence", {"accepted": True}),
    ],
)
async def test_a_job_that_could_not_be_published_waits_in_the_outbox_and_runs_once(
    qstash: Harness, system: System, kind: str, fields: dict[str, object]
) -> None:
    fault = qstash.faults.add(kind, **fields)
    job_id = await system.dispatcher.enqueue("note", {"text": "hello"})
    assert qstash.faults.struck(fault.id) >= 1
    assert (await system.dispatcher.get(job_id)).status is not JobStatus.FAILED
    qstash.faults.clear()
    # The relay looks again after a pause, on the job system's clock.
    await qstash.advance("5m")
    await system.dispatcher.outbox.flush()
    await qstash.run_until_idle()
    assert (await system.dispatcher.get(job_id)).status is JobStatus.COMPLETED
    assert system.ran == ["hello"]
