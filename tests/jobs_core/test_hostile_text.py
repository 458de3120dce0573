"""Texts from outside that a column does not hold, or too long, or numbers too large: refused in words, or replaced."""

import json
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from sqlalchemy import Connection, select
from starlette.routing import Route

from jobs_core import (
    Job,
    JobDispatcher,
    JobFilter,
    JobNotFoundError,
    JobStatus,
    JobValidationError,
    PublishRefusedError,
)
from jobs_core.database.tables import outbox
from jobs_core.engine.lost_jobs import Closer

from .conftest import BASE_URL, App, Handlers

OWN = {"origin": "http://127.0.0.1:8000"}
# As they stand in a URL or a form: NUL, no UTF-8, half a surrogate pair, more digits than Python reads.
HOSTILE = ["a%00b", "%ff%fe", "%ED%A0%80", "9" * 4_400, "x" * 4_400, "1e999", "%27%3B--", ""]
PARAMETERS = (
    "user",
    "userId",
    "type",
    "text",
    "status",
    "before",
    "category",
    "expires",
    "signature",
    "done",
)


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: value[:12] or "empty")
async def test_no_request_is_too_odd_to_be_answered_in_words(app: App, value: str) -> None:
    """An exception of an endpoint would come through the transport, and fail the test."""
    routes = [route for route in app.asgi.routes if isinstance(route, Route)]
    assert len(routes) > 20
    for route in routes:
        path = re.sub(r"\{[^}]+\}", value, route.path)
        if "POST" not in (route.methods or ()):
            _is_in_words(
                await app.client.get(f"{path}?" + "&".join(f"{each}={value}" for each in PARAMETERS))
            )
            continue
        for body in _bodies(value):
            _is_in_words(await app.client.post(path, content=body, headers=OWN))
    for path in ("/jobs", "/api/notifications"):
        for name in PARAMETERS:
            _is_in_words(await app.client.get(f"{path}?userId=7&{name}={value}"))


def _bodies(value: str) -> list[bytes]:
    text = unquote_to_bytes(value).decode(errors="replace")
    return [
        *(f"action={action}&job={value}&token={value}".encode() for action in ("retry", "cancel")),
        json.dumps({"userId": text, "ids": [text]}).encode(),
        json.dumps({"userId": 7, "ids": [text]}).encode(),
        unquote_to_bytes(value),
    ]


def _is_in_words(answer: Any) -> None:
    if answer.status_code == 503:
        assert "is not set here" in answer.text  # a source of webhooks without its secret
    else:
        assert answer.status_code < 500, answer.text


# --- what is asked of the dispatcher


@pytest.mark.parametrize("job_id", ["a\0b", "\ud800", "x" * 5_000, ""])
async def test_an_id_that_no_job_can_have_is_not_found(dispatcher: JobDispatcher, job_id: str) -> None:
    acts: list[Callable[[str], Awaitable[Any]]] = [
        dispatcher.get,
        dispatcher.cancel,
        dispatcher.retry,
        dispatcher.run_now,
        dispatcher.wait,
    ]
    for act in acts:
        with pytest.raises(JobNotFoundError, match="there is no job"):
            await act(job_id)


@pytest.mark.parametrize("name", ["user_id", "organization_id"])
@pytest.mark.parametrize("given", [7, 7.0, Decimal(7)])
async def test_a_filter_finds_the_subject_that_was_enqueued_however_it_is_spelled(
    dispatcher: JobDispatcher, name: str, given: Any
) -> None:
    mine: dict[str, Any] = {name: given}
    other: dict[str, Any] = {name: "7"}
    job_id = await dispatcher.enqueue("do-work", {}, **mine)
    await dispatcher.enqueue("do-work", {}, **other)
    (found,) = (await dispatcher.list(JobFilter(**{name: given}))).jobs
    assert found.job_id == job_id


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user_id", True),
        ("user_id", 7.5),
        ("user_id", float("nan")),
        ("user_id", 2**63),
        ("user_id", "a\0b"),
        ("organization_id", "\ud800"),
        ("job_type", "a\0b"),
        ("schedule_id", "a\0b"),
        ("parent_job_id", "\ud800"),
        ("text", "a\0b"),
        ("text", 7),
    ],
)
def test_a_filter_that_no_job_can_match_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(JobValidationError, match=name):
        JobFilter(**{name: value})


# --- what a handler says


async def test_a_note_of_progress_is_kept_without_what_no_column_holds(app: App, handlers: Handlers) -> None:
    async def tell(_: Any, job: Job) -> None:
        await job.progress(0.5, "nul \0 and half a pair \ud800")

    handlers.behaviour = tell
    message = await app.enqueue()
    assert (await app.deliver(message)).status_code == 200
    assert (await app.record(message)).progress_note == "nul \ufffd and half a pair ?"


# --- what QStash and those before it say


async def test_a_job_is_closed_though_the_last_answer_was_no_text(app: App) -> None:
    """Such as a proxy's page that came compressed."""
    message = await app.enqueue()
    assert (await app.fail(message, status=502, said=b"\x1f\x8b\0\0 gzip")).status_code == 200
    record = await app.record(message)
    assert record.status is JobStatus.FAILED
    assert "answered 502: \ufffd\ufffd\ufffd gzip" in (record.error or "")


async def test_the_sweep_closes_a_job_though_the_log_holds_what_no_column_does(app: App, clock: Any) -> None:
    message = await app.enqueue()
    clock.advance(timedelta(hours=1))
    app.qstash.logs[message.id] = [{"state": "FAILED", "error": "reset \0 by peer"}]
    assert len(await Closer(app.dispatcher.context).sweep()) == 1
    assert "reset \ufffd by peer" in ((await app.record(message)).error or "")


async def test_a_refusal_is_recorded_though_it_holds_what_no_column_does(app: App) -> None:
    app.qstash.failing_with, app.qstash.saying = 413, b"a proxy's\0page"
    with pytest.raises(PublishRefusedError):
        await app.dispatcher.enqueue("do-work", {})
    (record,) = (await app.dispatcher.list()).jobs
    assert record.status is JobStatus.FAILED
    assert "a proxy's\ufffdpage" in (record.error or "")


async def test_a_publish_is_postponed_though_the_answer_holds_what_no_column_does(app: App) -> None:
    app.qstash.failing_with, app.qstash.saying = 502, b"a proxy's\0page"
    job_id = await app.dispatcher.enqueue("do-work", {})
    assert (await app.dispatcher.get(job_id)).status is JobStatus.PENDING

    def why(connection: Connection) -> str:
        return str(connection.execute(select(outbox.c.last_error)).scalar_one())

    assert "a proxy's\ufffdpage" in await app.dispatcher.database.read(why)


@pytest.mark.parametrize("name", ["sourceMessageId", "scheduleId"])
async def test_a_failure_callback_with_ids_that_no_column_holds_is_refused(app: App, name: str) -> None:
    notice = {"sourceMessageId": "msg_1", "sourceBody": "", name: "a\0b"}
    answer = await app.post(f"{BASE_URL}/api/jobs/callbacks/failure", json.dumps(notice).encode())
    assert (answer.status_code, name in answer.json()["error"]) == (489, True)
