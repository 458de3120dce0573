"""Signing keys, the chat proxy, the region, and how a timeout is shown."""

import pytest

from emulator.testing import Harness, Receiver


@pytest.mark.parametrize("path", ["/v2/keys/rotate", "/v2/rotate"])
async def test_a_rotation_moves_the_next_key_up(qstash, path: str) -> None:
    before = (await qstash.client.get("/v2/keys")).json()
    rotated = (await qstash.client.post(path)).json()
    assert rotated["current"] == before["next"]
    assert rotated["next"] not in before.values()
    assert (await qstash.client.get("/v2/keys")).json() == rotated


async def test_the_chat_proxy_answers_with_a_canned_completion(qstash) -> None:
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    completion = (await qstash.client.post("/llm/v1/chat/completions", json=asked)).json()
    assert (completion["object"], completion["model"]) == ("chat.completion", "m")
    assert completion["choices"][0]["message"]["role"] == "assistant"
    streamed = await qstash.client.post("/llm/v1/chat/completions", json={**asked, "stream": True})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.text.endswith("data: [DONE]\n\n")
    refused = await qstash.client.post("/llm/v1/chat/completions", json={"model": "m"})
    assert refused.status_code == 400


async def test_a_region_is_sent_when_one_is_configured() -> None:
    async with Harness(region="US-EAST-1") as qstash:
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount("https://example.com", receiver)
        await qstash.client.post(
            "/v2/publish/https://example.com", headers={"Upstash-Forward-Upstash-Region": "forged"}
        )
        await qstash.settle()
    assert receiver.got[0].headers["upstash-region"] == "US-EAST-1"


async def test_a_timeout_is_shown_in_the_log_in_milliseconds(qstash, receiver) -> None:
    await qstash.client.post("/v2/publish/https://example.com/x", headers={"Upstash-Timeout": "1m30s"})
    events = (await qstash.client.get("/v2/events?state=CREATED")).json()["events"]
    assert [event["timeout"] for event in events] == [90_000]
