"""Each fault of a delivery: what the destination gets, what the official SDK's receiver says, what the record shows."""

import asyncio
import gc
import json
from collections.abc import Callable
from typing import Any

import pytest
from qstash import Receiver as Verifier
from qstash.errors import SignatureError

from emulator.testing import Harness, Receiver

Publish = Callable[..., Any]


@pytest.fixture
def publish(qstash: Harness) -> Publish:
    async def publish(path: str = "x", **headers: str) -> str:
        lines = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await qstash.client.post(
            f"/v2/publish/https://example.com/{path}", headers=lines, content=path.encode()
        )
        assert answer.status_code == 201, answer.text
        message_id: str = answer.json()["messageId"]
        return message_id

    return publish


async def _states(qstash: Harness, message_id: str) -> list[str]:
    entries = (await qstash.client.get("/v2/events", params={"messageId": message_id})).json()["events"]
    return [entry["state"] for entry in reversed(entries)]


async def _error(qstash: Harness, message_id: str) -> str:
    query = {"messageId": message_id, "state": "ERROR"}
    entries = (await qstash.client.get("/v2/events", params=query)).json()["events"]
    error: str = entries[-1]["error"]
    return error


RETRIED = ["CREATED", "ACTIVE", "ERROR", "RETRY", "ACTIVE", "DELIVERED"]


@pytest.mark.parametrize(
    ("kind", "calls", "words"),
    [
        ("refuse", 1, "connection refused by example.com"),
        ("drop", 2, "example.com closed the connection before a complete response: reset by peer"),
        ("answer", 1, "the destination answered with status 500"),
    ],
)
async def test_a_failed_attempt_is_told_and_retried(qstash, receiver, publish, kind, calls, words) -> None:
    receiver.always = (200, {}, b"answer")
    fault = qstash.faults.add(kind, count=1)
    message_id = await publish()
    await qstash.run_until_idle()
    assert await _states(qstash, message_id) == RETRIED
    assert len(receiver.got) == calls
    error = await _error(qstash, message_id)
    assert words in error
    assert kind == "answer" or f"(fault {fault.id})" in error


@pytest.mark.parametrize(("status", "state"), [(200, "DELIVERED"), (500, "ERROR")])
async def test_half_a_body_behind_a_whole_head_leaves_the_status_what_it_is(
    qstash, receiver, callbacks, publish, status, state
) -> None:
    receiver.always = (status, {"X-Mine": "1"}, b"answer")
    fault = qstash.faults.add("cut-response", count=1)
    message_id = await publish(Upstash_Retries="0", Upstash_Callback="https://callback.com")
    await qstash.run_until_idle()
    assert len(receiver.got) == 1
    query = {"messageId": message_id, "state": state}
    [entry] = (await qstash.client.get("/v2/events", params=query)).json()["events"]
    assert f"3 of 6 bytes of the body arrived (fault {fault.id})" in str(entry)
    [told] = callbacks.got
    callback = json.loads(told.body)
    assert (callback["status"], callback["body"], callback["header"]["X-Mine"]) == (status, "YW5z", ["1"])


async def test_an_answer_without_a_body_is_cut_in_its_head_and_retried(qstash, receiver, publish) -> None:
    receiver.always = (200, {}, b"")
    qstash.faults.add("cut-response", count=1)
    message_id = await publish()
    await qstash.run_until_idle()
    assert await _states(qstash, message_id) == RETRIED
    assert "half of the head arrived" in await _error(qstash, message_id)


async def test_an_answer_has_the_status_the_headers_and_the_body_that_were_asked_for(
    qstash, receiver, publish
) -> None:
    started_at = qstash.now
    qstash.faults.add(
        "answer", status=503, response_headers={"Retry-After": "30"}, response_body="busy", count=1
    )
    message_id = await publish()
    await qstash.run_until_idle()
    [delivery] = receiver.got
    assert delivery.at - started_at == 30_000
    [entry] = (
        await qstash.client.get("/v2/events", params={"messageId": message_id, "state": "ERROR"})
    ).json()["events"]
    assert entry["responseStatus"] == 503


async def test_a_delayed_delivery_waits_on_the_emulators_clock(qstash, receiver, publish) -> None:
    started_at = qstash.now
    qstash.faults.add("delay", delay="30s", destination="https://example.com/slow")
    slow = await publish("slow")
    await publish("quick")
    await qstash.settle()
    assert [one.body for one in receiver.got] == [b"quick"]
    assert await _states(qstash, slow) == ["CREATED", "ACTIVE"]
    assert qstash.next_due == started_at + 30_000
    await qstash.run_until_idle()
    assert receiver.got[1].at - started_at == 30_000
    assert await _states(qstash, slow) == ["CREATED", "ACTIVE", "DELIVERED"]


