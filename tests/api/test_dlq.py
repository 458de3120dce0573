"""Publishing dead letters anew (contract 2.8 and 5.6)."""

from typing import Any

import pytest

from emulator.testing import Harness


async def _entry(qstash: Harness, target: str = "https://example.com/hook", **headers: str) -> dict[str, Any]:
    lines = {"Upstash-Retries": "0"} | {name.replace("_", "-"): one for name, one in headers.items()}
    answer = (await qstash.client.post(f"/v2/publish/{target}", content=b"body", headers=lines)).json()
    await qstash.settle()
    params = {"messageId": answer["messageId"]}
    [entry] = (await qstash.client.get("/v2/dlq", params=params)).json()["messages"]
    found: dict[str, Any] = entry
    return found


async def test_a_retry_keeps_everything_but_id_and_delay(qstash, receiver, callbacks) -> None:
    receiver.answers = [500]
    entry = await _entry(
        qstash,
        Upstash_Method="PUT",
        Upstash_Forward_Mine="secret",
        Upstash_Redact_Fields="body,header",
        Upstash_Label="a,b",
        Upstash_Timeout="30s",
        Upstash_Retry_Delay="1000",
        Upstash_Callback="https://callback.com/done",
        Upstash_Flow_Control_Key="k",
        Upstash_Flow_Control_Value="rate=5",
        Upstash_Deduplication_Id="once",
    )
    response = await qstash.client.post(f"/v2/dlq/retry/{entry['dlqId']}")
    assert response.status_code == 201
    again = (await qstash.client.get(f"/v2/messages/{response.json()['messageId']}")).json()
    await qstash.settle()
    assert (receiver.got[1].method, receiver.got[1].body, receiver.got[1].headers["mine"]) == (
        "PUT",
        b"body",
        "secret",
    )
    changed = {"messageId", "createdAt", "notBefore"}
    assert {name: again[name] for name in again.keys() - changed} == {
        name: entry[name] for name in again.keys() - changed
    }
    assert (await qstash.client.get("/v2/dlq")).json() == {"messages": []}


async def test_options_of_the_retry_override_those_kept(qstash, receiver) -> None:
    receiver.answers = [500]
    entry = await _entry(qstash, Upstash_Label="old")
    response = await qstash.client.post(
        f"/v2/dlq/retry/{entry['dlqId']}",
        headers={"Upstash-Retries": "4", "Upstash-Label": "new", "Upstash-Delay": "1h"},
    )
    again = (await qstash.client.get(f"/v2/messages/{response.json()['messageId']}")).json()
    assert (again["maxRetries"], again["label"]) == (4, "new")
    assert again["notBefore"] == qstash.now + 3_600_000


async def test_of_ids_that_are_given_all_are_retried_or_none(qstash, receiver) -> None:
    receiver.always = 500
    entry = await _entry(qstash)
    response = await qstash.client.post("/v2/dlq/retry", json={"dlqIds": [entry["dlqId"], "1-1"]})
    assert response.status_code == 404
    assert "1-1" in response.json()["error"]
    assert (await qstash.client.get(f"/v2/dlq/{entry['dlqId']}")).status_code == 200


