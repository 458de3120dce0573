"""Many messages in one call (contract 2.3 and 5.7)."""

import asyncio
import json
from typing import Any

import pytest

from emulator.testing import Harness, Receiver


async def test_a_bad_item_among_good_ones_stops_nobody(qstash, receiver) -> None:
    await qstash.client.post(
        "/v2/topics/group/endpoints", json={"endpoints": [{"url": "https://example.com/g"}]}
    )
    items = [
        {"destination": "https://example.com/1", "body": "one"},
        {"destination": "ftp://example.com"},
        {"destination": "nobody"},
        {"destination": "group", "headers": {"Upstash-Retries": "1"}},
        {"destination": "https://example.com/2", "headers": {"Upstash-Delay": "soon"}},
        {"destination": "https://example.com/3", "headers": {"Upstash-Cron": "* * * * *"}},
        {"destination": "api/email"},
        {"destination": "https://example.com/4", "headers": {"Upstash-Label": ["a", "b"]}, "queue": "q"},
    ]
    response = await qstash.client.post("/v2/batch", json=items)
    assert response.status_code == 200
    answers = response.json()
    errors = {index: answer["error"] for index, answer in enumerate(answers) if "error" in answer}
    assert list(errors) == [1, 2, 4, 5, 6]
    assert "invalid scheme" in errors[1]
    assert errors[2] == "topic nobody not found"
    assert "Upstash-Delay 'soon'" in errors[4]
    assert "Upstash-Cron" in errors[5]
    assert [one["url"] for one in answers[3]] == ["https://example.com/g"]
    await qstash.settle()
    assert [one.url for one in receiver.got] == [f"https://example.com/{path}" for path in ("1", "g", "4")]
    message = (await qstash.client.get(f"/v2/messages/{answers[7]['messageId']}")).json()
    assert (message["labels"], message["queueName"]) == (["a", "b"], "q")


@pytest.mark.parametrize(
    "body", [b"{}", b"null", b"[{}]", b'[{"destination": ""}]', b"[1]", b'[{"destination": null}]']
)
async def test_what_has_no_destination_is_refused_as_a_whole(qstash, receiver, body: bytes) -> None:
    good = b'[{"destination": "https://example.com"}, ' + body[1:] if body.startswith(b"[") else body
    for content in (body, good):
        response = await qstash.client.post("/v2/batch", content=content)
        assert response.status_code == 400
        assert "destination" in response.json()["error"]
    await qstash.settle()
    assert receiver.got == []


async def test_the_second_of_two_equal_items_is_the_duplicate(qstash) -> None:
    item = {"destination": "https://example.com", "headers": {"Upstash-Deduplication-Id": "x"}}
    first, second = (await qstash.client.post("/v2/batch", json=[item, item])).json()
    assert second == {"messageId": first["messageId"], "deduplicated": True}


@pytest.mark.parametrize("filler", [1, 100_000], ids=["read in one go", "read in slices"])
@pytest.mark.parametrize("path", ["/v2/batch", "/v2/batch/trigger"])
async def test_a_batch_of_more_messages_than_the_setting_allows_is_refused_whole(
    path: str, filler: int
) -> None:
    item = {"destination": "https://example.com", "workflowUrl": "https://example.com", "body": "x" * filler}
    async with Harness(max_batch_items=3) as qstash:
        refused = await qstash.client.post(path, json=[item] * 4)
        assert refused.status_code == 400
        assert "more than 3 items, which is the limit" in refused.json()["error"]
        assert (await qstash.client.get("/v2/logs")).json()["events"] == []


async def test_a_long_batch_that_is_refused_lets_others_come_in_between() -> None:
    item = b'{"destination": "https://example.com", "body": "0123456789"}'
    body = b"[" + b",".join([item] * 6_000) + b"]"
    async with Harness(max_batch_items=5_000) as qstash:
        refused = asyncio.ensure_future(qstash.client.post("/v2/batch", content=body))
        answered = 0
        while not refused.done():
            await asyncio.sleep(0)
            assert (await qstash.client.get("/v2/keys")).status_code == 200
            answered += 1
        assert refused.result().status_code == 400
        assert "more than 5000 items" in refused.result().json()["error"]
        assert answered > 10


_LONG = {
    "one item of many headers": b'[{"destination":"https://example.com","headers":{%s}}]'
    % b",".join(b'"a%d":""' % number for number in range(60_000)),
    "one item of many lists": b'[{"destination":"https://example.com","body":[%s]}]'
    % b",".join([b"[]"] * 200_000),
    "many items of many headers": b"[%s]"
    % b",".join(
        [b'{"destination":"a","headers":{%s}}' % b",".join(b'"%d":""' % one for one in range(300))] * 500
    ),
}


