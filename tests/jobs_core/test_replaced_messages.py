"""A job's message that another takes the place of: late deliveries of the old one, and refusals of either."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from jobs_core import JobStatus
from jobs_core.engine.lost_jobs import Closer


class _Held:
    """A handler that waits to be told how to end."""

    def __init__(self) -> None:
        self.has_begun = asyncio.Event()
        self._ends: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __call__(self, *_: Any) -> None:
        self.has_begun.set()
        await self._ends

    def fail(self) -> None:
        self._ends.set_exception(ValueError("no luck"))


async def _begun(app: Any, handlers: Any, message: Any, **headers: Any) -> tuple[_Held, asyncio.Task[Any]]:
    """A delivery whose handler runs."""
    handlers.behaviour = held = _Held()
    delivery = asyncio.create_task(app.deliver(message, **headers))
    await held.has_begun.wait()
    handlers.behaviour = None
    return held, delivery


async def _latest(app: Any) -> Any:
    await app.dispatcher.flush()
    return app.qstash.messages[-1]


async def test_a_late_claim_by_a_replaced_message_leaves_the_job_to_the_one_that_follows(
    app: Any, handlers: Any, clock: Any
) -> None:
    """QStash has given the message up, and a worker that stood still carries out what it was sent by it."""
    first = await app.enqueue(retries=1)
    _, dead = await _begun(app, handlers, first)
    clock.advance(timedelta(minutes=1))  # its lease is over
    app.qstash.unreachable = True
    assert (await app.fail(first, status=0)).status_code == 200
    held, late = await _begun(app, handlers, first, retried=1)
    app.qstash.unreachable = False
    clock.advance(timedelta(seconds=5))
    further = await _latest(app)
    assert further is not first
    assert (await app.deliver(further)).json()["status"] == "postponed"
    held.fail()
    assert (await late).json()["status"] == "pending"
    last = await _latest(app)
    assert last is not further
    assert (await app.record(first)).message_id == last.id
    assert (await app.deliver(last)).json()["status"] == "completed"
    dead.cancel()


async def test_a_publish_whose_message_is_replaced_meanwhile_is_not_noted_as_the_jobs_message(
    app: Any, handlers: Any, clock: Any
) -> None:
    """Its process died before it could note the publish; the delivery came all the same."""
    app.qstash.unreachable = True
    job_id = await app.dispatcher.enqueue("do-work", {}, retries=0)
    clock.advance(timedelta(seconds=5))
    app.qstash.unreachable = False
    published: list[Any] = []

    async def replace_it(*_: Any) -> Any:
        [message] = app.qstash.of(job_id)
        held, delivery = await _begun(app, handlers, message)
        assert (await app.deliver(message)).json()["status"] == "postponed"
        published.append((held, delivery, message))

    original = app.dispatcher.outbox._client.publish

    async def publish(messages: Any, *, now: Any) -> Any:
        answers = await original(messages, now=now)
        if not published:
            await replace_it()
        return answers

    app.dispatcher.outbox._client.publish = publish
    further = await _latest(app)
    [(_, delivery, message)] = published
    assert further is not message
    assert (await app.record(message)).message_id == further.id
    delivery.cancel()


async def test_a_refused_notice_of_an_earlier_failure_leaves_the_job_alone_that_is_run_again(
    app: Any, clock: Any
) -> None:
    message = await app.enqueue(failure_callback="https://example.com/failed")
    app.qstash.unreachable = True
    await app.fail(message)  # the notice waits in the outbox
    app.qstash.unreachable = False
    await app.dispatcher.retry(json.loads(message.body)["jobId"])
    app.qstash.failing_with = 400
    clock.advance(timedelta(seconds=5))
    again = await _latest(app)
    app.qstash.failing_with = None
    assert (await app.record(message)).status is JobStatus.PENDING
    assert (await app.deliver(again)).json()["status"] == "completed"
    assert (await app.record(message)).message_id == again.id


@pytest.mark.parametrize("is_refused_again", [False, True])
async def test_a_job_whose_further_message_was_refused_while_it_ran_gets_another(
    app: Any, handlers: Any, clock: Any, *, is_refused_again: bool
) -> None:
    message = await app.enqueue(retries=1)
    held, delivery = await _begun(app, handlers, message)
    app.qstash.failing_with = 400
    assert (await app.fail(message, status=0)).status_code == 200
    await app.dispatcher.flush()
    held.fail()
    assert (await delivery).json()["status"] == "pending"
    clock.advance(timedelta(hours=1))
    if not is_refused_again:
        app.qstash.failing_with = None
    assert await Closer(app.dispatcher.context).sweep() == []
    further = await _latest(app)
    record = await app.record(message)
    if is_refused_again:
        assert (record.status, further) == (JobStatus.FAILED, message)
        assert "as asked" in (record.error or "")
    else:
        assert (await app.deliver(further)).json()["status"] == "completed"
