"""A plan's quotas are applied once a plan is asked for (contract 1.10); the answers name the quota."""

from pathlib import Path
from typing import Any

import pytest

from emulator.testing import Harness, Receiver

_URL = "/v2/publish/https://example.com"


@pytest.mark.parametrize(
    ("method", "path", "request_", "status", "words"),
    [
        ("POST", _URL, {"headers": {"Upstash-Retries": "6"}}, 412, "quota maxRetries exceeded"),
        ("POST", _URL, {"headers": {"Upstash-Delay": "8d"}}, 412, "quota maxDelay exceeded"),
        ("POST", _URL, {"headers": {"Upstash-Not-Before": "1780999999"}}, 412, "quota maxDelay exceeded"),
        ("POST", _URL, {"content": b"x" * 1_048_577}, 413, "quota maxMessageSize exceeded"),
        ("POST", "/v2/queues", {"json": {"queueName": "q", "parallelism": 3}}, 412, "quota"),
    ],
)
async def test_what_is_over_the_free_plan_is_refused(
    method: str, path: str, request_: dict[str, Any], status: int, words: str
) -> None:
    async with Harness(quota="free", now_at=1_780_315_200_000) as qstash:
        response = await qstash.client.request(method, path, **request_)
        kept = (await qstash.client.get("/v2/events")).json()
    assert (response.status_code, kept) == (status, {"events": []})
    assert words in response.json()["error"]


async def test_the_free_plan_has_ten_queues_and_schedules_and_one_group() -> None:
    async with Harness(quota="free") as qstash:
        queues = [await _queue(qstash, f"q{number}") for number in range(11)]
        cron = {"Upstash-Cron": "0 0 1 1 *"}
        schedules = [
            await _post(qstash, "/v2/schedules/https://example.com", headers=cron) for _ in range(11)
        ]
        endpoints = {"endpoints": [{"url": "https://example.com"}]}
        groups = [await _post(qstash, f"/v2/topics/g{n}/endpoints", json=endpoints) for n in range(2)]
        assert (queues, schedules, groups) == ([200] * 10 + [412], [200] * 10 + [412], [200, 412])
        # Over the quota, what exists can still be changed.
        assert await _queue(qstash, "q0") == 200


async def test_texts_of_the_real_service_carry_no_tail() -> None:
    async with Harness(quota="free") as qstash:
        refused = await qstash.client.post(_URL, headers={"Upstash-Retries": "6"})
    assert refused.json() == {"error": "quota maxRetries exceeded", "hint": "Upstash-Retries 6 is over 5"}


async def test_the_free_plan_has_a_thousand_messages_a_day(tmp_path: Path) -> None:
    noon_at = 1_780_315_200_000
    midnight_at = noon_at - noon_at % 86_400_000 + 86_400_000
    item = {"destination": "https://example.com", "headers": {"Upstash-Delay": "6d"}}
    async with Harness(quota="free", now_at=noon_at, db=str(tmp_path / "day.db")) as qstash:
        assert await _post(qstash, "/v2/batch", json=[item] * 999) == 200
    async with Harness(quota="free", now_at=noon_at, db=str(tmp_path / "day.db")) as qstash:
        assert await _post(qstash, _URL) == 201
        refused = await qstash.client.post(_URL)
        whole_batch = await qstash.client.post("/v2/batch", json=[item])
        await qstash.advance("24h")
        assert await _post(qstash, _URL) == 201
    assert (refused.status_code, whole_batch.status_code) == (429, 429)
    assert {name: refused.headers[f"RateLimit-{name}"] for name in ("Limit", "Remaining", "Reset")} == {
        "Limit": "1000",
        "Remaining": "0",
        "Reset": str(midnight_at // 1000),
    }


async def _queue(qstash: Harness, name: str) -> int:
    return await _post(qstash, "/v2/queues", json={"queueName": name, "parallelism": 2})


async def _post(qstash: Harness, path: str, **request: Any) -> int:
    return (await qstash.client.post(path, **request)).status_code


async def test_a_timeout_over_the_plans_maximum_is_cut_to_it() -> None:
    async with Harness(quota="free") as qstash:
        await qstash.client.post(_URL, headers={"Upstash-Timeout": "1h", "Upstash-Delay": "1h"})
        [event] = (await qstash.client.get("/v2/events")).json()["events"]
    assert event["timeout"] == 900_000


async def test_without_a_plan_much_more_is_allowed(qstash) -> None:
    options = {"Upstash-Retries": "100", "Upstash-Delay": "400d"}
    assert (await qstash.client.post(_URL, headers=options)).status_code == 201


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "queueName is missing"), ({"queueName": "a b"}, "invalid queue name 'a b'"),
        ({"queueName": 5}, "queueName 5"), ({"queueName": "q", "parallelism": 0}, "parallelism 0"),
        ({"queueName": "q", "parallelism": True}, "parallelism true"),
        ({"queueName": "q", "paused": "yes"}, "paused \"yes\""),
        ({"queueName": "q", "paralelism": 2}, "unknown key 'paralelism'; accepted: queueName, parallelism, paused"),
    ],
)  # fmt: skip
async def test_a_queue_that_cannot_be_meant_is_refused_naming_the_key(qstash, fields, words: str) -> None:
    response = await qstash.client.post("/v2/queues", json=fields)
    assert response.status_code == 400
    assert words in response.json()["error"]
    assert (await qstash.client.get("/v2/queues")).json() == []


async def test_a_stricter_plan_takes_nothing_back(tmp_path) -> None:
    """A message that was accepted under another plan is delivered, and its callback too."""
    database = str(tmp_path / "state.db")
    async with Harness(db=database, now_at=1_780_315_200_000) as qstash:
        await qstash.client.post(
            "/v2/publish/https://example.com",
            headers={
                "Upstash-Delay": "10s",
                "Upstash-Retries": "9",
                "Upstash-Callback": "https://example.com/told",
                "Upstash-Callback-Label": "callback",
            },
        )
    async with Harness(db=database, now_at=1_780_315_200_000, quota="payg") as qstash:
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount("https://example.com", receiver)
        await qstash.advance("10s")
        assert [one.url for one in receiver.got] == ["https://example.com/", "https://example.com/told"]


async def test_a_publish_makes_no_queue_too_many() -> None:
    async with Harness(quota="free") as qstash:
        for number in range(10):
            response = await qstash.client.post(f"/v2/enqueue/q{number}/https://example.com")
            assert response.status_code == 201
        refused = await qstash.client.post("/v2/enqueue/q10/https://example.com")
        assert refused.status_code == 412
        assert "quota maxQueues exceeded" in refused.json()["error"]
        assert (await qstash.client.post("/v2/enqueue/q3/https://example.com")).status_code == 201
        assert len((await qstash.client.get("/v2/queues")).json()) == 10
