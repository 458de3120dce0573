"""kill -9 at the worst moments, on both databases: nothing is lost, and nothing is done twice."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest

from jobs_core import AttemptOutcome, JobDispatcher, JobStatus
from tests.bounds import HANG_SECONDS

# A process of its own, with the records of this test: the job type, then what it does until it dies.
_PROCESS = """
import asyncio, os, signal, sys
from datetime import datetime, timedelta
import httpx
from jobs_core import Job, JobDispatcher, ManualClock, Payload, Registry, Settings, job
from jobs_core.testing import sign_delivery
from jobs_core.engine.delivery import Delivery
from jobs_core.engine.worker import Worker

class Work(Payload):
    note: str = ""
    count: int = 0

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

@job("do-work", endpoint="/api/jobs/work", retries=3, timeout=timedelta(seconds=30), description="Dies.")
async def do_work(payload: Work, job: Job) -> None:
    die()

async def main(database_url, now, message_id, body):
    settings = Settings(base_url="https://app.example.com", database_url=database_url)
    clock = ManualClock(datetime.fromisoformat(now))
    async with JobDispatcher(
        settings, registry=Registry([do_work]), clock=clock, transport=httpx.MockTransport(die)
    ) as dispatcher:
        if not body:
            await dispatcher.enqueue(do_work, Work(note="kept"))  # dies when it publishes
        url = dispatcher.composer.url(do_work)
        key = settings.qstash_current_signing_key.get_secret_value()
        signature = sign_delivery(url, body.encode(), key=key)
        headers = {"upstash-signature": signature, "upstash-message-id": message_id}
        await Worker(dispatcher.context).deliver(do_work, Delivery.of(url, body.encode(), headers))

asyncio.run(main(*sys.argv[1:]))
"""


def run_until_killed(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PROCESS, *arguments],
        env=os.environ, capture_output=True, text=True, check=False, timeout=HANG_SECONDS,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr


async def test_a_process_killed_between_commit_and_publish_loses_no_job(
    dispatcher: JobDispatcher, qstash: Any, clock: Any, database_url: str
) -> None:
    run_until_killed(database_url, clock.now().isoformat(), "", "")
    (record,) = (await dispatcher.list()).jobs
    assert (record.payload["note"], record.message_id) == ("kept", None)
    clock.advance(timedelta(minutes=2))  # the lock of the dead process ends
    await dispatcher.outbox.relay()
    (message,) = qstash.of(record.job_id)
    assert (await dispatcher.get(record.job_id)).message_id == message.id


async def test_a_worker_killed_in_a_handler_leaves_a_job_that_another_finishes(
    app: Any, clock: Any, handlers: Any, database_url: str
) -> None:
    message = await app.enqueue()
    run_until_killed(database_url, clock.now().isoformat(), message.id, message.body.decode())
    assert (await app.record(message)).status is JobStatus.PROCESSING

    assert (await app.deliver(message, retried=1)).json()["status"] == "postponed"  # its lease still holds
    await app.dispatcher.flush()
    further = app.qstash.messages[-1]
    clock.advance(timedelta(seconds=41))
    assert (await app.deliver(further)).status_code == 200
    record = await app.record(message)
    assert record.status is JobStatus.COMPLETED
    assert [attempt.outcome for attempt in record.attempts] == [AttemptOutcome.LOST, AttemptOutcome.COMPLETED]
    assert len(handlers.calls) == 1


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a thing of POSIX")