async def test_what_fails_again_is_a_new_entry(qstash, receiver) -> None:
    receiver.always = 500
    entry = await _entry(qstash)
    await qstash.client.post(f"/v2/dlq/retry/{entry['dlqId']}")
    await qstash.settle()
    [again] = (await qstash.client.get("/v2/dlq")).json()["messages"]
    assert again["dlqId"] != entry["dlqId"]
    assert (await qstash.client.get(f"/v2/dlq/{entry['dlqId']}")).status_code == 404


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({"label": "a"}, 1), ({"label": "a,b"}, 2), ({"label": ["a", "b"]}, 2), ({"url": "https://example.com/one"}, 1),
        ({"url": "https://example.com/one", "label": "b"}, 0), ({"responseStatus": "500"}, 1),
        ({"responseStatus": "500,404"}, 2), ({"callerIp": "127.0.0.1"}, 2), ({"callerIP": "127.0.0.1"}, 2),
        ({"fromDate": "1"}, 2), ({"toDate": "1"}, 0), ({"queueName": "q"}, 1), ({"flowControlKey": "k,l"}, 1),
        ({"api": "llm"}, 2), ({"count": "1"}, 1), ({"source": "x"}, 2),
    ],
)  # fmt: skip
async def test_every_filter_of_the_list(qstash, receiver, wanted: dict[str, Any], count: int) -> None:
    receiver.answers = [500, 404]
    await _entry(qstash, "https://example.com/one", Upstash_Label="a", Upstash_Queue_Name="q")
    await _entry(
        qstash,
        "https://example.com/two",
        Upstash_Label="b",
        Upstash_Flow_Control_Key="k,l",
        Upstash_Flow_Control_Value="rate=1",
    )
    response = await qstash.client.get("/v2/dlq", params=wanted)
    assert len(response.json()["messages"]) == count


@pytest.mark.parametrize("wanted", [{"host": "example.com"}, {"path": "/"}, {"labeel": "x"}])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v2/dlq"), ("DELETE", "/v2/dlq"), ("POST", "/v2/dlq/retry")]
)
async def test_filters_that_it_does_not_have_are_refused(qstash, wanted, method: str, path: str) -> None:
    response = await qstash.client.request(method, path, params=wanted)
    assert response.status_code == 400
    assert "unknown parameter" in response.json()["error"]


@pytest.mark.parametrize("body", ["[]", "17", "{", '{"dlqIds": [true]}', '{"what": 1}'])
@pytest.mark.parametrize("path", ["/v2/dlq", "/v2/messages"])
async def test_a_body_that_is_no_such_object_deletes_nothing(qstash, receiver, body: str, path: str) -> None:
    receiver.always = 500
    await _entry(qstash)
    response = await qstash.client.request("DELETE", path, content=body)
    assert response.status_code == 400
    assert len((await qstash.client.get("/v2/dlq")).json()["messages"]) == 1


async def test_a_retry_may_say_when_and_change_single_headers(qstash, receiver) -> None:
    receiver.answers = [500]
    entry = await _entry(
        qstash, Content_Type="text/plain", Upstash_Forward_Kept="old", Upstash_Forward_Changed="old"
    )
    at_seconds = qstash.now // 1000 + 60
    await qstash.client.post(
        f"/v2/dlq/retry/{entry['dlqId']}",
        headers={
            "Content-Type": "application/json",
            "Upstash-Not-Before": str(at_seconds),
            "Upstash-Forward-Changed": "new",
        },
    )
    await qstash.advance("59s")
    assert len(receiver.got) == 1
    await qstash.advance("1s")
    sent = receiver.got[1].headers
    assert (sent["content-type"], sent["kept"], sent["changed"]) == ("text/plain", "old", "new")


@pytest.mark.parametrize("path", ["/v2/dlq", "/v2/messages"])
@pytest.mark.parametrize(
    "request_",
    [{"params": {"label": ""}}, {"json": {"label": []}}, {"json": {"url": " "}}, {"params": {"label": ","}}],
)
async def test_a_filter_that_is_empty_does_not_mean_everything(qstash, receiver, request_, path: str) -> None:
    receiver.always = 500
    await _entry(qstash)
    await qstash.client.post("/v2/publish/https://example.com/later", headers={"Upstash-Delay": "1h"})
    response = await qstash.client.request("DELETE", path, **request_)
    assert response.status_code == 400
    assert "has no value" in response.json()["error"]


@pytest.mark.parametrize(
    ("path", "name", "count"),
    [("/v2/dlq", "dlqIds", 10_001), ("/v2/dlq", "label", 501), ("/v2/messages", "messageIds", 10_001)],
)
async def test_more_values_than_a_database_takes_are_refused(
    qstash, path: str, name: str, count: int
) -> None:
    response = await qstash.client.request("DELETE", path, json={name: [f"x{i}" for i in range(count)]})
    assert response.status_code == 400
    assert f"invalid {name}: {count} values" in response.json()["error"]
