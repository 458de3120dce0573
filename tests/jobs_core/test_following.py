"""The lines of ``tail``, and their order."""

from datetime import timedelta
from typing import Any

import pytest

from jobs_core.engine import job_feed
from jobs_core.engine.job_feed import Follower


async def told(follower: Follower) -> list[tuple[str, int]]:
    return [(each.event, each.attempt) for each in await follower.poll()]


async def test_a_jobs_steps_are_told_once_and_in_order(app: Any, handlers: Any, clock: Any) -> None:
    follower = Follower(app.dispatcher.context)
    assert await told(follower) == []
    message = await app.enqueue()
    assert await told(follower) == [("enqueued", 0)]

    async def fail(*_: Any) -> None:
        raise ValueError("broken")

    handlers.behaviour = fail
    clock.advance(timedelta(seconds=1))
    await app.deliver(message)
    (retry,) = await follower.poll()
    assert (retry.event, retry.attempt, retry.error) == ("retry", 1, "ValueError: broken")
    assert retry.next_attempt_at is not None
    assert retry.to_json()["jobType"] == "do-work"

    async def see(*_: Any) -> list[tuple[str, int]]:
        return await told(follower)

    handlers.behaviour = see
    await app.deliver(message, retried=1)
    assert (await app.record(message)).result == [["processing", 2]]
    assert await told(follower) == [("completed", 2)]
    assert await told(follower) == []


async def test_what_happened_before_is_not_told_but_what_becomes_of_it_is(app: Any) -> None:
    done, waiting = await app.enqueue(), await app.enqueue()
    await app.deliver(done)
    follower = Follower(app.dispatcher.context)
    assert await told(follower) == []
    await app.dispatcher.cancel((await app.record(waiting)).job_id)
    assert await told(follower) == [("cancelled", 0)]
    await app.dispatcher.retry((await app.record(done)).job_id)
    assert await told(follower) == [("pending", 1)]


async def test_an_old_job_is_told_of_by_its_next_attempt(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_feed, "_OVERLAP", 1)
    monkeypatch.setattr(job_feed, "_WATCHED_AT_FIRST", 1)
    old = await app.enqueue()
    for _ in range(3):  # newer ones, so that nobody watches it
        await app.enqueue()
    follower = Follower(app.dispatcher.context)
    await follower.poll()
    await app.deliver(old)
    assert await told(follower) == [("completed", 1)]
