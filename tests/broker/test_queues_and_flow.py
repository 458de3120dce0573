"""Order, parallelism, rate and pause (contract 5.1 and 5.2; the design's invariants 4 and 5)."""

import asyncio

import pytest

from emulator.testing import Harness, Receiver


async def _enqueue(qstash: Harness, count: int, queue: str = "q", **headers: str) -> list[str]:
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    ids = []
    for number in range(count):
        response = await qstash.client.post(
            f"/v2/enqueue/{queue}/https://example.com/{number}", headers=lines
        )
        ids.append(response.json()["messageId"])
    return ids


async def _queue(qstash: Harness, **fields: object) -> None:
    response = await qstash.client.post("/v2/queues", json={"queueName": "q", **fields})
    assert response.status_code == 200, response.text


def _paths(receiver: Receiver) -> list[str]:
    return [one.url.rsplit("/", 1)[1] for one in receiver.got]


async def test_a_queue_delivers_hundreds_in_the_order_of_publishing(qstash, receiver) -> None:
    await _enqueue(qstash, 300)
    await qstash.settle()
    assert _paths(receiver) == [str(number) for number in range(300)]
    assert receiver.most_in_flight == 1


async def test_a_message_waits_for_its_predecessors_retries(qstash, receiver) -> None:
    receiver.answers = [500, 500, 200]
    await _enqueue(qstash, 2)
    await qstash.run_until_idle()
    assert _paths(receiver) == ["0", "0", "0", "1"]


async def test_a_message_waits_for_its_predecessors_callback(qstash, receiver, callbacks) -> None:
    callbacks.answers = [500]
    await _enqueue(qstash, 2, Upstash_Callback="https://callback.com/")
    await qstash.settle()
    assert _paths(receiver) == ["0"]
    await qstash.run_until_idle()
    assert _paths(receiver) == ["0", "1"]


async def test_a_failed_message_lets_the_next_one_go(qstash, receiver) -> None:
    receiver.answers = [500]
    await _enqueue(qstash, 2, Upstash_Retries="0")
    await qstash.settle()
    assert _paths(receiver) == ["0", "1"]


async def test_parallelism_is_never_exceeded_and_is_used(qstash, receiver) -> None:
    await _queue(qstash, parallelism=3)
    receiver.gate = asyncio.Event()
    await _enqueue(qstash, 20)
    while receiver.in_flight < 3:
        await asyncio.sleep(0)
    receiver.gate.set()
    await qstash.settle()
    assert len(receiver.got) == 20
    assert receiver.most_in_flight == 3


async def test_a_lowered_parallelism_holds_back_those_that_had_a_slot(qstash, receiver) -> None:
    await _queue(qstash, parallelism=3)
    receiver.answers = [500, 500, 500]
    await _enqueue(qstash, 3)
    await qstash.settle()
    await _queue(qstash, parallelism=1)
    receiver.most_in_flight = 0
    await qstash.run_until_idle()
    assert len(receiver.got) == 6
    assert receiver.most_in_flight == 1


async def test_a_paused_queue_takes_messages_and_sends_none(qstash, receiver) -> None:
    await _queue(qstash, paused=True)
    await _enqueue(qstash, 3)
    await qstash.advance("1h")
    assert receiver.got == []
    queue = (await qstash.client.get("/v2/queues/q")).json()
    assert (queue["lag"], queue["paused"]) == (3, True)
    await qstash.client.post("/v2/queues/q/resume")
    await qstash.settle()
    assert _paths(receiver) == ["0", "1", "2"]


async def test_a_pause_between_retries_holds_the_retry(qstash, receiver) -> None:
    receiver.answers = [500]
    await _enqueue(qstash, 1)
    await qstash.settle()
    await qstash.client.post("/v2/queues/q/pause")
    await qstash.advance("1h")
    assert len(receiver.got) == 1
    await qstash.client.post("/v2/queues/q/resume")
    await qstash.settle()
    assert len(receiver.got) == 2


async def test_a_delayed_head_blocks_its_successors(qstash, receiver) -> None:
    await qstash.client.post("/v2/enqueue/q/https://example.com/late", headers={"Upstash-Delay": "1m"})
    await qstash.client.post("/v2/enqueue/q/https://example.com/soon")
    await qstash.advance("59s")
    assert receiver.got == []
    await qstash.advance("1s")
    assert _paths(receiver) == ["late", "soon"]


async def test_deleting_a_queue_cancels_what_waits_in_it(qstash, receiver) -> None:
    receiver.answers = [500]
    ids = await _enqueue(qstash, 3)
    await qstash.settle()
    assert (await qstash.client.delete("/v2/queues/q")).status_code == 200
    await qstash.run_until_idle()
    assert len(receiver.got) == 1
    assert (await qstash.client.get("/v2/queues/q")).status_code == 404
    logs = (await qstash.client.get("/v2/logs?state=CANCELED")).json()["logs"]
    assert {entry["messageId"] for entry in logs} == set(ids)


async def test_cancelling_the_head_frees_its_slot(qstash, receiver) -> None:
    receiver.answers = [500]
    ids = await _enqueue(qstash, 2)
    await qstash.settle()
    await qstash.client.delete(f"/v2/messages/{ids[0]}")
    await qstash.settle()
    assert _paths(receiver) == ["0", "1"]


