"""Four worker processes on one PostgreSQL behind one address: each job runs once, and all of them work."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx
import pytest

from emulator.testing import ServerProcess
from jobs_core import JobDispatcher, JobFilter, JobRequest, JobStatus, Settings
from tests.balancing import balanced
from tests.bounds import HANG_SECONDS

PROCESSES = 4
JOBS = 200
_HANDLER = """
import os
from datetime import timedelta
from jobs_core import Job, Payload, job

class Work(Payload):
    number: int

@job("count", endpoint="/api/jobs/count", retries=50, timeout=timedelta(seconds=20), description="Says who did it.")
async def count(payload: Work, job: Job) -> int:
    return os.getpid()
"""


@pytest.fixture(params=["postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Several processes are what PostgreSQL is for."""
    return str(request.param)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start_worker(tool: str, port: int) -> "subprocess.Popen[bytes]":
    command = [tool, "serve", "--port", str(port)]
    return subprocess.Popen(command, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def ready(port: int) -> None:
    async with httpx.AsyncClient(timeout=HANG_SECONDS) as client:
        for _ in range(HANG_SECONDS * 20):
            with contextlib.suppress(httpx.TransportError):
                if (await client.get(f"http://127.0.0.1:{port}/health")).status_code == 200:
                    return
            await asyncio.sleep(0.05)
    raise AssertionError("a worker did not start")


async def test_four_worker_processes_share_the_jobs_and_run_each_once(
    database_url: str, server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "count_job.py").write_text(_HANDLER)
    monkeypatch.syspath_prepend(str(tmp_path))
    ports, address = [free_port() for _ in range(PROCESSES)], free_port()
    tool = shutil.which("jobs-core", path=str(Path(sys.executable).parent))
    assert tool is not None
    variables = {
        **server.new_tenant(),
        "BASE_URL": f"http://127.0.0.1:{address}",
        "DATABASE_URL": database_url,
        "JOBS_MODULES": "count_job",
        "PYTHONPATH": str(tmp_path),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    workers = [start_worker(tool, port) for port in ports]
    try:
        await asyncio.gather(*map(ready, ports))
        async with balanced(address, ports), JobDispatcher(Settings()) as dispatcher:
            requests = [JobRequest("count", {"number": n}) for n in range(JOBS)]
            for job_id in await dispatcher.enqueue_many(requests):
                await dispatcher.wait(job_id, timeout=HANG_SECONDS)
            done = await dispatcher.list(JobFilter(status=JobStatus.COMPLETED, limit=1000))
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        codes = [worker.wait(HANG_SECONDS) for worker in workers]
    assert len(done.jobs) == JOBS
    assert {job.attempt_count for job in done.jobs} == {1}
    assert set(Counter(job.result for job in done.jobs)) == {worker.pid for worker in workers}
    assert codes == [0] * PROCESSES