@pytest.mark.parametrize("name", _LONG)
async def test_a_batch_of_more_values_than_can_be_kept_is_refused_whole(name: str) -> None:
    """A byte of JSON can cost a hundred bytes of memory, and what is decoded in one go holds up everybody."""
    async with Harness(max_batch_items=5_000) as qstash:
        refused = await qstash.client.post("/v2/batch", content=_LONG[name])
        assert refused.status_code == 400, refused.text[:200]
        assert "values, which is the limit" in refused.json()["error"]


@pytest.mark.parametrize(
    "body",
    [
        'a, [{"' * 60_000,
        json.dumps([{"a": [1, 2, {}]}] * 20_000),
        "\u2028\U0001f600" * 60_000,
        "\\" * 300_001,
    ],
)
async def test_a_long_text_is_one_value_whatever_stands_in_it(body: str) -> None:
    async with Harness(max_batch_items=100) as qstash:
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount("https://example.com", receiver)
        items = [{"destination": "https://example.com", "body": text} for text in (body, "short", body)]
        answer = await qstash.client.post("/v2/batch", json=items)
        assert answer.status_code == 200, answer.text[:200]
        await qstash.settle()
        assert sorted(one.body for one in receiver.got) == sorted(
            text.encode() for text in (body, "short", body)
        )


@pytest.mark.parametrize("cut", [b"", b",", b",]", b"]]", b"]1", b'"', b"[", b",1", b",12345"])
async def test_a_long_batch_that_is_cut_is_no_json(qstash, cut: bytes) -> None:
    content = b"[" + b",".join([b'{"destination":"https://example.com"}'] * 8_000) + cut
    refused = await qstash.client.post("/v2/batch", content=content)
    assert refused.status_code == 400
    assert "not JSON" in refused.json()["error"]


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize("path", ["/v2/batch", "/v2/queues", "/v2/topics/g/endpoints"])
async def test_what_is_not_json_is_refused_whatever_it_is_called(qstash, kind: str, path: str) -> None:
    response = await qstash.client.post(path, content=b"<xml/>", headers={"Content-Type": kind})
    assert response.status_code == 400
    assert "not JSON" in response.json()["error"]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"headers": {"Upstash-Forward-Bad Name": "x"}}, "invalid header name"),
        ({"headers": {"Upstash-Forward-X\r\nEvil": "x"}}, "invalid header name"),
        ({"headers": {"Upstash-Callback-Forward-Ü": "x"}}, "invalid header name"),
        (
            {"destination": "https://example.com/?upstash-cron=*+*+*+*+*"},
            "Upstash-Cron is not accepted in a batch",
        ),
    ],
)
async def test_what_no_delivery_could_carry_is_refused_item_by_item(qstash, item, words: str) -> None:
    response = await qstash.client.post("/v2/batch", json=[{"destination": "https://example.com"} | item])
    [answer] = response.json()
    assert words in answer["error"]


async def test_others_are_answered_while_the_items_of_a_batch_with_a_run_are_read(qstash: Harness) -> None:
    items: list[dict[str, Any]] = [{"destination": "http://a"}] * 8_000
    items += [
        {"destination": "http://a", "headers": {"Upstash-Workflow-RunId": "wfr_1"}},
        {"destination": "ftp://a"},
    ]
    ended: list[str] = []

    async def refuse() -> None:
        answer = await qstash.client.post("/v2/batch", content=json.dumps(items, separators=(",", ":")))
        assert (answer.status_code, "invalid scheme" in answer.json()["error"]) == (400, True)
        ended.append("batch")

    async def ask() -> None:
        for _ in range(3):
            assert (await qstash.client.get("/v2/keys")).status_code == 200
            ended.append("keys")

    await asyncio.gather(refuse(), ask())
    assert ended == ["keys", "keys", "keys", "batch"]


TWO_SPELLINGS = {
    "Upstash-Forward-X-Tenant": "acme",
    "upstash-forward-x-tenant": "other",
    "Upstash-Retries": "1",
    "UPSTASH-RETRIES": "5",
}


@pytest.mark.parametrize("has_run", [False, True], ids=["alone", "beside an item of a run"])
async def test_of_two_spellings_of_a_name_the_first_counts_whoever_reads_the_item(
    qstash: Harness, receiver: Receiver, has_run: bool
) -> None:
    items: list[dict[str, Any]] = [{"destination": "https://example.com/1", "headers": TWO_SPELLINGS}]
    if has_run:
        run = {
            "Upstash-Workflow-Init": "true",
            "Upstash-Workflow-RunId": "wfr_1",
            "Upstash-Workflow-Url": "https://example.com/2",
        }
        items.append({"destination": "https://example.com/2", "headers": TWO_SPELLINGS | run})
    answers = (await qstash.client.post("/v2/batch", json=items)).json()
    await qstash.settle()
    assert len(receiver.got) == len(items)
    for delivered, answer in zip(receiver.got, answers, strict=True):
        assert delivered.headers["x-tenant"] == "acme"
        message = (await qstash.client.get(f"/v2/messages/{answer['messageId']}")).json()
        assert message["maxRetries"] == 1