async def test_a_delivery_that_times_out_was_called_and_takes_the_whole_timeout(
    qstash, receiver, publish
) -> None:
    started_at = qstash.now
    qstash.faults.add("time-out", count=1)
    message_id = await publish(Upstash_Timeout="45s", Upstash_Retry_Delay="1000")
    await qstash.run_until_idle()
    assert [one.at - started_at for one in receiver.got] == [0, 46_000]
    assert await _states(qstash, message_id) == RETRIED
    assert "context deadline exceeded" in await _error(qstash, message_id)


async def test_a_message_delivered_twice_is_one_attempt_with_one_id_and_two_signatures(
    qstash, receiver, publish
) -> None:
    qstash.faults.add("deliver-twice")
    message_id = await publish()
    await qstash.run_until_idle()
    first, second = receiver.got
    assert first.headers["upstash-message-id"] == second.headers["upstash-message-id"] == message_id
    assert (first.retried, second.retried) == (0, 0)
    assert first.claims["jti"] != second.claims["jti"]
    assert await _states(qstash, message_id) == ["CREATED", "ACTIVE", "DELIVERED"]


async def test_deliveries_out_of_order_come_in_reverse(qstash, receiver, publish) -> None:
    qstash.faults.add("out-of-order")
    for path in "abc":
        await publish(path, Upstash_Delay="1m")
    await qstash.run_until_idle()
    assert [one.body for one in receiver.got] == [b"c", b"b", b"a"]


async def test_only_the_one_that_is_struck_comes_late(qstash, receiver, publish) -> None:
    qstash.faults.add("out-of-order", label="late")
    qstash.faults.add("delay", delay="5s", destination="https://example.com/c")
    await publish("a", Upstash_Delay="1m", Upstash_Label="late")
    for path in "bc":
        await publish(path, Upstash_Delay="1m")
    await qstash.run_until_idle()
    assert [one.body for one in receiver.got] == [b"b", b"a", b"c"]


@pytest.mark.parametrize(
    ("kind", "is_accepted"),
    [
        ("wrong-signature", False),
        ("expired-signature", False),
        ("other-url-signature", False),
        ("next-key-signature", True),
    ],
)
async def test_the_official_receiver_judges_a_wrong_signature(
    qstash, receiver, publish, kind, is_accepted
) -> None:
    qstash.faults.add(kind)
    await publish()
    await qstash.run_until_idle()
    [delivery] = receiver.got
    keys = (await qstash.client.get("/v2/keys")).json()
    verifier = Verifier(current_signing_key=keys["current"], next_signing_key=keys["next"])
    arguments = {"signature": delivery.headers["upstash-signature"], "body": "x", "url": delivery.url}
    if is_accepted:
        verifier.verify(**arguments)
        without_next = Verifier(current_signing_key=keys["current"], next_signing_key="sig_old")
        with pytest.raises(SignatureError):
            without_next.verify(**arguments)
    else:
        with pytest.raises(SignatureError):
            verifier.verify(**arguments)


@pytest.mark.parametrize("db", ["memory", "file"])
async def test_a_crash_between_accept_and_delivery_loses_nothing(tmp_path, db) -> None:
    async with Harness(db="memory" if db == "memory" else str(tmp_path / "q.db")) as qstash:
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount("https://example.com", receiver)
        fault = qstash.faults.add("crash")
        ids = []
        for number in range(5):
            answer = await qstash.client.post(f"/v2/publish/https://example.com/{number}")
            ids.append(answer.json()["messageId"])
            await qstash.settle()
        await qstash.run_until_idle()
        assert qstash.faults.struck(fault.id) == 1
        assert [one.headers["upstash-message-id"] for one in receiver.got] == ids
        # The attempt that was cut off is made again, and still the first.
        assert await _states(qstash, ids[0]) == ["CREATED", "ACTIVE", "ACTIVE", "DELIVERED"]
        assert [one.retried for one in receiver.got] == [0] * 5


async def test_an_attempt_that_a_crash_forgot_before_it_was_durable_is_made_once(tmp_path) -> None:
    async with Harness(db=str(tmp_path / "q.db")) as qstash:
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount("https://example.com", receiver)
        publishing = asyncio.create_task(qstash.client.post("/v2/publish/https://example.com/x"))
        while not qstash.runtime.broker.state.pending.active:
            await asyncio.sleep(0)
        await qstash.crash()
        await publishing
        await qstash.run_until_idle()
        assert len(receiver.got) == 1


