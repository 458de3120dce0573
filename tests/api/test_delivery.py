"""A destination gets the request of contract 4, and its answer decides what follows."""

import base64
import json

from emulator.testing import Harness, Receiver


async def _publish(qstash: Harness, target: str = "https://example.com/hook", **headers: str) -> str:
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    response = await qstash.client.post(f"/v2/publish/{target}", content=b'{"hello":"world"}', headers=lines)
    assert response.status_code == 201, response.text
    message_id: str = response.json()["messageId"]
    return message_id


async def _states(qstash: Harness, message_id: str) -> list[str]:
    response = await qstash.client.get("/v2/logs", params={"messageId": message_id, "order": "earliestFirst"})
    return [entry["state"] for entry in response.json()["logs"]]


async def test_a_delivery_carries_every_header_that_qstash_sends(qstash, receiver) -> None:
    message_id = await _publish(qstash, Content_Type="application/json", Upstash_Forward_X_Mine="1")
    await qstash.settle()
    [delivery] = receiver.got
    assert delivery.method == "POST"
    expected = {
        "host": "example.com",
        "user-agent": "Upstash-QStash",
        "accept-encoding": "gzip",
        "content-type": "application/json",
        "content-length": "17",
        "x-mine": "1",
        "upstash-message-id": message_id,
        "upstash-retried": "0",
        "upstash-retries": "0",
        "upstash-max-retries": "3",
        "upstash-caller-ip": "127.0.0.1",
    }
    signature = delivery.headers.pop("upstash-signature")
    assert signature.count(".") == 2
    assert delivery.headers == expected


async def test_a_delivery_says_the_settings_in_force(qstash, receiver) -> None:
    receiver.answers = [(500, {}, b"")]
    await _publish(
        qstash,
        Upstash_Retries="2",
        Upstash_Retry_Delay="1000 * (1 + retried)",
        Upstash_Flow_Control_Key="tenant",
        Upstash_Flow_Control_Value="parallelism=2, rate=5, period=1m",
        Upstash_Forward_Upstash_Max_Retries="99",
    )
    await qstash.run_until_idle()
    told = [
        {name: value for name, value in one.headers.items() if name.startswith("upstash-")}
        for one in receiver.got
    ]
    assert [(one["upstash-retried"], one["upstash-retries"]) for one in told] == [("0", "0"), ("1", "1")]
    for one in told:
        assert one["upstash-max-retries"] == "2"
        assert one["upstash-retry-delay"] == "1000 * (1 + retried)"
        assert one["upstash-flow-control-key"] == "tenant"
        assert one["upstash-flow-control-value"] == "parallelism=2,rate=5,period=60"


async def test_forwarded_lines_cannot_speak_for_the_server(qstash, receiver) -> None:
    message_id = await _publish(
        qstash,
        Upstash_Forward_Upstash_Message_Id="forged",
        Upstash_Forward_Host="evil.com",
        Upstash_Forward_Connection="close",
        Upstash_Forward_User_Agent="mine",
    )
    await qstash.settle()
    headers = receiver.got[0].headers
    assert headers["upstash-message-id"] == message_id
    assert headers["host"] == "example.com"
    assert "connection" not in headers
    assert headers["user-agent"] == "mine"


async def test_no_content_type_is_added(qstash, receiver) -> None:
    await _publish(qstash)
    await qstash.settle()
    assert "content-type" not in receiver.got[0].headers


async def test_default_backoff_between_attempts(qstash, receiver) -> None:
    start_at = qstash.now
    receiver.answers = [500, 500]
    message_id = await _publish(qstash)
    await qstash.run_until_idle()
    assert [one.retried for one in receiver.got] == [0, 1, 2]
    assert [one.at - start_at for one in receiver.got] == [0, 12_182, 12_182 + 148_413]
    assert await _states(qstash, message_id) == [
        "CREATED", "ACTIVE", "ERROR", "RETRY", "ACTIVE", "ERROR", "RETRY", "ACTIVE", "DELIVERED",
    ]  # fmt: skip


