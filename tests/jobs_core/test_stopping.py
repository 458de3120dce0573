"""A worker process that is told to stop while handlers hang: it ends in bounded time, and gives its leases back."""

import asyncio
import signal
import subprocess
import sys

import httpx
import pytest

from jobs_core import AttemptOutcome
from tests.bounds import HANG_SECONDS

from .conftest import App, sign

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM is a thing of POSIX")

_SERVER = """
import asyncio, sys, threading
from datetime import timedelta
import uvicorn
from jobs_core import Job, Payload, Registry, Settings, create_app, job, log_format

class Work(Payload):
    note: str = ""
    count: int = 0

@job("block", endpoint="/api/jobs/block", retries=0, timeout=timedelta(hours=1), description="Hangs a thread.")
def block(payload: Work, job: Job) -> None:
    print("entered", flush=True)
    threading.Event().wait()

@job("do-work", endpoint="/api/jobs/work", retries=0, timeout=timedelta(hours=1), description="Hangs.")
async def do_work(payload: Work, job: Job) -> None:
    print("entered", flush=True)
    await asyncio.Event().wait()

log_format.configure()
app = create_app(
    Settings(base_url="https://app.example.com", database_url=sys.argv[1]), registry=Registry([block, do_work])
)

class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)

Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1)).run()
"""


def _serve(database_url: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-W", "ignore", "-c", _SERVER, database_url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("job_type", ["do-work", "block"])
async def test_a_process_that_is_told_to_stop_ends_though_its_handler_hangs(
    app: App, database_url: str, job_type: str
) -> None:
    message = await app.enqueue(job_type=job_type)
    with _serve(database_url) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        port = int(await asyncio.to_thread(process.stdout.readline))
        headers = {
            "upstash-signature": sign(message.destination, message.body),
            "upstash-message-id": message.id,
        }
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=HANG_SECONDS) as client:
            path = "/api/jobs/block" if job_type == "block" else "/api/jobs/work"
            delivery = asyncio.create_task(client.post(path, content=message.body, headers=headers))
            assert await asyncio.to_thread(process.stdout.readline) == "entered\n"
            process.send_signal(signal.SIGTERM)
            log = await asyncio.to_thread(process.stderr.read)
            await asyncio.to_thread(process.wait, HANG_SECONDS)
            await asyncio.gather(delivery, return_exceptions=True)
    assert "cut off" in log
    if job_type == "block":
        assert "1 handlers still run in threads, and end with the process" in log
    record = await app.record(message)
    (attempt,) = record.attempts
    assert (attempt.outcome, attempt.error) == (AttemptOutcome.LOST, "cut off: the worker was stopped")
    assert record.lease_until == attempt.finished_at  # not an hour later
