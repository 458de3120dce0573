"""A service in JavaScript and one in Python share queues: the same envelope, the vendor's SDK on the other side."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from emulator.testing import Listener
from jobs_core import (
    Job,
    JobNotFoundError,
    JobRecord,
    JobStatus,
    Payload,
    Registry,
    Settings,
    SyncJobDispatcher,
    create_app,
    job,
)
from jobs_core.testing import temporary_database
from tests.node_packages import node_with_packages

_HERE = Path(__file__).parent / "javascript"


class Greet(Payload):
    """Payload: whom to greet."""

    name: str


@job("greet", endpoint="/api/jobs/greet", retries=3, timeout=timedelta(seconds=10), description="Greets.")
async def greet(payload: Greet, job: Job) -> str:
    """Greet."""
    return f"hello {payload.name}"


@pytest.fixture
def database_url() -> Iterator[str]:
    with temporary_database() as url:
        yield url


@pytest.fixture
def node(tenant: dict[str, str]) -> Callable[..., subprocess.Popen[str]]:
    """Starts ``jobs.mjs`` with the tenant's variables."""
    executable = node_with_packages(_HERE)

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [executable, "jobs.mjs", *arguments]
        return subprocess.Popen(
            command, cwd=_HERE, env={**os.environ, **tenant}, stdout=subprocess.PIPE, text=True
        )

    return start


def settings(tenant: dict[str, str], base_url: str, database_url: str) -> Settings:
    named: dict[str, Any] = {name.lower(): value for name, value in tenant.items()}
    return Settings(**named, base_url=base_url, database_url=database_url)


def test_a_job_published_by_javascript_is_done_by_our_worker(
    node: Callable[..., subprocess.Popen[str]],
    tenant: dict[str, str],
    database_url: str,
    eventually: Callable[[Callable[[], JobRecord | None]], JobRecord],
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await worker(scope, receive, send)

    with Listener(app) as listener, SyncJobDispatcher(
        settings(tenant, listener.url, database_url), registry=Registry([greet])
    ) as jobs:  # fmt: skip
        worker = create_app(jobs.dispatcher.settings, registry=jobs.dispatcher.registry)
        with node("publish", f"{listener.url}{greet.endpoint}") as process:
            assert process.stdout is not None
            job_id = process.stdout.readline().strip()

        def finished() -> JobRecord | None:
            try:
                record = jobs.get(job_id)
            except JobNotFoundError:  # its first delivery makes the record
                return None
            return record if record.is_finished else None

        record = eventually(finished)
        worker.state.dispatcher.database.engine.dispose()
    assert (record.status, record.result) == (JobStatus.COMPLETED, "hello Ada")
    assert (record.user_id, record.organization_id) == (7, "acme")


def test_a_job_published_by_us_is_verified_by_the_vendors_receiver(
    node: Callable[..., subprocess.Popen[str]], tenant: dict[str, str], database_url: str
) -> None:
    with node("receive") as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with SyncJobDispatcher(settings(tenant, url, database_url), registry=Registry([greet])) as jobs:
            job_id = jobs.enqueue(greet, Greet(name="Ada"), user_id=7, idempotency_key="ada-1")
            told = json.loads(process.stdout.readline())
        process.kill()
    assert told["isGenuine"] is True
    created_at = told["job"]["metadata"].pop("createdAt")
    assert created_at.endswith("Z")
    assert told["job"] == {
        "jobId": job_id,
        "type": "greet",
        "payload": {"name": "Ada"},
        "metadata": {"userId": 7, "idempotencyKey": "ada-1"},
    }
