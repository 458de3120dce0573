"""Publishing to a URL (contract 2.1 and 3)."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from emulator.testing import Harness


async def _publish(
    qstash: Harness, target: str, body: bytes = b"", **headers: str
) -> tuple[httpx.Response, dict[str, object]]:
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    response = await qstash.client.post(f"/v2/publish/{target}", content=body, headers=lines)
    return response, response.json()


async def test_a_message_is_readable_as_soon_as_it_is_accepted(qstash, receiver) -> None:
    response, answer = await _publish(
        qstash,
        "https://example.com/a//b%2Fc?x=1&upstash-retries=5",
        b'{"a":1}',
        Upstash_Delay="10s",
        Upstash_Label="first,second",
        Upstash_Forward_Test_Header="test-value",
        Content_Type="application/json",
        Upstash_Callback="https://callback.com/?foo=bar",
    )
    assert response.status_code == 201
    assert list(answer) == ["messageId"]
    message = (await qstash.client.get(f"/v2/messages/{answer['messageId']}")).json()
    assert message == {
        "messageId": answer["messageId"],
        "url": "https://example.com/a//b%2Fc?x=1",
        "method": "POST",
        "maxRetries": 5,
        "createdAt": qstash.now,
        "notBefore": qstash.now + 10_000,
        "header": {"Content-Type": ["application/json"], "Test-Header": ["test-value"]},
        "callback": "https://callback.com/?foo=bar",
        "callerIP": "127.0.0.1",
        "label": "first",
        "labels": ["first", "second"],
        "body": '{"a":1}',
    }


async def test_body_bytes_arrive_untouched(qstash, receiver) -> None:
    body = bytes(range(256))
    _, answer = await _publish(qstash, "https://example.com/", body, Content_Type="application/octet-stream")
    await qstash.settle()
    [delivery] = receiver.got
    assert delivery.body == body
    assert delivery.headers["content-type"] == "application/octet-stream"
    message = (await qstash.client.get(f"/v2/messages/{answer['messageId']}")).json()
    assert "body" not in message
    assert message["bodyBase64"].startswith("AAEC")


async def test_a_query_parameter_authenticates_and_never_reaches_the_destination(qstash, receiver) -> None:
    del qstash.client.headers["Authorization"]
    response, _ = await _publish(qstash, f"https://example.com/?qstash_token={qstash.token}&x=1")
    assert response.status_code == 201
    await qstash.settle()
    assert receiver.got[0].url == "https://example.com/?x=1"


async def test_not_before_beats_delay_and_the_past_means_now(qstash, receiver) -> None:
    at_seconds = qstash.now // 1000 + 60
    _, later = await _publish(
        qstash, "https://example.com/later", Upstash_Delay="10s", Upstash_Not_Before=str(at_seconds)
    )
    await _publish(qstash, "https://example.com/now", Upstash_Not_Before="1")
    await qstash.settle()
    assert [one.url for one in receiver.got] == ["https://example.com/now"]
    await qstash.advance("59s")
    assert len(receiver.got) == 1
    await qstash.advance("1s")
    assert receiver.got[1].headers["upstash-message-id"] == later["messageId"]


async def test_an_id_accepted_within_ten_minutes_is_the_same_message(qstash, receiver) -> None:
    _, first = await _publish(qstash, "https://example.com/1", Upstash_Deduplication_Id="order-1")
    response, second = await _publish(qstash, "https://example.com/2", Upstash_Deduplication_Id="order-1")
    assert response.status_code == 202
    assert second == {"messageId": first["messageId"], "deduplicated": True}
    await qstash.advance("9m59s")
    response, _ = await _publish(qstash, "https://example.com/3", Upstash_Deduplication_Id="order-1")
    assert response.status_code == 202
    await qstash.advance("1s")
    response, _ = await _publish(qstash, "https://example.com/4", Upstash_Deduplication_Id="order-1")
    assert response.status_code == 201
    await qstash.settle()
    assert [one.url for one in receiver.got] == ["https://example.com/1", "https://example.com/4"]


async def test_content_based_deduplication_looks_at_destination_body_and_headers(qstash, receiver) -> None:
    options = {"Upstash_Content_Based_Deduplication": "true", "Upstash_Forward_A": "1"}

    async def status(target: str, body: bytes, **more: str) -> int:
        return (await _publish(qstash, target, body, **{**options, **more}))[0].status_code

    assert await status("https://example.com/", b"one") == 201
    assert await status("https://example.com/", b"one", Upstash_Delay="5s") == 202
    assert await status("https://example.com/", b"two") == 201
    assert await status("https://example.com/x", b"one") == 201
    assert await status("https://example.com/", b"one", Upstash_Forward_A="2") == 201


async def test_redacted_fields_are_digests_wherever_shown_and_originals_when_delivered(
    qstash, receiver
) -> None:
    receiver.always = (500, {}, b"no")
    _, answer = await _publish(
        qstash,
        "https://example.com/",
        b"secret body",
        Upstash_Redact_Fields="body, header[Authorization]",
        Upstash_Forward_Authorization="secret header",
        Upstash_Forward_Plain="shown",
        Upstash_Retries="0",
    )
    await qstash.settle()
    assert receiver.got[0].body == b"secret body"
    assert receiver.got[0].headers["authorization"] == "secret header"
    shown = [
        (await qstash.client.get(f"/v2/messages/{answer['messageId']}")).json(),
        (await qstash.client.get("/v2/dlq")).json()["messages"][0],
    ]
    for message in shown:
        assert message["body"].startswith("REDACTED:")
        assert message["header"]["Authorization"][0].startswith("REDACTED:")
        assert message["header"]["Plain"] == ["shown"]


async def test_what_is_redacted_is_so_in_every_view_and_payload(qstash, receiver, callbacks) -> None:
    receiver.always = 500
    redacted = {"Upstash-Redact-Fields": "body,header", "Upstash-Forward-Authorization": "secret header"}
    options = {
        **redacted,
        "Upstash-Retries": "0",
        "Upstash-Failure-Callback": "https://callback.com/",
        "Upstash-Failure-Callback-Forward-Authorization": "secret of the callback",
        "Upstash-Failure-Callback-Redact-Fields": "header",
    }
    for content in (b"secret body", b""):
        await qstash.client.post("/v2/publish/https://example.com/", content=content, headers=options)
    await qstash.client.post(
        "/v2/schedules/https://example.com/",
        content=b"secret body",
        headers={**redacted, "Upstash-Cron": "0 0 1 1 *"},
    )
    await qstash.settle()
    shown = [
        (await qstash.client.get(path)).text
        for path in (
            "/v2/logs",
            "/v2/logs?groupBy=messageId",
            "/v2/dlq",
            "/v2/dlq?trimBody=5",
            "/v2/schedules",
        )
    ]
    payloads = [json.loads(one.body) for one in callbacks.got]
    decoded = [base64.b64decode(one.get("sourceBody", "")).decode() for one in payloads]
    digest = f"REDACTED:{hashlib.sha256(b'secret body').hexdigest()}"
    assert sorted(decoded) == ["", digest]
    secret = base64.b64encode(b"secret body").decode()
    for text in (*shown, *(one.body.decode() for one in callbacks.got)):
        assert "secret" not in text
        assert secret not in text
    [whole] = [one for one in json.loads(shown[2])["messages"] if "body" in one]
    [cut] = [one for one in json.loads(shown[3])["messages"] if "body" in one]
    assert (whole["body"], cut["body"]) == (digest, digest[:5])
    assert {one.headers["authorization"] for one in receiver.got} == {"secret header"}
    assert {one.headers["authorization"] for one in callbacks.got} == {"secret of the callback"}


@pytest.mark.parametrize(
    ("target", "headers", "status", "words"),
    [
        ("", {}, 400, "a non-empty destination must be provided"),
        ("ftp://example.com", {}, 400, "invalid scheme"),
        ("https%3A%2F%2Fexample.com", {}, 400, "invalid scheme"),
        ("nobody", {}, 404, "topic nobody not found"),
        ("https://example.com", {"Upstash-Delay": "-5s"}, 400, "Upstash-Delay '-5s'"),
        ("https://example.com", {"Upstash-Delay": "later"}, 400, "Upstash-Delay 'later'"),
        ("https://example.com", {"Upstash-Retries": "-1"}, 400, "Upstash-Retries '-1'"),
        ("https://example.com", {"Upstash-Retries": "99999"}, 412, "quota maxRetries exceeded"),
        ("https://example.com", {"Upstash-Retry-Delay": "1000 *"}, 400, "Upstash-Retry-Delay '1000 *'"),
        (
            "https://example.com",
            {"Authorization": "Bearer wrong"},
            401,
            "unable to authenticate: invalid token",
        ),
        ("https://example.com", {"Authorization": "Basic x"}, 401, "unable to authenticate: invalid token"),
    ],
)
async def test_bad_input_is_answered_with_the_header_and_the_value(
    qstash, target: str, headers: dict[str, str], status: int, words: str
) -> None:
    response = await qstash.client.post(f"/v2/publish/{target}", headers=headers)
    assert response.status_code == status
    assert words in response.json()["error"]


async def test_no_token_is_unauthorized(qstash) -> None:
    del qstash.client.headers["Authorization"]
    response, answer = await _publish(qstash, "https://example.com")
    assert response.status_code == 401
    assert answer["error"] == "unable to authenticate: invalid token"
    assert "no token" in str(answer["hint"])


async def test_a_body_over_the_limit_is_refused_before_it_is_read(qstash) -> None:
    response, answer = await _publish(qstash, "https://example.com", b"x" * 10_000_001)
    assert response.status_code == 413
    assert answer["error"] == "quota maxMessageSize exceeded"
    assert "10000001 bytes is over the limit of 10000000 bytes" in str(answer["hint"])


async def test_a_streamed_body_over_the_limit_is_refused_too(qstash) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 1_000_000

    response = await qstash.client.post("/v2/publish/https://example.com", content=endless())
    assert response.status_code == 413


async def test_a_read_only_token_may_look_but_not_publish(qstash) -> None:
    async with qstash.make_client(qstash.runtime.tenant.read_only_token) as client:
        assert (await client.get("/v2/keys")).status_code == 200
        response = await client.post("/v2/publish/https://example.com")
    assert response.status_code == 403
    assert "read-only token" in response.json()["error"]


async def test_the_published_users_never_see_each_other(qstash, receiver) -> None:
    _, answer = await _publish(qstash, "https://example.com", Upstash_Deduplication_Id="same")
    other = qstash.emulator.runtimes[1].tenant
    async with qstash.make_client(other.token) as client:
        assert (await client.get(f"/v2/messages/{answer['messageId']}")).status_code == 404
        response = await client.post(
            "/v2/publish/https://example.com", headers={"Upstash-Deduplication-Id": "same"}
        )
        assert response.status_code == 201
        assert len((await client.get("/v2/events?state=CREATED")).json()["events"]) == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/publish/https://example.com", 405),
        ("POST", "/v2/nothing", 404),
        ("POST", "/v1/publish/x", 404),
    ],
)
async def test_unknown_routes_and_wrong_methods_have_a_json_error(
    qstash, method: str, path: str, status: int
) -> None:
    response = await qstash.client.request(method, path)
    assert response.status_code == status
    assert response.json()["error"]


async def test_strict_refuses_what_the_real_service_would_ignore() -> None:
    async with Harness(strict=True) as qstash:
        response, answer = await _publish(qstash, "https://example.com", Upstash_Retrys="3")
    assert response.status_code == 400
    assert "did you mean Upstash-Retries?" in str(answer["error"])


async def test_two_slashes_in_front_are_one(qstash, receiver) -> None:
    response = await qstash.client.post("http://localhost:8080//v2/Publish/https://example.com/x")
    assert response.status_code == 201


async def test_a_destination_may_have_an_options_name_among_its_values(qstash, receiver) -> None:
    response, _ = await _publish(qstash, "https://example.com/?topic=upstash-cron")
    assert response.status_code == 201
    await qstash.settle()
    assert receiver.got[0].url == "https://example.com/?topic=upstash-cron"


async def test_an_options_name_may_be_percent_encoded(qstash) -> None:
    _, answer = await _publish(qstash, "https://example.com/?upstash%2Dcron=0+9+*+*+*")
    assert list(answer) == ["scheduleId"]


@pytest.mark.parametrize(
    "query", ["upstash-forward-x=a%0d%0aEvil:+1", "upstash-forward-bad+name=1", "upstash-label=a%0ab"]
)
async def test_parameters_that_no_header_could_be_are_refused(qstash, query: str) -> None:
    response, answer = await _publish(qstash, f"https://example.com/?{query}")
    assert response.status_code == 400
    assert query.partition("=")[0].replace("+", " ") in str(answer["error"])


async def test_a_plain_content_type_wins_over_a_forwarded_one(qstash, receiver) -> None:
    forwarded = {"Upstash-Forward-Content-Type": "text/html"}
    await qstash.client.post(
        "/v2/publish/https://example.com/1", headers={"Content-Type": "text/plain", **forwarded}
    )
    await qstash.client.post("/v2/publish/https://example.com/2", headers=forwarded)
    await qstash.settle()
    assert {one.url[-1]: one.headers["content-type"] for one in receiver.got} == {
        "1": "text/plain",
        "2": "text/html",
    }


async def test_a_comma_in_a_filter_reads_as_a_list_only_where_the_whole_matches_nothing(qstash) -> None:
    for url in ("https://a.com/x", "https://b.com/x", "https://c.com/x,https://d.com/x"):
        await qstash.client.post(f"/v2/publish/{url}", headers={"Upstash-Delay": "1h"})

    async def urls(value: str) -> set[str]:
        events = (await qstash.client.get("/v2/logs", params={"url": value})).json()["logs"]
        return {one["url"] for one in events}

    assert await urls("https://a.com/x,https://b.com/x") == {"https://a.com/x", "https://b.com/x"}
    assert await urls("https://c.com/x,https://d.com/x") == {"https://c.com/x,https://d.com/x"}
    deleted = await qstash.client.delete("/v2/messages", params={"url": "https://a.com/x,https://b.com/x"})
    assert deleted.json() == {"cancelled": 0}


async def test_a_comma_in_what_is_deleted_by_is_a_list_of_labels_or_ids_alone(qstash) -> None:
    for queue in ("one", "two"):
        await qstash.client.post("/v2/queues", json={"queueName": queue, "parallelism": 1, "paused": True})
        await qstash.client.post(f"/v2/enqueue/{queue}/https://a.com/x", headers={"Upstash-Label": queue})
    listed = await qstash.client.get("/v2/logs", params={"queueName": "one,two"})
    assert {one["queueName"] for one in listed.json()["logs"]} == {"one", "two"}

    async def cancelled(**query: str) -> int:
        return int((await qstash.client.delete("/v2/messages", params=query)).json()["cancelled"])

    assert await cancelled(queueName="one,two") == 0
    assert await cancelled(queueName="one,two", label="one,two") == 0
    assert await cancelled(label="one,two") == 2
    assert (await qstash.client.delete("/v2/dlq", params={"queueName": "one,two"})).json()["deleted"] == 0
