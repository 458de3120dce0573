"""A start continues with the records of an earlier process: nothing is lost or doubled, and limits stay in force."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from emulator.testing import Harness, Receiver

NOW_AT = 1_780_315_200_000
Life = Callable[..., AbstractAsyncContextManager[tuple[Harness, Receiver]]]


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """One process after the other on the same file; each with a receiver for https://example.com."""

    @asynccontextmanager
    async def live(now_at: int = NOW_AT) -> AsyncIterator[tuple[Harness, Receiver]]:
        qstash = Harness(db=str(tmp_path / "q.db"), now_at=now_at)
        receiver = Receiver(now=lambda: qstash.now)
        # Before the start: what is due is delivered at once.
        qstash.mount("https://example.com", receiver)
        async with qstash:
            yield qstash, receiver

    return live


def _paths(receiver: Receiver) -> list[str]:
    return [one.url.rsplit("/", 1)[1] for one in receiver.got]


async def test_a_delayed_message_is_delivered_by_the_next_process(life: Life) -> None:
    async with life() as (qstash, _):
        await qstash.client.post(
            "/v2/publish/https://example.com/x", headers={"Upstash-Delay": "1h"}, content=b"body"
        )
    async with life() as (qstash, receiver):
        await qstash.settle()
        assert receiver.got == []
        await qstash.advance("1h")
        assert [one.body for one in receiver.got] == [b"body"]
    async with life(NOW_AT + 7_200_000) as (qstash, receiver):
        await qstash.settle()
        assert receiver.got == []


async def test_retries_go_on_where_they_were(life: Life) -> None:
    async with life() as (qstash, receiver):
        receiver.always = 500
        await qstash.client.post("/v2/publish/https://example.com/x")
        await qstash.advance("12s")
        await qstash.advance("1s")
        assert [one.retried for one in receiver.got] == [0, 1]
    async with life(NOW_AT + 13_000) as (qstash, receiver):
        await qstash.run_until_idle()
        assert [one.retried for one in receiver.got] == [2]


async def test_an_attempt_that_a_stop_cut_off_is_made_again_with_the_same_id(life: Life) -> None:
    async with life() as (qstash, receiver):
        receiver.gate = asyncio.Event()
        answer = await qstash.client.post("/v2/publish/https://example.com/x")
        while not receiver.got:
            await asyncio.sleep(0)
    async with life() as (qstash, receiver):
        await qstash.settle()
        assert [one.headers["upstash-message-id"] for one in receiver.got] == [answer.json()["messageId"]]
        assert receiver.got[0].retried == 0


async def test_a_queue_keeps_its_order_and_its_pause(life: Life) -> None:
    async with life() as (qstash, _):
        await qstash.client.post("/v2/queues", json={"queueName": "q", "paused": True})
        for number in range(5):
            await qstash.client.post(f"/v2/enqueue/q/https://example.com/{number}")
    async with life() as (qstash, receiver):
        await qstash.settle()
        assert receiver.got == []
        await qstash.client.post("/v2/queues/q/resume")
        await qstash.settle()
        assert _paths(receiver) == ["0", "1", "2", "3", "4"]


async def test_a_slot_waits_for_its_callback_across_a_restart(life: Life) -> None:
    async with life() as (qstash, receiver):
        for number in range(2):
            await qstash.client.post(
                f"/v2/enqueue/q/https://example.com/{number}",
                headers={"Upstash-Callback": "https://nobody.example/"},
            )
        await qstash.settle()
        assert _paths(receiver) == ["0"]
    async with life() as (qstash, receiver):
        await qstash.settle()
        assert receiver.got == []
        await qstash.run_until_idle()
        assert _paths(receiver) == ["1"]


async def test_a_callback_that_waits_for_its_time_does_not_keep_the_next_process_from_starting(
    life: Life,
) -> None:
    async with life() as (qstash, _):
        await qstash.client.post(
            "/v2/publish/https://example.com/x",
            headers={"Upstash-Callback": "https://nobody.example/", "Upstash-Retries": "1"},
        )
        await qstash.settle()
    async with life() as (qstash, _):
        back = Receiver(now=lambda: qstash.now)
        qstash.mount("https://nobody.example", back)
        await qstash.run_until_idle()
        assert [one.retried for one in back.got] == [1]


async def test_a_rate_that_is_used_up_stays_used_up(life: Life) -> None:
    headers = {"Upstash-Flow-Control-Key": "k", "Upstash-Flow-Control-Value": "rate=1, period=1h"}
    async with life() as (qstash, receiver):
        for number in range(2):
            await qstash.client.post(f"/v2/publish/https://example.com/{number}", headers=headers)
        await qstash.settle()
        assert _paths(receiver) == ["0"]
    async with life(NOW_AT + 60_000) as (qstash, receiver):
        await qstash.settle()
        assert receiver.got == []
        await qstash.run_until_idle()
        assert [one.at for one in receiver.got] == [NOW_AT + 3_600_000]


