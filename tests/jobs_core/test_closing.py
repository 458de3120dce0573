"""Jobs that no worker ends: the failure callback and the sweep."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from jobs_core import Job, JobFilter, JobStatus
from jobs_core.engine.lost_jobs import Closer


async def test_the_failure_callback_ends_a_job_that_was_never_answered(app: Any) -> None:
    message = await app.enqueue()
    assert (await app.fail(message, status=502)).status_code == 200
    record = await app.record(message)
    assert record.status is JobStatus.FAILED
    assert record.error == "QStash gave up after 4 attempts: the last one was answered 502: the response"


async def _die(app: Any, handlers: Any, message: Any, dying: list[Any], **headers: Any) -> None:
    """One delivery whose worker never says anything again, as a killed process."""
    entered = asyncio.Event()

    async def die(*_: Any) -> None:
        entered.set()
        await asyncio.Event().wait()

    handlers.behaviour = die
    dying.append(asyncio.create_task(app.deliver(message, **headers)))
    await entered.wait()
    handlers.behaviour = None


@pytest.fixture
async def dying() -> AsyncIterator[list[Any]]:
    tasks: list[Any] = []
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _further(app: Any) -> Any:
    await app.dispatcher.flush()
    return app.qstash.messages[-1]


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_a_job_whose_worker_died_runs_again_though_qstash_has_given_its_message_up(
    app: Any, handlers: Any, clock: Any, dying: list[Any], retries: int
) -> None:
    message = await app.enqueue(retries=retries)
    await _die(app, handlers, message, dying)
    assert (await app.fail(message, retried=retries, status=0)).status_code == 200
    assert (await app.record(message)).status is JobStatus.PROCESSING  # it might still run
    further = await _further(app)
    assert int(further.headers["upstash-not-before"]) - int(clock.now().timestamp()) == 40  # its lease
    assert further.headers["upstash-retries"] == str(retries)
    clock.advance(timedelta(seconds=40))
    assert (await app.deliver(further)).status_code == 200
    record = await app.record(message)
    assert (record.status, record.message_id, record.retry_count) == (JobStatus.COMPLETED, further.id, 0)
    assert [attempt.outcome for attempt in record.attempts] == ["lost", "completed"]


async def test_the_failure_callback_of_a_running_job_does_not_make_it_run_twice(
    app: Any, handlers: Any, clock: Any
) -> None:
    release, entered = asyncio.Event(), asyncio.Event()

    async def slow(*_: Any) -> None:
        entered.set()
        await release.wait()

    handlers.behaviour = slow
    message = await app.enqueue(retries=0)
    running = asyncio.create_task(app.deliver(message))
    await entered.wait()
    assert (await app.fail(message, retried=0, status=0)).status_code == 200
    assert (await app.fail(message, retried=0, status=0)).status_code == 200  # told twice
    release.set()
    await running
    further = await _further(app)
    assert [each for each in app.qstash.messages if each is not message] == [further]
    clock.advance(timedelta(minutes=1))
    assert (await app.deliver(further)).json()["status"] == "completed"
    assert len(handlers.calls) == 1


async def test_a_job_that_kills_its_workers_fails_after_three_and_says_so(
    app: Any, handlers: Any, clock: Any, dying: list[Any]
) -> None:
    message = latest = await app.enqueue(retries=0, failure_callback="https://example.com/failed")
    for _ in range(3):
        await _die(app, handlers, latest, dying)
        assert (await app.fail(latest, retried=0, status=0)).status_code == 200
        latest = await _further(app)
        clock.advance(timedelta(minutes=1))
    answer = await app.deliver(latest)
    assert (answer.status_code, answer.headers["upstash-nonretryable-error"]) == (489, "true")
    record = await app.record(message)
    assert (record.status, record.attempt_count) == (JobStatus.FAILED, 3)
    assert "its worker died in 3 runs in a row" in (record.error or "")
    assert [attempt.outcome for attempt in record.attempts] == ["lost"] * 3
    assert (await app.fail(latest, retried=0, status=489)).status_code == 200
    assert (await _further(app)).destination == "https://example.com/failed"

    await app.dispatcher.retry(record.job_id)
    assert (await app.deliver(await _further(app))).status_code == 200
    assert (await app.record(message)).status is JobStatus.COMPLETED


async def test_retries_that_met_no_handler_are_given_back(app: Any, handlers: Any, clock: Any) -> None:
    """Three of the four deliveries found no worker; the fourth failed, for the first time."""

    async def fail(_: Any, job: Job) -> None:
        assert not job.is_last_attempt
        raise ValueError("no luck")

    handlers.behaviour = fail
    message = await app.enqueue(retries=3)
    answer = await app.deliver(message, retried=3)
    assert answer.json()["status"] == "pending"
    assert (await app.fail(message, said=answer.content)).status_code == 200
    record = await app.record(message)
    assert (record.status, record.retry_count) == (JobStatus.PENDING, 1)
    further = await _further(app)
    assert further.headers["upstash-retries"] == "2"
    handlers.behaviour = None
    assert (await app.deliver(further)).status_code == 200
    record = await app.record(message)
    assert [attempt.outcome for attempt in record.attempts] == ["retry", "completed"]


async def test_a_job_runs_as_often_as_its_retries_say_whatever_came_between(
    app: Any, handlers: Any, clock: Any, dying: list[Any]
) -> None:
    async def fail(*_: Any) -> None:
        raise ValueError("no luck")

    latest = message = await app.enqueue(retries=1)
    await _die(app, handlers, message, dying)
    assert (await app.deliver(message, retried=1)).json()["status"] == "postponed"
    latest = await _further(app)
    clock.advance(timedelta(minutes=1))
    handlers.behaviour = fail
    assert (await app.deliver(latest)).json()["status"] == "pending"
    assert (await app.deliver(latest, retried=1)).json()["status"] == "failed"
    record = await app.record(message)
    assert (record.status, record.retry_count) == (JobStatus.FAILED, 1)
    assert [attempt.outcome for attempt in record.attempts] == ["lost", "retry", "failed"]


@pytest.mark.parametrize("said", [b"", b"<html>", b"[]", b"{}", b'{"jobId": "another", "status": "pending"}'])
async def test_what_another_than_the_worker_answered_last_ends_the_job_with_that_reason(
    app: Any, handlers: Any, said: bytes
) -> None:
    async def fail(*_: Any) -> None:
        raise ValueError("the first reason")

    handlers.behaviour = fail
    message = await app.enqueue()
    await app.deliver(message)
    assert (await app.fail(message, status=413, said=said)).status_code == 200
    record = await app.record(message)
    assert record.status is JobStatus.FAILED
    assert "the last one was answered 413" in (record.error or "")
    assert record.attempts[0].error == "ValueError: the first reason"


async def test_the_last_reason_is_the_jobs_and_the_earlier_one_stays_with_its_attempt(
    app: Any, handlers: Any, clock: Any
) -> None:
    """Its deliveries after the first got no answer: by the failure callback, and where that was lost, by the sweep."""

    async def fail(*_: Any) -> None:
        raise ValueError("the first reason")

    handlers.behaviour = fail
    told, unheard = await app.enqueue(), await app.enqueue()
    for message in (told, unheard):
        await app.deliver(message)
    assert (await app.fail(told, status=0, said=b"")).status_code == 200
    clock.advance(timedelta(hours=1))
    app.qstash.logs[unheard.id] = [{"state": "FAILED", "error": "connection refused"}]
    assert await Closer(app.dispatcher.context).sweep() == [json.loads(unheard.body)["jobId"]]
    for message, reason in ((told, "the last one got no answer"), (unheard, "connection refused")):
        record = await app.record(message)
        assert (record.status, reason in (record.error or "")) == (JobStatus.FAILED, True)
        assert [attempt.error for attempt in record.attempts] == ["ValueError: the first reason"]


async def test_a_failure_callback_waits_while_the_jobs_next_message_is_unpublished(app: Any) -> None:
    message = await app.enqueue()
    await app.fail(message)
    app.qstash.unreachable = True
    await app.dispatcher.retry(json.loads(message.body)["jobId"])
    assert (await app.fail(message)).status_code == 503
    assert (await app.record(message)).status is JobStatus.PENDING


async def test_the_sweep_runs_a_job_again_whose_worker_died_and_whose_message_has_ended(
    app: Any, handlers: Any, clock: Any, dying: list[Any]
) -> None:
    message = await app.enqueue(retries=0)
    await _die(app, handlers, message, dying)
    clock.advance(timedelta(hours=1))
    app.qstash.logs[message.id] = [{"state": "FAILED"}]
    closer = Closer(app.dispatcher.context)
    assert await closer.sweep() == []
    further = await _further(app)
    assert further is not message
    assert (await app.deliver(further)).status_code == 200
    assert (await app.record(message)).status is JobStatus.COMPLETED


@pytest.mark.parametrize("has_died", [True, False])
async def test_a_sweep_leaves_a_job_alone_that_went_on_while_qstash_was_asked(
    app: Any, handlers: Any, clock: Any, dying: list[Any], has_died: bool
) -> None:
    """Another process's sweep came first, or the message's last delivery: the job waits for its next retry."""

    async def fail(*_: Any) -> None:
        raise ValueError("no luck")

    async def go_on() -> None:
        handlers.behaviour = fail
        if has_died:
            assert await Closer(app.dispatcher.context).sweep() == []
        assert (await app.deliver(await _further(app))).json()["status"] == "pending"

    message = await app.enqueue(retries=3)
    if has_died:
        await _die(app, handlers, message, dying)
    clock.advance(timedelta(hours=1))
    app.qstash.logs[message.id] = [{"state": "FAILED"}]
    app.qstash.meanwhile = go_on
    assert await Closer(app.dispatcher.context).sweep() == []
    record = await app.record(message)
    assert (record.status, record.retry_count, record.error) == (JobStatus.PENDING, 1, "ValueError: no luck")


async def test_the_failure_callback_keeps_the_workers_own_error(app: Any, handlers: Any) -> None:
    async def fail(*_: Any) -> None:
        raise ValueError("the reason")

    handlers.behaviour = fail
    message = await app.enqueue(retries=0)
    await app.deliver(message)
    await app.fail(message, retried=0)
    assert (await app.record(message)).error == "ValueError: the reason"


async def test_a_late_failure_callback_does_not_undo_a_completed_job(app: Any) -> None:
    message = await app.enqueue()
    await app.deliver(message)
    assert (await app.fail(message)).status_code == 200
    assert (await app.record(message)).status is JobStatus.COMPLETED


async def test_a_failure_callback_of_an_earlier_run_does_not_end_the_new_one(app: Any) -> None:
    message = await app.enqueue()
    await app.fail(message)
    await app.dispatcher.retry(json.loads(message.body)["jobId"])
    assert (await app.fail(message)).status_code == 200
    assert (await app.record(message)).status is JobStatus.PENDING


async def test_the_callers_own_failure_callback_is_told_too(app: Any) -> None:
    message = await app.enqueue(failure_callback="https://example.com/failed")
    await app.fail(message)
    await app.dispatcher.outbox.relay()
    await app.dispatcher.outbox.close()
    (told,) = [each for each in app.qstash.messages if each.destination == "https://example.com/failed"]
    assert json.loads(told.body)["sourceMessageId"] == message.id


async def test_a_firing_that_never_reached_us_is_recorded_as_failed(app: Any) -> None:
    body = json.dumps({"type": "do-work", "payload": {}}).encode()
    notice = {
        "status": 0,
        "retried": 3,
        "sourceMessageId": "msg_tick",
        "scheduleId": "scd_1",
        "sourceBody": base64.b64encode(body).decode(),
    }
    url = "https://app.example.com/api/jobs/callbacks/failure"
    assert (await app.post(url, json.dumps(notice).encode())).status_code == 200
    (record,) = (await app.dispatcher.list(JobFilter(schedule_id="scd_1"))).jobs
    assert (record.status, record.error) == (
        JobStatus.FAILED,
        "QStash gave up after 4 attempts: the last one got no answer",
    )


async def test_a_failure_callback_needs_a_signature(app: Any) -> None:
    message = await app.enqueue()
    answer = await app.client.post("/api/jobs/callbacks/failure", content=b"{}")
    assert answer.status_code == 401
    assert (await app.record(message)).status is JobStatus.PENDING


async def test_a_failure_callback_about_nothing_of_ours_is_not_retried(app: Any) -> None:
    url = "https://app.example.com/api/jobs/callbacks/failure"
    for body in (b"[]", b"{}", b'{"sourceMessageId": "m", "sourceBody": "%%%"}'):
        assert (await app.post(url, body)).status_code == 489


async def test_the_sweep_fails_jobs_whose_message_is_gone_and_leaves_the_others(app: Any, clock: Any) -> None:
    closer = Closer(app.dispatcher.context)
    lost, alive, fresh = await app.enqueue("lost"), await app.enqueue("alive"), None
    clock.advance(timedelta(hours=1))
    fresh = await app.enqueue("fresh")
    app.qstash.messages.remove(lost)

    closed = await closer.sweep()

    assert closed == [json.loads(lost.body)["jobId"]]
    assert (await app.record(lost)).status is JobStatus.FAILED
    assert "no longer has its message" in ((await app.record(lost)).error or "")
    assert (await app.record(alive)).status is JobStatus.PENDING
    assert (await app.record(fresh)).status is JobStatus.PENDING


async def test_the_sweep_closes_a_job_whose_message_ended_though_qstash_still_shows_it(
    app: Any, clock: Any
) -> None:
    message = await app.enqueue()
    clock.advance(timedelta(hours=1))
    app.qstash.logs[message.id] = [
        {"state": "FAILED", "error": "connection refused"},
        {"state": "ERROR"},
        {"state": "CREATED"},
    ]
    assert await Closer(app.dispatcher.context).sweep() == [json.loads(message.body)["jobId"]]
    record = await app.record(message)
    assert (
        record.error == f"lost: QStash gave up its message {message.id}: connection refused; retry it by hand"
    )


async def test_the_sweep_leaves_jobs_alone_that_still_wait_in_the_outbox(app: Any, clock: Any) -> None:
    app.qstash.unreachable = True
    await app.dispatcher.enqueue("do-work", {})
    clock.advance(timedelta(days=2))
    assert await Closer(app.dispatcher.context).sweep() == []


async def test_the_sweep_closes_nothing_while_qstash_cannot_be_asked(app: Any, clock: Any) -> None:
    await app.enqueue()
    clock.advance(timedelta(days=2))
    app.qstash.unreachable = True
    assert await Closer(app.dispatcher.context).sweep() == []