async def _publish(qstash: Harness, count: int, value: str, target: str = "https://example.com") -> None:
    for number in range(count):
        response = await qstash.client.post(
            f"/v2/publish/{target}/{number}",
            headers={"Upstash-Flow-Control-Key": "k", "Upstash-Flow-Control-Value": value},
        )
        assert response.status_code == 201, response.text


async def test_a_rate_lets_so_many_start_in_each_period(qstash, receiver) -> None:
    start_at = qstash.now
    await _publish(qstash, 25, "rate=10, period=1m")
    await qstash.run_until_idle()
    assert [one.at - start_at for one in receiver.got] == [0] * 10 + [60_000] * 10 + [120_000] * 5
    assert _paths(receiver) == [str(number) for number in range(25)]


async def test_retries_count_against_the_rate(qstash, receiver) -> None:
    start_at = qstash.now
    receiver.answers = [(500, {"Retry-After": "0"})]
    await _publish(qstash, 2, "rate=1, period=10s")
    await qstash.run_until_idle()
    assert [one.at - start_at for one in receiver.got] == [0, 10_000, 20_000]


async def test_parallelism_of_a_key_spans_destinations(qstash, receiver, callbacks) -> None:
    receiver.gate = callbacks.gate = asyncio.Event()
    await _publish(qstash, 4, "parallelism=2")
    await _publish(qstash, 4, "parallelism=2", target="https://callback.com")
    key = (await qstash.client.get("/v2/flowControl/k")).json()
    assert (key["parallelismMax"], key["waitListSize"]) == (2, 6)
    receiver.gate.set()
    await qstash.settle()
    assert len(receiver.got) + len(callbacks.got) == 8
    assert receiver.most_in_flight + callbacks.most_in_flight <= 4


async def test_a_paused_key_holds_its_messages_and_lets_others_go(qstash, receiver) -> None:
    await qstash.client.post("/v2/flowControl/k/pause")
    await _publish(qstash, 2, "rate=5")
    await qstash.client.post("/v2/publish/https://example.com/free")
    await qstash.advance("1h")
    assert _paths(receiver) == ["free"]
    await qstash.client.post("/v2/flowControl/k/resume")
    await qstash.settle()
    assert _paths(receiver) == ["free", "0", "1"]


async def test_a_pinned_limit_outlives_what_messages_bring(qstash, receiver) -> None:
    await qstash.client.post("/v2/flowControl/k/pin?parallelism=3&rate=20&period=120")
    await _publish(qstash, 1, "parallelism=1, rate=1")
    key = (await qstash.client.get("/v2/flowControl/k")).json()
    assert (key["parallelismMax"], key["rateMax"], key["ratePeriod"]) == (3, 20, 120)
    await qstash.client.post("/v2/flowControl/k/unpin?parallelism=true")
    await _publish(qstash, 1, "parallelism=1, rate=1")
    key = (await qstash.client.get("/v2/flowControl/k")).json()
    assert (key["parallelismMax"], key["isPinnedParallelism"], key["isPinnedRate"]) == (1, False, True)


async def test_a_slow_host_does_not_hold_up_the_others() -> None:
    async with Harness(capacity=10, per_origin=4) as qstash:
        slow = Receiver(now=lambda: qstash.now, gate=asyncio.Event())
        quick = Receiver(now=lambda: qstash.now)
        qstash.mount("https://slow.com", slow)
        qstash.mount("https://quick.com", quick)
        for number in range(20):
            await qstash.client.post(f"/v2/publish/https://slow.com/{number}")
        for number in range(20):
            await qstash.client.post(f"/v2/publish/https://quick.com/{number}")
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(quick.got) == 20
        assert slow.in_flight == 4
        assert slow.gate is not None
        slow.gate.set()
        await qstash.settle()
        assert len(slow.got) == 20


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v2/flowControl/none", 404), ("/v2/queues/none", 404), ("/v2/queues/a%20b", 400)],
)
async def test_what_is_not_there_is_said(qstash, path: str, status: int) -> None:
    assert (await qstash.client.get(path)).status_code == status


async def test_a_retry_of_a_deleted_queue_does_not_wait_for_a_slot_in_a_new_one(qstash, receiver) -> None:
    receiver.answers = [500]
    receiver.gate = asyncio.Event()
    await _enqueue(qstash, 1, Upstash_Retry_Delay="1000")
    while not receiver.got:
        await asyncio.sleep(0)
    await qstash.client.delete("/v2/queues/q")
    await _enqueue(qstash, 1)
    receiver.gate.set()
    await qstash.settle()
    await qstash.advance("1s")
    assert [one.retried for one in receiver.got] == [0, 0, 1]


async def test_a_message_that_waits_for_its_flow_key_does_not_start_once_its_queue_is_paused(
    qstash, receiver
) -> None:
    flow = {"Upstash-Flow-Control-Key": "k", "Upstash-Flow-Control-Value": "parallelism=1"}
    receiver.gate = asyncio.Event()
    await qstash.client.post("/v2/publish/https://example.com/first", headers=flow)
    await qstash.client.post("/v2/enqueue/q/https://example.com/second", headers=flow)
    await qstash.client.post("/v2/queues/q/pause")
    receiver.gate.set()
    await qstash.settle()
    assert [one.url for one in receiver.got] == ["https://example.com/first"]
    await qstash.client.post("/v2/queues/q/resume")
    await qstash.settle()
    assert [one.url for one in receiver.got] == ["https://example.com/first", "https://example.com/second"]