async def test_deduplication_schedules_groups_and_keys_are_remembered(life: Life) -> None:
    same = {"Upstash-Deduplication-Id": "same"}
    async with life() as (qstash, _):
        first = (await qstash.client.post("/v2/publish/https://example.com/x", headers=same)).json()
        await qstash.client.post(
            "/v2/schedules/https://example.com/daily",
            headers={"Upstash-Cron": "0 0 * * *"},
            content=b"report",
        )
        await qstash.client.post(
            "/v2/topics/g/endpoints", json={"endpoints": [{"url": "https://example.com/g"}]}
        )
        rotated = (await qstash.client.post("/v2/keys/rotate")).json()
        await qstash.settle()
    async with life() as (qstash, receiver):
        again = await qstash.client.post("/v2/publish/https://example.com/x", headers=same)
        assert (again.status_code, again.json()["messageId"]) == (202, first["messageId"])
        assert (await qstash.client.get("/v2/keys")).json() == rotated
        assert len((await qstash.client.post("/v2/publish/g")).json()) == 1
        await qstash.advance("12h")
        assert (receiver.got[-1].url, receiver.got[-1].body) == ("https://example.com/daily", b"report")


async def test_deduplication_keys_leave_memory_as_they_expire(life: Life) -> None:
    async def publish(qstash: Harness, key: str) -> None:
        headers = {"Upstash-Deduplication-Id": key}
        assert (
            await qstash.client.post("/v2/publish/https://example.com/x", headers=headers)
        ).status_code == 201

    async with life() as (qstash, _):
        await publish(qstash, "first")
        await qstash.advance("5m")
        await publish(qstash, "second")
    async with life(NOW_AT + 301_000) as (qstash, _):
        known = qstash.runtime.broker.state.deduplications
        assert len(known) == 2
        await qstash.advance("6m")
        await publish(qstash, "third")
        assert len(known) == 2  # the first is gone


async def test_a_cancel_that_was_asked_for_during_the_cut_off_attempt_holds(life: Life) -> None:
    async with life() as (qstash, receiver):
        receiver.gate = asyncio.Event()
        message_id = (await qstash.client.post("/v2/publish/https://example.com/x")).json()["messageId"]
        while not receiver.got:
            await asyncio.sleep(0)
        assert (await qstash.client.delete(f"/v2/messages/{message_id}")).status_code == 202
    async with life() as (qstash, receiver):
        await qstash.settle()
        assert receiver.got == []
        logs = (await qstash.client.get("/v2/logs", params={"messageId": message_id})).json()["logs"]
        assert [entry["state"] for entry in logs] == ["CANCELED", "CANCEL_REQUESTED", "ACTIVE", "CREATED"]


async def test_reset_forgets_everything_but_the_keys(life: Life) -> None:
    async with life() as (qstash, receiver):
        await qstash.client.post("/v2/publish/https://example.com/x", headers={"Upstash-Delay": "1h"})
        await qstash.client.post("/v2/enqueue/q/https://example.com/x", headers={"Upstash-Delay": "1h"})
        await qstash.client.post(
            "/v2/schedules/https://example.com/daily", headers={"Upstash-Cron": "0 0 * * *"}
        )
        assert (await qstash.client.post("/emulator/reset")).json() == {}
        assert qstash.next_due is None
        for path in ("/v2/queues", "/v2/schedules", "/v2/topics"):
            assert (await qstash.client.get(path)).json() == []
        assert (await qstash.client.get("/v2/events")).json() == {"events": []}
        await qstash.advance("2d")
        assert receiver.got == []


async def test_times_that_passed_while_nobody_was_there_fire_once_together(life: Life) -> None:
    async with life() as (qstash, _):
        await qstash.client.post(
            "/v2/schedules/https://example.com/x", headers={"Upstash-Cron": "*/10 * * * *"}
        )
    async with life(NOW_AT + 3_601_000) as (qstash, receiver):
        await qstash.advance("1s")
        assert len(receiver.got) == 1
        await qstash.advance("10m")
        assert len(receiver.got) == 2


async def test_a_delayed_head_of_a_queue_is_delivered_by_the_next_process(life: Life) -> None:
    async with life() as (qstash, _):
        for number in range(2):
            await qstash.client.post(
                f"/v2/enqueue/q/https://example.com/{number}", headers={"Upstash-Delay": "1h"}
            )
    async with life() as (qstash, receiver):
        await qstash.advance("59m")
        assert receiver.got == []
        await qstash.advance("1m")
        assert _paths(receiver) == ["0", "1"]
