"""Retry now and run now: only time is given up, nothing else."""

from dataclasses import replace

import pytest

from emulator.broker.pending_changes import expedite
from emulator.store.queries import load_due
from emulator.testing import Harness, Receiver


async def _publish(qstash: Harness, path: str, **headers: str) -> str:
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    response = await qstash.client.post(f"/v2/publish/https://example.com/{path}", headers=lines)
    message_id: str = response.json()["messageId"]
    return message_id


async def _retry_now(qstash: Harness, message_id: str) -> int:
    return (await qstash.client.post(f"/emulator/messages/{message_id}/retry-now")).status_code


async def test_a_delayed_message_goes_out_now_and_only_once(qstash: Harness, receiver: Receiver) -> None:
    message_id = await _publish(qstash, "a", Upstash_Delay="10d")
    assert await _retry_now(qstash, message_id) == 200
    await qstash.run_until_idle()
    assert len(receiver.got) == 1
    assert receiver.got[0].retried == 0
    assert qstash.next_due is None


async def test_a_message_behind_the_horizon_goes_out_now_and_only_once(
    qstash: Harness, receiver: Receiver
) -> None:
    timeline = qstash.runtime.broker.state.pending.timeline
    timeline._window = 2
    made = [await _publish(qstash, str(day), Upstash_Delay=f"{day}d") for day in range(1, 9)]
    assert timeline.horizon is not None
    assert await _retry_now(qstash, made[-1]) == 200
    await qstash.settle()
    assert [one.url for one in receiver.got] == ["https://example.com/8"]
    await qstash.run_until_idle()
    assert [one.url[-1] for one in receiver.got] == ["8", "1", "2", "3", "4", "5", "6", "7"]


async def test_what_the_store_is_being_asked_for_meanwhile_does_not_put_it_back(qstash: Harness) -> None:
    timeline = qstash.runtime.broker.state.pending.timeline
    timeline._window = 2
    for day in range(1, 9):
        await _publish(qstash, str(day), Upstash_Delay=f"{day}d")
    start, limit = timeline.begin_refill()
    read, _ = await qstash.runtime.read(
        lambda store: load_due(store, qstash.runtime.tenant.id, start=start, limit=limit)
    )
    stale = read[0]
    as_the_store_has_it = replace(stale)
    brought = await qstash.runtime.change(
        lambda state, now_at: expedite(state, [as_the_store_has_it], now_at)
    )
    assert brought == 1
    pending = qstash.runtime.broker.state.pending
    pending.refill_timeline([stale], is_complete=True)
    assert pending.find(as_the_store_has_it) is as_the_store_has_it


async def test_a_queue_keeps_its_order(qstash: Harness, receiver: Receiver) -> None:
    first = await _publish(qstash, "first", Upstash_Delay="1h", Upstash_Queue_Name="q")
    second = await _publish(qstash, "second", Upstash_Delay="2h", Upstash_Queue_Name="q")
    assert await _retry_now(qstash, second) == 200
    await qstash.settle()
    assert receiver.got == []
    assert await _retry_now(qstash, first) == 200
    await qstash.settle()
    assert [one.url for one in receiver.got] == ["https://example.com/first", "https://example.com/second"]


async def test_what_waits_for_something_else_is_left_where_it_is(qstash: Harness, receiver: Receiver) -> None:
    await qstash.client.post("/v2/flowControl/k/pause")
    message_id = await _publish(
        qstash, "a", Upstash_Flow_Control_Key="k", Upstash_Flow_Control_Value="parallelism=1"
    )
    response = await qstash.client.post(f"/emulator/messages/{message_id}/retry-now")
    assert response.status_code == 409
    assert "flow-control key k is paused" in response.json()["error"]


@pytest.mark.parametrize("answers", [[200], [500, 500]])
async def test_it_outlives_a_restart(tmp_path, answers) -> None:
    path = str(tmp_path / "q.db")
    async with Harness(db=path) as qstash:
        message_id = await _publish(qstash, "a", Upstash_Delay="10d")
        await qstash.client.post("/v2/queues", json={"queueName": "q", "paused": True})
        queued = await _publish(qstash, "b", Upstash_Delay="10d", Upstash_Queue_Name="q")
        assert await _retry_now(qstash, queued) == 200
        now_at = qstash.now
    async with Harness(db=path, now_at=now_at) as qstash:
        receiver = Receiver(now=lambda: qstash.now, answers=list(answers))
        qstash.mount("https://example.com", receiver)
        await qstash.client.post("/v2/queues/q/resume")
        await qstash.settle()
        assert [one.url for one in receiver.got] == ["https://example.com/b"]
        assert await _retry_now(qstash, message_id) == 200
        await qstash.settle()
        assert receiver.got[-1].url == "https://example.com/a"
