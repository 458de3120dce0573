"""URL groups (contract 2.7 and 5.3)."""

import pytest

from emulator.testing import Harness


async def _add(qstash: Harness, *endpoints: dict[str, str]) -> None:
    response = await qstash.client.post("/v2/topics/g/endpoints", json={"endpoints": list(endpoints)})
    assert response.status_code == 200, response.text


async def test_a_message_for_each_endpoint_in_their_order(qstash, receiver, callbacks) -> None:
    await _add(
        qstash, {"url": "https://example.com/a", "name": "first one"}, {"url": "https://callback.com/b"}
    )
    response = await qstash.client.post("/v2/publish/g?x=1", content=b"body")
    answer = response.json()
    assert [one["url"] for one in answer] == ["https://example.com/a?x=1", "https://callback.com/b?x=1"]
    await qstash.settle()
    assert (receiver.got[0].body, callbacks.got[0].body) == (b"body", b"body")
    assert receiver.got[0].headers["upstash-topic-name"] == "g"
    message = (await qstash.client.get(f"/v2/messages/{answer[0]['messageId']}")).json()
    assert (message["topicName"], message["endpointName"]) == ("g", "first one")


async def test_endpoints_are_known_by_name_and_by_url(qstash) -> None:
    await _add(qstash, {"url": "https://a.com", "name": "a"}, {"url": "https://b.com"})
    await _add(qstash, {"url": "https://c.com", "name": "a"}, {"url": "https://b.com", "name": "b"})
    group = (await qstash.client.get("/v2/topics/g")).json()
    assert group["endpoints"] == [
        {"url": "https://c.com", "name": "a"},
        {"url": "https://b.com", "name": "b"},
    ]


async def test_removing_the_last_endpoint_removes_the_group(qstash) -> None:
    await _add(qstash, {"url": "https://a.com"}, {"url": "https://b.com", "name": "b"})
    body = {"endpoints": [{"url": "https://a.com"}]}
    await qstash.client.request("DELETE", "/v2/topics/g/endpoints", json=body)
    assert len((await qstash.client.get("/v2/topics/g")).json()["endpoints"]) == 1
    await qstash.client.request("DELETE", "/v2/topics/g/endpoints", json={"endpoints": [{"name": "b"}]})
    assert (await qstash.client.get("/v2/topics/g")).status_code == 404
    assert (await qstash.client.delete("/v2/topics/g")).status_code == 200


async def test_a_groups_default_options_apply_where_the_request_gives_none(qstash) -> None:
    await _add(qstash, {"url": "https://a.com"})
    headers = {"Upstash-Retries": "1", "Upstash-Delay": ["1h"], "Upstash-Forward-Mine": "group"}
    assert (await qstash.client.patch("/v2/topics/g", json={"headers": headers})).status_code == 200
    response = await qstash.client.post("/v2/publish/g", headers={"Upstash-Retries": "2"})
    message = (await qstash.client.get(f"/v2/messages/{response.json()[0]['messageId']}")).json()
    assert (message["maxRetries"], message["notBefore"]) == (2, qstash.now + 3_600_000)
    assert message["header"] == {"Mine": ["group"]}


async def test_a_group_can_have_all_headers_forwarded(qstash, receiver) -> None:
    await _add(qstash, {"url": "https://example.com/a"})
    headers = {"Upstash-Header-Forward": ["true"], "Upstash-Method": "PUT"}
    assert (await qstash.client.patch("/v2/topics/g", json={"headers": headers})).status_code == 200
    assert (await qstash.client.get("/v2/topics/g")).json()["headers"] == {
        "Upstash-Header-Forward": ["true"],
        "Upstash-Method": ["PUT"],
    }
    await qstash.client.post("/v2/publish/g", headers={"X-Github-Event": "push"})
    await qstash.settle()
    assert (receiver.got[0].method, receiver.got[0].headers["x-github-event"]) == ("PUT", "push")


async def test_default_options_are_checked_when_they_are_given(qstash) -> None:
    await _add(qstash, {"url": "https://example.com/a"})
    for headers, words in (
        ({"Upstash-Retries": "-1"}, "Upstash-Retries '-1'"),
        ({"Upstash-Retries": 3}, "headers.Upstash-Retries 3"),
        ([], "headers []: expected a JSON object"),
    ):
        response = await qstash.client.patch("/v2/topics/g", json={"headers": headers})
        assert response.status_code == 400
        assert words in response.json()["error"]
    assert (await qstash.client.patch("/v2/topics/none", json={"headers": {}})).status_code == 404


async def test_one_deduplication_id_is_one_message_for_each_endpoint(qstash) -> None:
    await _add(qstash, {"url": "https://a.com"}, {"url": "https://b.com"})
    headers = {"Upstash-Deduplication-Id": "x", "Upstash-Delay": "1h"}
    first = await qstash.client.post("/v2/publish/g", headers=headers)
    again = await qstash.client.post("/v2/publish/g", headers=headers)
    assert (first.status_code, again.status_code) == (201, 202)
    assert [one["messageId"] for one in again.json()] == [one["messageId"] for one in first.json()]
    await _add(qstash, {"url": "https://c.com"})
    grown = await qstash.client.post("/v2/publish/g", headers=headers)
    assert grown.status_code == 201
    assert [one.get("deduplicated", False) for one in grown.json()] == [True, True, False]


async def test_bad_endpoints_are_refused(qstash) -> None:
    for endpoints in ("[]", "[{}]", '[{"url": "a.com"}]', '[{"x": 1}]', '"all"', "null"):
        body = f'{{"endpoints": {endpoints}}}'
        response = await qstash.client.post("/v2/topics/g/endpoints", content=body)
        assert response.status_code == 400, endpoints
    assert (await qstash.client.post("/v2/topics/g", content=b"{")).status_code == 405


async def test_the_name_says_which_endpoint_is_meant_where_name_and_url_disagree(qstash) -> None:
    path = "/v2/topics/g/endpoints"
    first, second = {"url": "https://a.com", "name": "a"}, {"url": "https://b.com", "name": "b"}
    await qstash.client.post(path, json={"endpoints": [first, second]})
    await qstash.client.post(path, json={"endpoints": [{"url": "https://a.com", "name": "b"}]})
    group = (await qstash.client.get("/v2/topics/g")).json()
    assert group["endpoints"] == [first, {"url": "https://a.com", "name": "b"}]


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Upstash-Forward-X": "a\r\nEvil: 1"}, "on one line"),
        ({"Upstash-Forward-Bad Name": "a"}, "invalid header name"),
        ({"Upstash-Cron": "* * * * *"}, "Upstash-Cron is not accepted"),
    ],
)
async def test_defaults_that_no_message_could_have_are_refused(qstash, headers, words: str) -> None:
    await qstash.client.post("/v2/topics/g/endpoints", json={"endpoints": [{"url": "https://a.com"}]})
    response = await qstash.client.patch("/v2/topics/g", json={"headers": headers})
    assert response.status_code == 400
    assert words in response.json()["error"]
