"""Jobs on real machines: hung threads, databases that go away, wrong clocks, forks."""

import asyncio
import contextlib
import json
import logging
import os
import re
import subprocess
import sys
import threading
from array import array
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from jobs_core import (
    JobDispatcher,
    JobStatus,
    JobValidationError,
    PermanentJobError,
    Registry,
    RetryLater,
    Settings,
)
from jobs_core.app import intervals
from jobs_core.engine.handler_threads import HandlerThreads
from jobs_core.engine.lost_jobs import Closer
from jobs_core.log_format import JsonFormatter
from jobs_core.model.clock_difference import clock_problem
from jobs_core.qstash.client import QStashClient
from tests.bounds import HANG_SECONDS

on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])
REGION = (
    "user (6c1b7c3e) not found in this region (eu-central-1). Check that you are using the correct endpoint. "
    "Learn more: https://upstash.com/docs/qstash/howto/multi-region"
)


# --- threads


async def test_a_delivery_that_finds_no_thread_comes_again_and_uses_up_no_retry(
    app: Any, handlers: Any
) -> None:
    release, entered = threading.Event(), threading.Semaphore(0)

    def hang(*_: Any) -> str:
        entered.release()
        release.wait(HANG_SECONDS)
        return "at last"

    threads = app.dispatcher.context.threads
    threads.size = 2
    handlers.blocking = hang
    running = [asyncio.create_task(app.deliver(await app.enqueue(job_type="block"))) for _ in range(2)]
    for _ in running:
        await asyncio.to_thread(entered.acquire)
    message = await app.enqueue(job_type="block")
    refused = await app.deliver(message)
    assert (refused.status_code, refused.json()["status"], refused.headers["retry-after"]) == (
        503,
        "no_thread",
        "5",
    )
    assert (await app.record(message)).attempt_count == 0
    assert (await app.deliver(await app.enqueue())).status_code == 200  # one that needs no thread

    assert (await app.fail(message, retried=0, said=refused.content)).status_code == 200  # it had no retries
    await app.dispatcher.flush()
    release.set()
    assert [answer.status_code for answer in await asyncio.gather(*running)] == [200, 200]
    assert (await app.deliver(app.qstash.messages[-1])).status_code == 200
    record = await app.record(message)
    assert (record.status, record.result, len(record.attempts)) == (JobStatus.COMPLETED, "at last", 1)


async def test_a_thread_that_outlives_its_timeout_is_counted_until_it_ends(app: Any, handlers: Any) -> None:
    release, ended = threading.Event(), threading.Event()

    def hang(*_: Any) -> None:
        release.wait(HANG_SECONDS)
        ended.set()

    handlers.blocking = hang
    threads = app.dispatcher.context.threads
    threads.size = 1
    message = await app.enqueue(job_type="block", timeout=0.05)
    assert (await app.deliver(message)).status_code == 504
    assert (threads.busy, threads.hung) == (1, 1)
    health = await app.client.get("/readyz")
    assert (health.status_code, health.json()["hungThreads"]) == (503, 1)
    assert "restart this process" in health.json()["error"]
    assert (await app.client.get("/livez")).status_code == 200
    metrics = (await app.client.get("/metrics")).text
    assert "jobs_core_handler_threads_hung 1.0" in metrics
    release.set()
    await asyncio.to_thread(ended.wait)
    while threads.busy:
        await asyncio.sleep(0)
    assert threads.hung == 0
    assert (await app.client.get("/health")).status_code == 200


async def test_threads_run_at_once_and_give_back_what_they_ran() -> None:
    threads = HandlerThreads(8)
    together = threading.Barrier(8, timeout=HANG_SECONDS)
    assert all(threads.take() for _ in range(8))
    assert not threads.take()
    await asyncio.gather(*(threads.run(together.wait) for _ in range(8)))
    assert (threads.busy, threads.hung) == (0, 0)


async def test_blocking_handlers_run_at_once_however_few_cores_there_are(app: Any, handlers: Any) -> None:
    """All of them meet: with fewer threads they would wait for each other."""
    size = app.dispatcher.settings.handler_threads
    together = threading.Barrier(size, timeout=HANG_SECONDS)
    handlers.blocking = lambda *_: together.wait() >= 0
    messages = [await app.enqueue(job_type="block") for _ in range(size)]
    answers = await asyncio.gather(*map(app.deliver, messages))
    assert {answer.status_code for answer in answers} == {200}
    assert {(await app.record(message)).result for message in messages} == {True}


def test_how_many_threads_there_are_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDLER_THREADS", "3")
    assert JobDispatcher(Settings.load(), registry=Registry()).context.threads.size == 3