async def test_deliveries_that_crash_at_the_same_moment_crash_once(qstash, receiver) -> None:
    unheard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context["message"]))
    qstash.faults.add("crash", count=3)
    for number in range(3):
        await qstash.client.post(f"/v2/publish/https://example.com/{number}", headers={"Upstash-Delay": "1m"})
    await qstash.run_until_idle()
    gc.collect()
    assert len(qstash.runtime.crashed_at) == 1
    assert len(receiver.got) == 3
    assert unheard == []


async def test_a_crash_keeps_queues_schedules_and_limits(qstash, receiver) -> None:
    await qstash.client.post("/v2/queues", json={"queueName": "q", "parallelism": 1})
    for number in range(3):
        await qstash.client.post(
            f"/v2/enqueue/q/https://example.com/{number}", headers={"Upstash-Delay": "1m"}
        )
    await qstash.client.post(
        "/v2/schedules/https://example.com/scheduled", headers={"Upstash-Cron": "* * * * *"}
    )
    await qstash.crash()
    await qstash.advance("3m")
    paths = [one.url.rsplit("/", 1)[1] for one in receiver.got]
    assert [path for path in paths if path != "scheduled"] == ["0", "1", "2"]
    assert paths.count("scheduled") == 3


@pytest.mark.parametrize(
    ("conditions", "struck"),
    [
        ({"destination": "https://example.com/a"}, ["a", "a/b", "a?q=1"]),
        ({"destination": "https://example.com/*b"}, ["a/b", "ab"]),
        ({"label": "one"}, ["a"]),
        ({"header": "X-Kind"}, ["a", "ab"]),
        ({"header": {"x-kind": "special"}}, ["a"]),
        ({"body": "b"}, ["a/b", "ab"]),
        ({"queue": "q"}, ["q"]),
        ({"destination": "https://example.com/a", "header": "X-Kind"}, ["a"]),
    ],
)
async def test_a_fault_strikes_what_it_matches(qstash, receiver, publish, conditions, struck) -> None:
    qstash.faults.add("refuse", **conditions)
    await publish("a", Upstash_Label="zero, one", Upstash_Forward_X_Kind="special", Upstash_Retries="0")
    await publish("ab", Upstash_Forward_X_Kind="plain", Upstash_Retries="0")
    for path in ("a/b", "a?q=1"):
        await publish(path, Upstash_Retries="0")
    await qstash.client.post("/v2/enqueue/q/https://example.com/q", headers={"Upstash-Retries": "0"})
    await qstash.run_until_idle()
    dead = (await qstash.client.get("/v2/dlq")).json()["messages"]
    assert sorted(one["url"].removeprefix("https://example.com/") for one in dead) == sorted(struck)


async def test_a_json_body_matches_by_its_members(qstash, receiver) -> None:
    qstash.faults.add("refuse", body={"user": {"id": 7}, "tags": ["a"]})
    bodies = [
        {"user": {"id": 7, "name": "x"}, "tags": ["a"], "more": 1},
        {"user": {"id": 8}, "tags": ["a"]},
        {"user": {"id": 7}, "tags": ["a", "b"]},
        [1],
    ]
    for body in bodies:
        await qstash.client.post(
            "/v2/publish/https://example.com", json=body, headers={"Upstash-Retries": "0"}
        )
    await qstash.run_until_idle()
    assert [json.loads(one.body) for one in receiver.got] == bodies[1:]


async def test_skip_and_count_choose_which_are_struck(qstash, receiver, publish) -> None:
    qstash.faults.add("refuse", skip=1, count=2)
    for path in "abcde":
        await publish(path, Upstash_Retries="0")
    await qstash.run_until_idle()
    assert [one.body for one in receiver.got] == [b"a", b"d", b"e"]


async def test_a_probability_strikes_the_same_ones_in_every_run() -> None:
    runs = []
    for seed in (1, 1, 2):
        async with Harness(seed=seed) as qstash:
            receiver = Receiver(now=lambda: 0)
            qstash.mount("https://example.com", receiver)
            qstash.faults.add("refuse", probability=0.5)
            for number in range(40):
                await qstash.client.post(
                    f"/v2/publish/https://example.com/{number}", headers={"Upstash-Retries": "0"}
                )
            await qstash.run_until_idle()
            runs.append([one.url for one in receiver.got])
    assert runs[0] == runs[1] != runs[2]
    assert 10 <= len(runs[0]) <= 30


async def test_the_first_fault_that_strikes_is_the_one(qstash, receiver, publish) -> None:
    qstash.faults.add("answer", status=501, count=1)
    qstash.faults.add("answer", status=502)
    first, second = await publish(Upstash_Retries="0"), await publish(Upstash_Retries="0")
    await qstash.run_until_idle()
    dead = {
        one["messageId"]: one["responseStatus"]
        for one in (await qstash.client.get("/v2/dlq")).json()["messages"]
    }
    assert dead == {first: 501, second: 502}
