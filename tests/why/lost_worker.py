"""A job whose worker is killed in the middle of its run, and nobody else is there when its lease ends."""

import asyncio
import json
from datetime import timedelta

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope
from typer.testing import CliRunner

from jobs_core import Job, JobDispatcher, Payload, Registry, Resources, create_app, job
from jobs_core.cli import app as jobs_cli
from jobs_core.testing import jobs_running, wait_for_job
from tests.why.places import Scene, explained_to_an_agent

ORIGIN = "https://jobs.example.com"


@job(
    "never-ends",
    endpoint="/api/jobs/never-ends",
    retries=3,
    timeout=timedelta(seconds=30),
    description="Runs on.",
)
async def never_ends(payload: Payload, job: Job) -> None:
    job.use(asyncio.Event).set()
    await asyncio.Event().wait()


async def worker_killed(scene: Scene) -> str:
    """Return the id of a job whose lease ran out, and that no worker has taken over."""
    began = asyncio.Event()
    jobs = await scene.until_its_end.enter_async_context(
        jobs_running(scene.qstash, registry=Registry([never_ends]), base_url=ORIGIN)
    )
    worker = create_app(dispatcher=jobs, resources=Resources().provide(asyncio.Event, began))
    scene.jobs = jobs
    scene.qstash.mount(ORIGIN, _proxy_of(worker, began, scene))
    job_id = await jobs.enqueue(never_ends, Payload())
    await scene.qstash.settle()  # the worker begins, and is gone
    scene.qstash.mount(ORIGIN, worker)
    await scene.qstash.advance("15s")  # another meets the lease
    scene.qstash.mount(ORIGIN, _no_worker)
    await scene.qstash.advance("1m")
    return job_id


def _proxy_of(worker: ASGIApp, began: asyncio.Event, scene: Scene) -> ASGIApp:
    """A proxy that loses its worker as soon as a handler runs; the run itself notices nothing."""

    async def answer(scope: AsgiScope, receive: Receive, send: Send) -> None:
        run = asyncio.ensure_future(worker(scope, receive, _unheard))
        scene.until_its_end.push_async_callback(_ended, run)
        await began.wait()
        await _no_worker(scope, receive, send)

    return answer


async def _ended(run: asyncio.Task[None]) -> None:
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)


async def _unheard(message: object) -> None:
    """Take what the dead worker would have answered."""


_no_worker: ASGIApp = PlainTextResponse("Bad Gateway", 502)


async def told_of_the_job(scene: Scene, job_id: str) -> dict[str, str]:
    """Return what each place says: the job's own for three, and QStash's log for an agent."""
    assert scene.jobs is not None
    message_id = scene.qstash.messages[0].id
    return {
        "terminal": await asyncio.to_thread(_in_the_terminal, scene, job_id),
        "page": await _on_the_page(scene.jobs, job_id),
        "assertion": await _in_a_failed_assertion(scene.jobs, job_id),
        "agent": json.dumps(await explained_to_an_agent(scene, "explain_message", message_id=message_id)),
    }


def _in_the_terminal(scene: Scene, job_id: str) -> str:
    assert scene.jobs is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", scene.jobs.settings.database_url)
        patch.setenv("QSTASH_URL", f"http://127.0.0.1:{scene.port}")
        shown = CliRunner().invoke(jobs_cli, ["show", job_id])
    assert shown.exit_code == 0, shown.output
    return shown.stdout


async def _on_the_page(jobs: JobDispatcher, job_id: str) -> str:
    transport = httpx.ASGITransport(create_app(dispatcher=jobs))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        return (await client.get(f"/jobs/{job_id}")).text


async def _in_a_failed_assertion(jobs: JobDispatcher, job_id: str) -> str:
    with pytest.raises(AssertionError) as failed:
        await wait_for_job(jobs, job_id, timeout=0)
    return str(failed.value)