async def test_a_blocking_handler_whose_payload_is_refused_gives_its_thread_back(app: Any) -> None:
    message = await app.enqueue(job_type="block")
    message.body = json.dumps(json.loads(message.body) | {"payload": {"note": "x" * 100}}).encode()
    assert (await app.deliver(message)).status_code == 489
    assert (await app.deliver(message)).status_code == 200
    assert app.dispatcher.context.threads.busy == 0


# --- groups, and results of other libraries


@pytest.mark.parametrize(
    ("errors", "status", "told"),
    [
        ([PermanentJobError("no such user")], 489, "no such user"),
        ([ValueError("a"), PermanentJobError("no such user")], 489, "no such user"),
        ([RetryLater(60), RetryLater(90)], 503, "asked to be retried later"),
        ([ValueError("a")], 500, "ValueError: a"),
        ([ValueError("a"), KeyError("b")], 500, "2 errors: ValueError: a; KeyError: 'b'"),
        ([RetryLater(60), PermanentJobError("no such user")], 489, "no such user"),
        ([JobValidationError("no such field")], 489, "no such field"),
        ([SystemExit(3)], 500, "SystemExit: 3"),
        ([ValueError("a"), GeneratorExit()], 500, "2 errors: ValueError: a; GeneratorExit: "),
    ],
)
async def test_a_jobs_own_errors_are_found_inside_groups(
    app: Any, handlers: Any, errors: list[BaseException], status: int, told: str
) -> None:
    async def fail(*_: Any) -> None:
        raise BaseExceptionGroup("unhandled errors in a TaskGroup", [BaseExceptionGroup("inner", errors)])

    handlers.behaviour = fail
    message = await app.enqueue()
    answer = await app.deliver(message)
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == ("90" if status == 503 else None)
    assert (await app.record(message)).error == told


async def test_the_error_of_a_child_task_decides_about_the_job(app: Any, handlers: Any) -> None:
    async def refuse() -> None:
        raise PermanentJobError("no such user")

    async def share(*_: Any) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait())
            group.create_task(refuse())

    handlers.behaviour = share
    message = await app.enqueue()
    assert (await app.deliver(message)).status_code == 489
    record = await app.record(message)
    assert (record.status, record.error) == (JobStatus.FAILED, "no such user")


class _NotATime(datetime):
    """Value like ``pandas.NaT``: an instant by its type that has no text."""

    def isoformat(self, *_: Any, **__: Any) -> str:
        return "NaT"

    def utcoffset(self) -> timedelta | None:
        raise ValueError("NaT has no offset")

    @property
    def year(self) -> float:  # type: ignore[override]
        return float("nan")


async def test_a_result_that_only_looks_like_an_instant_leaves_no_job_open(app: Any, handlers: Any) -> None:
    async def answer(*_: Any) -> Any:
        return {"at": _NotATime(2026, 1, 1)}

    handlers.behaviour = answer
    message = await app.enqueue()
    assert (await app.deliver(message)).status_code == 200
    assert (await app.record(message)).status is JobStatus.COMPLETED


async def test_what_lists_itself_is_recorded_as_numbers_and_what_has_no_form_says_so(
    app: Any, handlers: Any
) -> None:
    async def odd(*_: Any) -> Any:
        return {"many": array("i", [1, 2]), "nothing": object()}

    handlers.behaviour = odd
    message = await app.enqueue()
    assert (await app.deliver(message)).status_code == 200
    result = (await app.record(message)).result
    assert result["many"] == [1, 2]
    assert (result["nothing"]["notRecorded"], result["nothing"]["type"]) == (
        "it has no form in JSON",
        "object",
    )


# --- a database that does not answer


async def _break(app: Any) -> Any:
    """Have every connection fail from now on; calling the answer mends it."""
    engine = app.dispatcher.database.engine
    engine.dispose()
    url = engine.url
    broken = (
        url.set(database="/nowhere/at/all.db")
        if app.dispatcher.database.is_sqlite
        else url.set(database="no_such_database")
    )
    original = engine.pool._creator
    dialect = engine.dialect

    def refuse(*_: Any) -> Any:
        arguments, options = dialect.create_connect_args(broken)
        return dialect.connect(*arguments, **options)

    engine.pool._creator = refuse

    def mend() -> None:
        engine.pool._creator = original

    return mend