async def test_every_attempt_has_a_signature_of_its_own(qstash, receiver) -> None:
    receiver.answers = [500]
    await _publish(qstash)
    await qstash.run_until_idle()
    assert len({one.claims["jti"] for one in receiver.got}) == 2


async def test_retry_after_and_the_expression_decide_the_wait(qstash, receiver) -> None:
    start_at = qstash.now
    receiver.answers = [(429, {"Retry-After": "60"}), 500, 500]
    await _publish(qstash, Upstash_Retry_Delay="1000 * (1 + retried)")
    await qstash.run_until_idle()
    assert [one.at - start_at for one in receiver.got] == [0, 60_000, 62_000, 65_000]


async def test_a_message_moves_to_the_dlq_when_the_last_retry_fails(qstash, receiver) -> None:
    receiver.always = (404, {"X-Why": "gone"}, b"404 Not Found")
    message_id = await _publish(qstash, Upstash_Retries="1")
    await qstash.run_until_idle()
    assert await _states(qstash, message_id) == [
        "CREATED", "ACTIVE", "ERROR", "RETRY", "ACTIVE", "ERROR", "FAILED",
    ]  # fmt: skip
    [entry] = (await qstash.client.get("/v2/dlq")).json()["messages"]
    assert entry["messageId"] == message_id
    assert entry["responseStatus"] == 404
    assert entry["responseBody"] == "404 Not Found"
    assert entry["responseHeader"]["X-Why"] == ["gone"]
    assert (await qstash.client.get(f"/v2/dlq/{entry['dlqId']}")).json() == entry


async def test_a_non_retryable_answer_ends_it_at_once(qstash, receiver) -> None:
    receiver.answers = [(489, {"Upstash-NonRetryable-Error": "True"})]
    message_id = await _publish(qstash, Upstash_Retries="5")
    await qstash.run_until_idle()
    assert len(receiver.got) == 1
    assert await _states(qstash, message_id) == ["CREATED", "ACTIVE", "ERROR", "FAILED"]


async def test_489_without_the_header_is_an_ordinary_failure(qstash, receiver) -> None:
    receiver.answers = [489]
    await _publish(qstash)
    await qstash.run_until_idle()
    assert len(receiver.got) == 2


async def test_a_redirect_is_a_failed_attempt(qstash, receiver) -> None:
    receiver.answers = [(302, {"Location": "https://example.com/elsewhere"})]
    await _publish(qstash)
    await qstash.run_until_idle()
    assert [one.url for one in receiver.got] == ["https://example.com/hook"] * 2


async def test_no_response_has_status_zero_and_says_why(qstash, receiver) -> None:
    await _publish(qstash, "https://nobody.example/x", Upstash_Retries="0")
    await qstash.settle()
    [entry] = (await qstash.client.get("/v2/dlq")).json()["messages"]
    assert entry["responseStatus"] == 0
    assert "no app is mounted for https://nobody.example" in entry["responseBody"]


async def test_a_callback_follows_every_attempt(qstash, receiver: Receiver, callbacks: Receiver) -> None:
    receiver.answers = [(500, {"X-A": "1"}, b"oops")]
    message_id = await _publish(
        qstash,
        Content_Type="application/json",
        Upstash_Callback="https://callback.com/done?x=1",
        Upstash_Callback_Forward_Mine="yes",
    )
    created_at = qstash.now
    await qstash.run_until_idle()
    first, second = (json.loads(one.body) for one in callbacks.got)
    assert callbacks.got[0].headers["mine"] == "yes"
    assert callbacks.got[0].headers["content-type"] == "application/json"
    assert callbacks.got[0].claims["sub"] == "https://callback.com/done?x=1"
    assert callbacks.got[0].headers["upstash-message-id"] != message_id
    first["header"].pop("Content-Length", None)
    assert first == {
        "status": 500,
        "header": {"X-A": ["1"]},
        "body": base64.b64encode(b"oops").decode(),
        "sourceMessageId": message_id,
        "url": "https://example.com/hook",
        "method": "POST",
        "sourceHeader": {"Content-Type": ["application/json"]},
        "sourceBody": base64.b64encode(b'{"hello":"world"}').decode(),
        "maxRetries": 3,
        "notBefore": created_at,
        "createdAt": created_at,
        "callerIP": "127.0.0.1",
    }
    assert (second["status"], second["retried"], second.get("body")) == (200, 1, None)


