"""Jobs that no worker ends: the failure callback and the sweep."""

import asyncio
import base64
import json
from datetime import timedelta
from typing import Any

from jobs_core import AttemptOutcome, JobFilter, JobStatus
from jobs_core.engine.lost_jobs import Closer


async def test_the_failure_callback_ends_a_job_that_was_never_answered(app: Any) -> None:
    message = await app.enqueue()
    assert (await app.fail(message, status=502)).status_code == 200
    record = await app.record(message)
    assert record.status is JobStatus.FAILED
    assert record.error == "QStash gave up after 4 attempts: the last one was answered 502: the response"


async def test_the_failure_callback_ends_a_job_whose_worker_died(app: Any, handlers: Any, clock: Any) -> None:
    entered = asyncio.Event()

    async def die(*_: Any) -> None:
        entered.set()
        await asyncio.Event().wait()

    handlers.behaviour = die
    message = await app.enqueue()
    dying = asyncio.create_task(app.deliver(message))  # as a killed process: it never says anything
    await entered.wait()

    waiting = await app.fail(message)
    assert (waiting.status_code, waiting.headers["retry-after"]) == (503, "40")  # it might still run
    clock.advance(timedelta(seconds=40))
    assert (await app.fail(message)).status_code == 200
    record = await app.record(message)
    assert record.status is JobStatus.FAILED
    assert record.attempts[0].outcome is AttemptOutcome.LOST
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)


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