async def test_a_dead_database_is_one_log_line_and_a_503_and_uses_up_no_retry(
    app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    message = await app.enqueue(retries=0)
    job_id = json.loads(message.body)["jobId"]
    mend = await _break(app)
    refused = await app.deliver(message)
    assert (refused.status_code, refused.json()["status"]) == (503, "unavailable")
    for path in (f"/api/jobs/{job_id}", "/api/admin/job-health", "/metrics", "/health"):
        answer = await app.client.get(path)
        assert (answer.status_code, "the database does not answer" in answer.text) == (503, True), path
    assert [record.levelname for record in caplog.records if "does not answer" in record.getMessage()] == [
        "ERROR"
    ]
    assert "Traceback" not in caplog.text
    mend()
    assert (await app.client.get("/health")).status_code == 200
    assert "the database answers again" in caplog.text
    assert (await app.fail(message, retried=0, said=refused.content)).status_code == 200
    await app.dispatcher.flush()
    assert (await app.deliver(app.qstash.messages[-1])).status_code == 200
    assert (await app.record(message)).status is JobStatus.COMPLETED


async def test_while_the_database_is_away_every_request_says_so_and_all_of_it_is_one_line_of_the_log(
    app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    message = await app.enqueue()
    mend = await _break(app)
    away, fields = 0, "action=retry&job=a&token=a"
    for route in (route for route in app.asgi.routes if isinstance(route, Route)):
        path = re.sub(r"\{[^}]+\}", "a", route.path) + "?userId=7"
        answers = [
            await app.client.get(path),
            await app.client.post(path, content=fields, headers={"origin": "http://127.0.0.1:8000"}),
            await app.client.post(path, content=b'{"userId": 7}'),
        ]
        for answer in answers:
            assert answer.status_code != 500, path
            away += "database does not answer" in answer.text
    assert away >= 13  # records, notifications, pages, figures, readiness
    for answer in (await app.deliver(message), await app.fail(message)):
        assert (answer.status_code, "database does not answer" in answer.text) == (503, True)
    for interval in intervals(app.asgi):
        await interval.run()
    app.dispatcher.outbox.wake()
    await app.dispatcher.outbox.close()
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.getMessage()[:27] for record in told if "is not set" not in record.getMessage()] == [
        "the database does not answe"
    ]
    assert "Traceback" not in caplog.text
    mend()
    assert (await app.deliver(message)).status_code == 200


async def test_an_outcome_is_recorded_by_a_database_that_comes_back(app: Any, handlers: Any) -> None:
    mends: list[Any] = []

    async def lose(*_: Any) -> str:
        mends.append(await _break(app))
        asyncio.get_running_loop().call_later(0.1, mends[0])
        return "done"

    handlers.behaviour = lose
    message = await app.enqueue()
    assert (await app.deliver(message)).status_code == 200
    assert (await app.record(message)).result == "done"


@pytest.mark.parametrize(
    "path", ["/api/jobs/a%00b", "/api/webhooks/a%00b", "/api/notifications?user=a%00b", "/%00"]
)
async def test_a_nul_in_a_path_or_a_query_is_refused_in_words(app: Any, path: str) -> None:
    answer = await app.client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (400, "nul")
    assert "NUL character" in answer.json()["error"]


# --- what QStash says is believed with its text


async def test_the_sweep_does_not_take_another_regions_404_for_a_message_that_is_gone(
    app: Any, clock: Any
) -> None:
    message = await app.enqueue()
    clock.advance(timedelta(days=2))
    for text in (REGION, "not found", "404 page not found"):
        app.qstash.absent = text
        assert await Closer(app.dispatcher.context).sweep() == []
    assert (await app.record(message)).status is JobStatus.PENDING
    app.qstash.absent = f"message {message.id} not found"
    assert len(await Closer(app.dispatcher.context).sweep()) == 1


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (404, json.dumps({"error": REGION}).encode(), JobStatus.PENDING),
        (404, b"<html>nginx</html>", JobStatus.PENDING),
        (400, b"<html>a proxy</html>", JobStatus.PENDING),
        (400, b'{"error": "invalid destination url"}', JobStatus.FAILED),
        (413, b"<html>a proxy</html>", JobStatus.FAILED),
    ],
)
async def test_a_refusal_is_final_only_in_qstashs_own_words(
    app: Any, status: int, said: bytes, expected: JobStatus
) -> None:
    app.qstash.failing_with, app.qstash.saying = status, said
    with contextlib.suppress(Exception):
        await app.dispatcher.enqueue("do-work", {})
    (record,) = (await app.dispatcher.list()).jobs
    assert record.status is expected


# --- clocks


@pytest.mark.parametrize(
    ("ahead", "said"),
    [(None, None), (0, None), (200, None), (-6, None), (290, "290 s ahead"), (-300, "300 s behind")],
)
def test_a_clock_that_signatures_do_not_survive_is_a_problem(ahead: int | None, said: str | None) -> None:
    problem = clock_problem(None if ahead is None else timedelta(seconds=ahead), 5)
    assert (problem is None) if said is None else said in (problem or "")


