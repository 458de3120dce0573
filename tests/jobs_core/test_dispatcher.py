"""Enqueueing: one record, one message, whatever happens in between."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from jobs_core import (
    FlowControl,
    JobDispatcher,
    JobFilter,
    JobNotFoundError,
    JobRequest,
    JobStateError,
    JobStatus,
    JobValidationError,
    PublishRefusedError,
    UnknownJobTypeError,
)
from jobs_core.database.tables import outbox


async def waiting(dispatcher: JobDispatcher) -> int:
    return await dispatcher.database.read(
        lambda connection: len(connection.execute(select(outbox.c.id)).all())
    )


async def test_an_enqueued_job_is_pending_and_published_with_everything_that_was_asked(
    dispatcher: JobDispatcher, qstash: Any
) -> None:
    job_id = await dispatcher.enqueue(
        "do-work",
        {"note": "hello", "count": 2},
        user_id=123,
        organization_id="acme",
        idempotency_key="signup-123",
        delay=timedelta(minutes=1),
        retries=5,
        retry_delay=timedelta(seconds=3),
        timeout=45,
        callback="https://example.com/done",
        headers={"X-Custom": "value"},
        queue="mail",
        flow_control=FlowControl(key="k", parallelism=2, rate=5, period=timedelta(minutes=1)),
        label="first",
    )

    (message,) = qstash.messages
    assert message.destination == "https://app.example.com/api/jobs/work"
    assert message.queue == "mail"
    assert {
        name: value for name, value in message.headers.items() if name.startswith(("upstash", "content-t"))
    } == {
        "content-type": "application/json",
        "upstash-deduplication-id": job_id,
        "upstash-delay": "60s",
        "upstash-retries": "5",
        "upstash-retry-delay": "3000",
        "upstash-timeout": "55s",
        "upstash-callback": "https://example.com/done",
        "upstash-failure-callback": "https://app.example.com/api/jobs/callbacks/failure",
        "upstash-failure-callback-retries": "3",
        "upstash-forward-x-custom": "value",
        "upstash-flow-control-key": "k",
        "upstash-flow-control-value": "parallelism=2, rate=5, period=60s",
        "upstash-label": "first",
    }
    assert json.loads(message.body) == {
        "jobId": job_id,
        "type": "do-work",
        "payload": {"note": "hello", "count": 2},
        "metadata": {
            "userId": 123,
            "organizationId": "acme",
            "idempotencyKey": "signup-123",
            "createdAt": "2026-01-01T12:00:00Z",
        },
    }
    record = await dispatcher.get(job_id)
    assert (record.status, record.user_id, record.organization_id) == (JobStatus.PENDING, 123, "acme")
    assert record.message_id == message.id
    assert record.next_attempt_at == datetime(2026, 1, 1, 12, 1, tzinfo=UTC)
    assert await waiting(dispatcher) == 0


async def test_not_before_is_sent_in_seconds(dispatcher: JobDispatcher, qstash: Any) -> None:
    await dispatcher.enqueue("do-work", {}, not_before=datetime(2026, 1, 2, tzinfo=UTC))
    assert qstash.messages[0].headers["upstash-not-before"] == "1767312000"


async def test_fifty_concurrent_enqueues_with_one_idempotency_key_make_one_job_and_one_message(
    dispatcher: JobDispatcher, qstash: Any, gather: Any
) -> None:
    ids = await gather(50, lambda i: dispatcher.enqueue("do-work", {"count": i}, idempotency_key="k"))
    assert len(set(ids)) == 1
    assert len(qstash.messages) == 1
    assert len((await dispatcher.list()).jobs) == 1


async def test_two_processes_with_one_idempotency_key_make_one_job(
    dispatcher: JobDispatcher, handlers: Any, qstash: Any
) -> None:
    async with JobDispatcher(
        dispatcher.settings, registry=handlers.registry, clock=dispatcher.clock, transport=qstash.transport()
    ) as other:
        ids = await asyncio.gather(
            *(
                each.enqueue("do-work", {}, idempotency_key=f"k{i // 2}")
                for i, each in enumerate([dispatcher, other] * 10)
            )
        )
    assert len(set(ids)) == 10
    assert len(qstash.messages) == 10


async def test_the_same_key_for_another_type_is_another_job(dispatcher: JobDispatcher) -> None:
    first = await dispatcher.enqueue("do-work", {}, idempotency_key="k")
    second = await dispatcher.enqueue("block", {}, idempotency_key="k")
    assert first != second


async def test_many_jobs_are_published_in_one_request(dispatcher: JobDispatcher, qstash: Any) -> None:
    ids = await dispatcher.enqueue_many([JobRequest("do-work", {"count": i}) for i in range(100)])
    assert len(set(ids)) == 100
    assert qstash.requests == ["POST /v2/batch"]
    assert [json.loads(message.body)["payload"]["count"] for message in qstash.messages] == list(range(100))
    assert await waiting(dispatcher) == 0


async def test_however_many_jobs_there_are_about_a_thousand_are_published_at_a_time(
    dispatcher: JobDispatcher, qstash: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks: list[int] = []
    publish = dispatcher.client.publish

    async def counted(messages: Any, *, now: datetime) -> Any:
        tasks.append(len(asyncio.all_tasks()))
        return await publish(messages, now=now)

    monkeypatch.setattr(dispatcher.client, "publish", counted)
    await dispatcher.enqueue_many([JobRequest("do-work", {"count": i}) for i in range(2_050)])
    assert max(tasks) < 1_050
    published = [json.loads(message.body)["payload"]["count"] for message in qstash.messages]
    assert sorted(published) == list(range(2_050))


async def test_one_refused_job_among_many_fails_alone(dispatcher: JobDispatcher, qstash: Any) -> None:
    requests = [JobRequest("do-work", {"count": i}) for i in range(3)]
    refused = JobRequest("do-work", {}, options={"label": "refuse"})
    with pytest.RaisesGroup(PublishRefusedError):
        await dispatcher.enqueue_many([*requests, refused])
    assert len(qstash.messages) == 3
    (failed,) = (await dispatcher.list(JobFilter(status=JobStatus.FAILED))).jobs
    assert failed.error is not None
    assert "refused, as asked" in failed.error


async def test_a_payload_that_does_not_fit_is_refused_with_the_path_of_every_error(
    dispatcher: JobDispatcher, qstash: Any
) -> None:
    with pytest.raises(JobValidationError) as caught:
        await dispatcher.enqueue("do-work", {"note": "x" * 21, "count": "many", "extra": 1})
    assert [error.path for error in caught.value.errors] == ["note", "count", "extra"]
    assert qstash.messages == []
    assert (await dispatcher.list()).jobs == ()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("retries", -1),
        ("delay", -5),
        ("timeout", 0),
        ("callback", "not a url"),
        ("headers", {"X": "a\r\nEvil: b"}),
        ("queue", "a b"),
        ("idempotency_key", "k" * 300),
        ("user_id", "a\0b"),
        ("parent_job_id", "not a uuid"),
    ],
)
async def test_an_option_that_cannot_be_is_refused(
    dispatcher: JobDispatcher, option: str, value: Any
) -> None:
    with pytest.raises(JobValidationError):
        await dispatcher.enqueue("do-work", {}, **{option: value})


async def test_an_unknown_type_names_the_known_ones(dispatcher: JobDispatcher) -> None:
    with pytest.raises(UnknownJobTypeError, match="known: block, do-work"):
        await dispatcher.enqueue("do-wrok", {})


async def test_a_job_that_cannot_be_published_now_is_published_later(
    dispatcher: JobDispatcher, qstash: Any, clock: Any
) -> None:
    qstash.unreachable = True
    job_id = await dispatcher.enqueue("do-work", {}, delay=60)
    assert (await dispatcher.get(job_id)).status is JobStatus.PENDING
    qstash.unreachable = False

    assert await dispatcher.outbox.relay() == 0  # not yet
    clock.advance(timedelta(seconds=20))
    assert await dispatcher.outbox.relay() == 1

    (message,) = qstash.of(job_id)
    assert message.headers["upstash-delay"] == "40s"  # late, but the job is not later still
    assert (await dispatcher.get(job_id)).message_id == message.id
    assert await waiting(dispatcher) == 0


@pytest.mark.parametrize("status", [401, 429, 500, 503])
async def test_a_failing_qstash_keeps_the_job_in_the_outbox_and_the_log_says_why(
    dispatcher: JobDispatcher, qstash: Any, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    qstash.failing_with = status
    job_id = await dispatcher.enqueue("do-work", {})
    assert (await dispatcher.get(job_id)).status is JobStatus.PENDING
    assert await waiting(dispatcher) == 1
    assert f"publish_postponed {job_id}: QStash answered {status}" in caplog.text


async def test_a_refused_job_is_an_error_and_recorded_as_failed(
    dispatcher: JobDispatcher, qstash: Any
) -> None:
    qstash.failing_with = 412
    with pytest.raises(PublishRefusedError, match="412") as caught:
        await dispatcher.enqueue("do-work", {})
    assert caught.value.job_id is not None
    record = await dispatcher.get(caught.value.job_id)
    assert record.status is JobStatus.FAILED
    assert await waiting(dispatcher) == 0


async def test_a_crash_between_commit_and_publish_loses_nothing(
    dispatcher: JobDispatcher, qstash: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    async def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(dispatcher.outbox, "publish", die)
        with pytest.raises(BaseException):  # noqa: B017, PT011
            await dispatcher.enqueue("do-work", {"note": "kept"})
    assert qstash.messages == []

    clock.advance(timedelta(minutes=2))  # the dead process's lock ends
    await dispatcher.outbox.relay()
    (message,) = qstash.messages
    assert json.loads(message.body)["payload"]["note"] == "kept"


async def test_a_crash_between_publish_and_its_record_makes_no_second_message(
    dispatcher: JobDispatcher, qstash: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jobs_core.qstash.outbox as module

    def die(*_: Any) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(module, "_record_published", die)
        with pytest.raises(RuntimeError):
            await dispatcher.enqueue("do-work", {})
    assert len(qstash.messages) == 1
    clock.advance(timedelta(minutes=2))
    await dispatcher.outbox.relay()
    assert len(qstash.messages) == 1
    assert await waiting(dispatcher) == 0
    (record,) = (await dispatcher.list()).jobs
    assert record.message_id == qstash.messages[0].id


async def test_two_relays_publish_each_message_once(
    dispatcher: JobDispatcher, qstash: Any, clock: Any, handlers: Any
) -> None:
    qstash.unreachable = True
    await dispatcher.enqueue_many([JobRequest("do-work", {"count": i}) for i in range(150)])
    qstash.unreachable = False
    clock.advance(timedelta(minutes=10))
    async with JobDispatcher(
        dispatcher.settings, registry=handlers.registry, clock=clock, transport=qstash.transport()
    ) as other:
        taken = await asyncio.gather(dispatcher.outbox.relay(), other.outbox.relay())
    assert sum(taken) == 150
    assert len(qstash.messages) == 150


async def test_cancelling_a_pending_job_cancels_its_message(dispatcher: JobDispatcher, qstash: Any) -> None:
    job_id = await dispatcher.enqueue("do-work", {})
    record = await dispatcher.cancel(job_id)
    assert record.status is JobStatus.CANCELLED
    assert qstash.cancelled == [qstash.messages[0].id]
    with pytest.raises(JobStateError, match="cancelled"):
        await dispatcher.cancel(job_id)


async def test_a_job_cancelled_before_it_was_published_never_is(
    dispatcher: JobDispatcher, qstash: Any, clock: Any
) -> None:
    qstash.unreachable = True
    job_id = await dispatcher.enqueue("do-work", {})
    await dispatcher.cancel(job_id)
    qstash.unreachable = False
    clock.advance(timedelta(minutes=2))
    assert await dispatcher.outbox.relay() == 0
    assert qstash.messages == []


async def test_only_a_finished_job_is_retried_and_by_a_new_message(
    dispatcher: JobDispatcher, qstash: Any
) -> None:
    job_id = await dispatcher.enqueue("do-work", {"note": "again"}, retries=7)
    with pytest.raises(JobStateError, match="only a finished job"):
        await dispatcher.retry(job_id)
    await dispatcher.cancel(job_id)
    record = await dispatcher.retry(job_id)
    first, second = qstash.of(job_id)
    assert record.status is JobStatus.PENDING
    assert record.message_id == second.id
    assert json.loads(first.body) == json.loads(second.body)
    assert second.headers["upstash-retries"] == "7"


async def test_an_unknown_job_is_not_found(dispatcher: JobDispatcher) -> None:
    for act in (dispatcher.get, dispatcher.cancel, dispatcher.retry):
        with pytest.raises(JobNotFoundError):
            await act("01a20b3d-b28c-76a0-b15d-4e9ef7fe092e")


async def test_lists_page_from_the_newest_and_filter(dispatcher: JobDispatcher) -> None:
    ids = await dispatcher.enqueue_many(
        [JobRequest("do-work", {"count": i}, user_id=i % 2) for i in range(7)]
    )
    first = await dispatcher.list(JobFilter(limit=3))
    second = await dispatcher.list(JobFilter(limit=3, before_id=first.next_before_id))
    third = await dispatcher.list(JobFilter(limit=3, before_id=second.next_before_id))
    listed = [record.job_id for page in (first, second, third) for record in page.jobs]
    assert listed == list(reversed(ids))
    assert third.next_before_id is None
    mine = await dispatcher.list(JobFilter(user_id=1))
    assert {record.job_id for record in mine.jobs} == set(ids[1::2])
    assert (await dispatcher.list(JobFilter(user_id="1"))).jobs == ()  # a name that looks like a number


async def test_waiting_for_a_job_that_does_not_finish_times_out(dispatcher: JobDispatcher) -> None:
    job_id = await dispatcher.enqueue("do-work", {})
    with pytest.raises(TimeoutError):
        await dispatcher.wait(job_id, timeout=0.05)