async def test_the_failure_callback_comes_once_with_a_dlq_id_that_resolves(
    qstash, receiver, callbacks
) -> None:
    receiver.always = 503
    await _publish(qstash, Upstash_Retries="2", Upstash_Failure_Callback="https://callback.com/failed")
    await qstash.run_until_idle()
    [payload] = [json.loads(one.body) for one in callbacks.got]
    assert (payload["status"], payload["retried"], payload["maxRetries"]) == (503, 2, 2)
    assert (await qstash.client.get(f"/v2/dlq/{payload['dlqId']}")).status_code == 200


async def test_a_callback_is_retried_like_any_message(qstash, receiver, callbacks) -> None:
    callbacks.answers = [500]
    await _publish(qstash, Upstash_Callback="https://callback.com/", Upstash_Callback_Retries="1")
    await qstash.run_until_idle()
    assert [one.retried for one in callbacks.got] == [0, 1]


async def test_rotated_keys_sign_attempts_that_start_afterwards(qstash, receiver) -> None:
    receiver.answers = [500]
    await _publish(qstash)
    await qstash.settle()
    before = (await qstash.client.get("/v2/keys")).json()
    rotated = (await qstash.client.post("/v2/keys/rotate")).json()
    assert rotated["current"] == before["next"]
    await qstash.run_until_idle()
    assert len(receiver.got) == 2


async def test_a_cancelled_message_is_never_delivered(qstash, receiver) -> None:
    message_id = await _publish(qstash, Upstash_Delay="1h")
    response = await qstash.client.delete(f"/v2/messages/{message_id}")
    assert response.json() == {"cancelled": 1}
    assert (await qstash.client.delete(f"/v2/messages/{message_id}")).status_code == 404
    await qstash.advance("2h")
    assert receiver.got == []
    assert await _states(qstash, message_id) == ["CREATED", "CANCEL_REQUESTED", "CANCELED"]


async def test_a_cancel_between_retries_ends_them(qstash, receiver) -> None:
    receiver.always = 500
    message_id = await _publish(qstash)
    await qstash.settle()
    await qstash.client.delete(f"/v2/messages/{message_id}")
    await qstash.run_until_idle()
    assert len(receiver.got) == 1
    assert (await qstash.client.get("/v2/dlq")).json() == {"messages": []}


async def test_logs_filter_by_message_and_state_under_both_names(qstash, receiver) -> None:
    message_id = await _publish(qstash)
    await _publish(qstash, Upstash_Delay="1h")
    await qstash.settle()
    params = {"messageId": message_id, "state": "DELIVERED"}
    for path, name in (("/v2/logs", "logs"), ("/v2/events", "events")):
        answer = (await qstash.client.get(path, params=params)).json()
        assert [entry["state"] for entry in answer[name]] == ["DELIVERED"]
        assert "cursor" not in answer
    assert (await qstash.client.get("/v2/logs?state=NOPE")).status_code == 400


async def test_pages_of_logs_stay_right_while_new_entries_arrive(qstash, receiver) -> None:
    for _ in range(4):
        await _publish(qstash)
    await qstash.settle()
    seen: list[tuple[str, str]] = []
    cursor: str | None = None
    while True:
        params = {"count": "5", **({"cursor": cursor} if cursor else {})}
        answer = (await qstash.client.get("/v2/events", params=params)).json()
        seen += [(entry["messageId"], entry["state"]) for entry in answer["events"]]
        cursor = answer.get("cursor")
        if cursor is None:
            break
        await _publish(qstash)
        await qstash.settle()
    assert len(seen) == len(set(seen)) == 12