@on_sqlite
async def test_a_process_whose_clock_is_far_off_is_not_ready(app: Any) -> None:
    client: QStashClient = app.dispatcher.client
    client.clock_ahead = timedelta(minutes=5)
    answer = await app.client.get("/readyz")
    assert (answer.status_code, answer.json()["clockAheadSeconds"]) == (503, 300)
    assert "ahead of QStash's" in answer.json()["error"]
    client.clock_ahead = timedelta(seconds=30)
    answer = await app.client.get("/health")
    assert (answer.status_code, answer.json()["clockAheadSeconds"]) == (200, 30)


@on_sqlite
@pytest.mark.parametrize("exp", ["NaN", "inf", float("inf"), float("nan"), "9999999999", True, None, [1]])
@pytest.mark.parametrize("claim", ["exp", "nbf"])
async def test_a_signature_that_never_expires_is_refused(app: Any, sign: Any, exp: Any, claim: str) -> None:
    message = await app.enqueue()
    changed: dict[str, Any] = {claim: exp}
    forged = sign(message.destination, message.body, **changed)
    assert (await app.deliver(message, **{"upstash-signature": forged})).status_code == 401


# --- forks, servers, logs

_FORKED = """
import asyncio, os, sys
from jobs_core import JobDispatcher, Registry, Settings, SyncJobDispatcher
kind, url = sys.argv[1:]
settings = Settings(database_url=url)
if kind == "blocking":
    jobs = SyncJobDispatcher(settings, registry=Registry())
    use = jobs.list
else:
    dispatcher = JobDispatcher(settings, registry=Registry())
    use = lambda: asyncio.run(dispatcher.list())
use()
child = os.fork()
if child == 0:
    try:
        use()
    except RuntimeError as error:
        os._exit(7 if "forked" in str(error) else 8)
    os._exit(0)
_, status = os.waitpid(child, 0)
use()
os._exit(os.waitstatus_to_exitcode(status))
"""
_FORKED_BEFORE_USE = """
import os, sys
from jobs_core import Registry, Settings, SyncJobDispatcher
jobs = SyncJobDispatcher(Settings(database_url=sys.argv[1]), registry=Registry())
child = os.fork()
if child == 0:
    os._exit(9 if jobs.list().jobs == () else 8)
_, status = os.waitpid(child, 0)
jobs.list()
os._exit(os.waitstatus_to_exitcode(status))
"""
_has_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="NOT TESTED here: this system has no fork")


def _run(program: str, *arguments: str) -> int:
    command = [sys.executable, "-W", "ignore", "-c", program, *arguments]
    return subprocess.run(command, timeout=HANG_SECONDS, check=False).returncode


@_has_fork
@pytest.mark.parametrize("kind", ["blocking", "awaited"])
def test_a_child_of_a_process_that_used_the_job_system_is_told_so(database_url: str, kind: str) -> None:
    assert _run(_FORKED, kind, database_url) == 7


@_has_fork
def test_what_was_made_and_not_used_before_a_fork_works_in_parent_and_child(database_url: str) -> None:
    assert _run(_FORKED_BEFORE_USE, database_url) == 9


def test_a_log_line_may_be_one_json_object() -> None:
    record = logging.makeLogRecord(
        {
            "name": "jobs_core",
            "levelname": "INFO",
            "msg": "processed %s",
            "args": ("j",),
            "job_id": "j",
            "attempt": 1,
        }
    )
    line = json.loads(JsonFormatter().format(record))
    assert (line["text"], line["job_id"], line["attempt"], line["level"]) == ("processed j", "j", 1, "INFO")
    assert line["time"].endswith("+00:00")


_COUNTED = """
import sys
from jobs_core.monitoring.prometheus import ProcessMetrics, is_shared
assert is_shared()
metrics = ProcessMetrics()
for _ in range(int(sys.argv[1])):
    metrics.enqueued("do-work")
"""
_SHOWN = """
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
import asyncio, sys
from jobs_core import JobDispatcher, Registry, Settings
from jobs_core.monitoring.prometheus import ProcessMetrics, expose
async def show():
    async with JobDispatcher(Settings(database_url=sys.argv[1]), registry=Registry()) as jobs:
        print((await expose(ProcessMetrics(), jobs.context)).decode())
asyncio.run(show())
"""


def test_the_processes_of_a_host_have_one_answer_for_their_counters(
    tmp_path: Path, database_url: str
) -> None:
    directory = tmp_path / "metrics"
    directory.mkdir()
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory)}
    for count in (3, 4):
        subprocess.run(
            [sys.executable, "-c", _COUNTED, str(count)], env=environment, check=True, timeout=HANG_SECONDS
        )
    shown = subprocess.run(
        [sys.executable, "-c", _SHOWN, database_url],
        env=environment, check=True, timeout=HANG_SECONDS, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert 'jobs_core_jobs_enqueued_total{job_type="do-work"} 7.0' in shown
