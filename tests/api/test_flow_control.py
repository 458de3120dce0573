"""Flow-control keys as the API shows and changes them (contract 2.10 and 5.2)."""

import asyncio

import pytest

from emulator.testing import Harness


async def _publish(qstash: Harness, key: str, value: str, count: int = 1, **headers: str) -> None:
    lines = {"Upstash-Flow-Control-Key": key, "Upstash-Flow-Control-Value": value}
    lines |= {name.replace("_", "-"): one for name, one in headers.items()}
    for _ in range(count):
        response = await qstash.client.post("/v2/publish/https://example.com/x", headers=lines)
        assert response.status_code == 201, response.text


async def test_keys_are_listed_in_order_and_searched_by_a_part(qstash) -> None:
    for key in ("user/b", "User-a", "other"):
        await _publish(qstash, key, "rate=1", Upstash_Delay="1h")
    listed = (await qstash.client.get("/v2/flowControl/")).json()
    assert [one["flowControlKey"] for one in listed] == ["User-a", "other", "user/b"]
    found = (await qstash.client.get("/v2/flowControl", params={"search": "user"})).json()
    assert [one["flowControlKey"] for one in found] == ["user/b"]


@pytest.mark.parametrize("path", ["a/b", "a%2Fb"])
async def test_a_key_may_have_slashes_in_it(qstash, path: str) -> None:
    await _publish(qstash, "a/b", "rate=1", Upstash_Delay="1h")
    assert (await qstash.client.get(f"/v2/flowControl/{path}")).json()["flowControlKey"] == "a/b"
    for step in ("pause", "resume", "resetRate", "reset"):
        assert (await qstash.client.post(f"/v2/flowControl/{path}/{step}")).status_code == 200


async def test_what_waits_and_what_is_under_way_is_counted(qstash, receiver) -> None:
    receiver.gate = asyncio.Event()
    await _publish(qstash, "k", "parallelism=2, rate=10, period=1m", 5)
    while receiver.in_flight < 2:
        await asyncio.sleep(0)
    key = (await qstash.client.get("/v2/flowControl/k")).json()
    assert key == {
        "flowControlKey": "k",
        "waitListSize": 3,
        "parallelismMax": 2,
        "parallelismCount": 2,
        "rateMax": 10,
        "rateCount": 2,
        "ratePeriod": 60,
        "ratePeriodStart": qstash.now // 1000,
        "isPaused": False,
        "isPinnedParallelism": False,
        "isPinnedRate": False,
    }
    receiver.gate.set()
    await qstash.settle()


@pytest.mark.parametrize("step", ["resetRate", "reset"])
async def test_a_reset_opens_a_new_period_at_once(qstash, receiver, step: str) -> None:
    await _publish(qstash, "k", "rate=2, period=1h", 3)
    await qstash.settle()
    assert len(receiver.got) == 2
    assert (await qstash.client.post(f"/v2/flowControl/k/{step}")).status_code == 200
    await qstash.settle()
    assert len(receiver.got) == 3
    assert (await qstash.client.get("/v2/flowControl/k")).json()["rateCount"] == 1


async def test_pause_and_pin_make_a_key_and_the_rest_does_nothing_to_an_unknown_one(qstash) -> None:
    for step in ("resume", "unpin?rate=true", "resetRate", "reset"):
        assert (await qstash.client.post(f"/v2/flowControl/none/{step}")).status_code == 200
    assert (await qstash.client.get("/v2/flowControl/none")).status_code == 404
    await qstash.client.post("/v2/flowControl/paused/pause")
    await qstash.client.post("/v2/flowControl/pinned/pin?parallelism=3")
    assert (await qstash.client.get("/v2/flowControl/paused")).json()["isPaused"] is True
    assert (await qstash.client.get("/v2/flowControl/pinned")).json()["parallelismMax"] == 3


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("k/pin", "nothing to pin"), ("k/pin?rate=0", "invalid rate '0'"), ("k/pin?period=5", "nothing to pin"),
        ("k/pin?parallelism=x", "invalid parallelism 'x'"), ("k/pin?rate=1&period=604801", "invalid period '604801'"),
        ("/pause", "a non-empty flow control key"),
    ],
)  # fmt: skip
async def test_what_cannot_be_meant_is_refused(qstash, path: str, words: str) -> None:
    response = await qstash.client.post(f"/v2/flowControl/{path}")
    assert response.status_code == 400
    assert words in response.json()["error"]


async def test_global_parallelism_counts_what_is_under_way(qstash, receiver) -> None:
    receiver.gate = asyncio.Event()
    await _publish(qstash, "k", "parallelism=3", 5)
    while receiver.in_flight < 3:
        await asyncio.sleep(0)
    answer = (await qstash.client.get("/v2/globalParallelism")).json()
    assert (answer["parallelismCount"], answer["parallelismMax"] >= 3) == (3, True)
    receiver.gate.set()
    await qstash.settle()


async def test_a_period_alone_pins_no_rate(qstash, receiver) -> None:
    await _publish(qstash, "k", "rate=2", 1)
    await qstash.client.post("/v2/flowControl/k/pin", params={"parallelism": "3", "period": "5"})
    key = (await qstash.client.get("/v2/flowControl/k")).json()
    assert (key["isPinnedParallelism"], key["isPinnedRate"], key["ratePeriod"]) == (True, False, 1)
