"""Mistakes that are easy to make, each a test of that name (contract W13)."""

import asyncio
import base64
import json

import pytest
from qstash import Receiver as Verifier

from emulator.testing import Harness, Receiver
from tests.workflow import raw


@pytest.fixture
def app(qstash: Harness) -> Receiver:
    """The workflow's endpoint: answers as the SDKs do."""
    receiver = Receiver(now=lambda: qstash.now, always=(200, raw.SDK))
    qstash.mount(raw.APP, receiver)
    return receiver


@pytest.fixture
def pay(qstash: Harness) -> Receiver:
    """A third party."""
    receiver = Receiver(now=lambda: qstash.now)
    qstash.mount("http://pay:4000", receiver)
    return receiver


async def test_1_the_slice_is_sent_not_the_live_log(qstash: Harness, app: Receiver) -> None:
    await raw.trigger(qstash)
    await qstash.settle()
    await raw.publish(qstash, raw.plan(1, 2), raw.plan(2, 2))
    # Both results are in the log before either is delivered; the first delivery fails, and is made again.
    app.answers = [200, 200, 500]
    await qstash.settle()
    results = [raw.step(number, concurrent=2, out="1") for number in (1, 2)]
    await raw.publish(qstash, *results)
    await qstash.run_until_idle()
    lists = [[body for _, body in raw.entries(one)] for one in app.got]
    plans = [raw.plan(1, 2), raw.plan(2, 2)]
    assert lists[0] == ["payload"]
    assert sorted(lists[1:3], key=len) == [["payload", plans[0]], ["payload", *plans]]
    assert sorted(lists[3:], key=len) == [
        ["payload", *plans, results[0]],
        ["payload", *plans, results[0]],
        ["payload", *plans, *results],
    ]
    for one in app.got:
        assert raw.entries(one)[-1][0] == one.headers["upstash-message-id"]


async def test_2_callbacks_have_no_sdk_version(qstash: Harness, app: Receiver, pay: Receiver) -> None:
    await raw.trigger(qstash, Upstash_Retries="0")
    await raw.batch(
        qstash,
        raw.call_item("wfr_1", Upstash_Callback_Forward_Upstash_Workflow_Sdk_Version="1"),
    )
    await qstash.settle()
    app.answers = [500]
    await raw.publish(qstash, raw.step(2))
    await qstash.run_until_idle()
    _init, report, _failed, failure = app.got
    assert report.headers["upstash-workflow-callback"] == "true"
    assert failure.headers["upstash-workflow-is-failure"] == "true"
    for one in (report, failure, pay.got[0]):
        assert "upstash-workflow-sdk-version" not in one.headers


async def test_3_a_wait_that_times_out_has_no_out(qstash: Harness, app: Receiver) -> None:
    await raw.trigger(qstash)
    await qstash.settle()
    assert (await raw.wait(qstash, "order-7", lasting="1h")).status_code == 200
    await qstash.advance("1h")
    [_, (_, body)] = raw.entries(app.got[-1])
    assert json.loads(body) == {
        "stepId": 1, "stepType": "Wait", "stepName": "approval", "concurrent": 1,
        "waitEventId": "order-7", "timeout": "1h", "waitTimeout": True,
    }  # fmt: skip


async def test_4_an_ended_run_is_answered_400_and_nothing_else_is(qstash: Harness, app: Receiver) -> None:
    await raw.trigger(qstash)
    await qstash.settle()
    # A bad option is no ended run: a 400 would be taken for one, and the run would stall in silence.
    refused = await raw.publish(qstash, raw.step(1), Upstash_Retry_Delay="nonsense(")
    assert refused.status_code == 412
    assert "Upstash-Retry-Delay" in refused.json()["error"]
    over = await raw.batch(qstash, raw.call_item("wfr_1", Upstash_Retries="1000000"))
    assert (over.status_code, "quota maxRetries exceeded" in over.json()["error"]) == (412, True)
    assert (await raw.wait(qstash, "e", lasting="soon")).status_code == 412
    invoke = raw.run_headers("wfr_2", init=True, Upstash_Workflow_Invoke="true")
    invoked = await qstash.client.post(
        f"/v2/publish/{raw.URL}", json={"workflowRunId": "wfr_1"}, headers=invoke
    )
    assert (invoked.status_code, "workflowUrl" in invoked.json()["error"]) == (412, True)
    await raw.finish(qstash)
    for answer in (
        await raw.publish(qstash, raw.step(1)),
        await raw.publish(qstash, raw.step(1), run_id="wfr_never"),
        await raw.wait(qstash, "e"),
        await raw.batch(
            qstash,
            {"destination": "https://example.com", "body": "plain"},
            {"destination": raw.URL, "headers": raw.run_headers("wfr_1"), "body": raw.step(1)},
        ),
    ):
        assert (answer.status_code, "can not append" in answer.json()["error"]) == (400, True)
    # Of that batch nothing was accepted, the plain message neither.
    assert (await qstash.client.get("/v2/events", params={"url": "https://example.com"})).json() == {
        "events": []
    }
    assert (await qstash.client.get("/v2/workflows/runs/wfr_1")).status_code == 404


async def test_5_deliveries_of_one_run_overlap_and_a_late_answer_revives_nothing(
    qstash: Harness, app: Receiver
) -> None:
    app.gate = asyncio.Event()
    await raw.trigger(qstash, Upstash_Retries="3")
    await raw.publish(qstash, raw.plan(1, 2), raw.plan(2, 2))
    while app.in_flight < 3:
        await asyncio.sleep(0)
    await raw.finish(qstash, result='{"done":true}')
    app.always = 500
    app.gate.set()
    await qstash.run_until_idle()
    assert len(app.got) == 3
    run = await raw.run_log(qstash)
    assert (run["workflowState"], run["workflowRunResponse"]) == ("RUN_SUCCESS", '{"done":true}')
    assert (await qstash.client.get("/v2/dlq?source=workflow")).json()["messages"] == []
    assert (await raw.finish(qstash, result="2")).status_code == 200
    assert (await raw.run_log(qstash))["workflowRunResponse"] == '{"done":true}'


async def test_6_hop_by_hop_headers_are_not_forwarded(qstash: Harness, app: Receiver) -> None:
    received = {
        "Host": "elsewhere", "Content-Length": "3", "Connection": "close", "Transfer-Encoding": "chunked",
        "Accept-Encoding": "br", "Upstash-Signature": "forged", "Upstash-Message-Id": "msg_other",
        "Upstash-Retried": "7", "User-Agent": "node", "Upstash-Workflow-RunId": "wfr_other", "X-Kept": "yes",
    }  # fmt: skip
    message_id = await raw.trigger(
        qstash, **{f"Upstash-Forward-{name}": value for name, value in received.items()}
    )
    await qstash.settle()
    [delivery] = app.got
    headers = delivery.headers
    assert headers["host"] == "app:3000"
    assert int(headers["content-length"]) == len(delivery.body)
    assert {"connection", "transfer-encoding"}.isdisjoint(headers)
    assert (headers["accept-encoding"], headers["user-agent"]) == ("gzip", "Upstash-QStash")
    assert (headers["upstash-message-id"], headers["upstash-retried"]) == (message_id, "0")
    assert (headers["upstash-workflow-runid"], headers["x-kept"]) == ("wfr_1", "yes")
    assert headers["upstash-signature"] != "forged"


async def test_7_stored_and_own_failure_callbacks_are_one(qstash: Harness, app: Receiver) -> None:
    await raw.trigger(qstash)
    await qstash.settle()
    app.answers = [(489, {"Upstash-NonRetryable-Error": "true"})]
    own = raw.failure_headers("wfr_1", f"{raw.APP}/own")
    item = {
        "destination": raw.URL,
        "headers": {**raw.run_headers("wfr_1"), **own, "Upstash-Forward-X-Tenant": "acme"},
        "body": raw.step(1),
    }
    await raw.batch(qstash, item)
    await qstash.run_until_idle()
    assert [one.url for one in app.got] == [raw.URL, raw.URL, f"{raw.APP}/own"]
    assert app.got[1].headers["x-tenant"] == app.got[2].headers["x-tenant"] == "acme"


async def test_8_a_call_reports_its_last_attempt_alone(qstash: Harness, app: Receiver, pay: Receiver) -> None:
    pay.always = (503, {}, b"busy")
    await raw.trigger(qstash)
    await raw.batch(qstash, raw.call_item("wfr_1", Upstash_Retries="2"))
    await qstash.run_until_idle()
    assert [one.retried for one in pay.got] == [0, 1, 2]
    reports = [one for one in app.got if "upstash-workflow-callback" in one.headers]
    [report] = [json.loads(one.body) for one in reports]
    assert (report["status"], report["retried"], report["maxRetries"]) == (503, 2, 2)
    assert (await raw.run_log(qstash))["workflowState"] == "RUN_STARTED"


async def test_9_a_call_that_ends_early_reports_as_many_retries_as_it_may_have(
    qstash: Harness, app: Receiver, pay: Receiver
) -> None:
    pay.always = (489, {"Upstash-NonRetryable-Error": "true"})
    await raw.trigger(qstash)
    await raw.batch(qstash, raw.call_item("wfr_1", Upstash_Retries="5"))
    await qstash.run_until_idle()
    report = json.loads(app.got[-1].body)
    assert (len(pay.got), report["status"], report["retried"], report["maxRetries"]) == (1, 489, 0, 0)


async def test_10_header_names_in_callbacks_are_canonical_and_values_lists(
    qstash: Harness, app: Receiver, pay: Receiver
) -> None:
    pay.always = (201, {"x-reply-name": "a", "content-type": "application/json"}, b'{"id":"ch_1"}')
    await raw.trigger(qstash)
    await raw.batch(qstash, raw.call_item("wfr_1"))
    await qstash.run_until_idle()
    report = json.loads(app.got[-1].body)
    assert report["header"]["X-Reply-Name"] == ["a"]
    assert report["header"]["Content-Type"] == ["application/json"]
    assert base64.b64decode(report["body"]) == b'{"id":"ch_1"}'
    assert base64.b64decode(report["sourceBody"]) == b'{"amount":42}'
    assert (report["workflowRunId"], report["workflowUrl"]) == ("wfr_1", raw.URL)
    pay.always = 204
    await raw.batch(qstash, raw.call_item("wfr_1", step_id=2))
    await qstash.run_until_idle()
    assert json.loads(app.got[-1].body)["body"] == ""


@pytest.mark.parametrize(
    "text", ["ä ☃ \U0001f600 </script> & \u2028", '{ "spaced" :  1.50 }', "\\u0000 \x7f \t"]
)
async def test_11_json_has_no_blanks_and_no_needless_escapes(
    qstash: Harness, app: Receiver, pay: Receiver, text: str
) -> None:
    await raw.trigger(qstash, body=text)
    pay.always = (200, {"X-Text": "a & <b>"}, text.encode())
    await raw.batch(qstash, raw.call_item("wfr_1"))
    await qstash.settle()
    await raw.wait(qstash, "e", stepName=text)
    app.answers = [(489, {"Upstash-NonRetryable-Error": "true"}, text.encode())]
    await qstash.client.post("/v2/notify/e", content=text.encode())
    await qstash.run_until_idle()
    assert len(app.got) == 4
    for one in app.got:
        again = json.dumps(json.loads(one.body), separators=(",", ":"), ensure_ascii=False)
        assert again.encode() == one.body
    assert [body for _, body in raw.entries(app.got[0])] == [text]


async def test_12_a_resumed_wait_has_the_triggers_headers(qstash: Harness, app: Receiver) -> None:
    await raw.trigger(
        qstash, Upstash_Retries="1", Upstash_Label="orders", Upstash_Forward_Upstash_Label="orders"
    )
    await qstash.settle()
    await raw.wait(qstash, "order-7")
    [waiter] = (await qstash.client.get("/v2/waiters/order-7")).json()
    assert waiter["deadline"] == (qstash.now + 3_600_000) // 1000
    app.answers = [500]
    [notified] = (await qstash.client.post("/v2/notify/order-7", content=b'{"by":"ann"}')).json()
    await qstash.run_until_idle()
    first, second = app.got[1:]
    assert (first.retried, second.retried) == (0, 1)
    for one in (first, second):
        assert one.headers["upstash-message-id"] == notified["messageId"]
        assert (one.headers["x-tenant"], one.headers["upstash-label"]) == ("acme", "orders")
        assert one.headers["upstash-workflow-sdk-version"] == "1"
        # Two spellings of one name are one header, and are not joined.
        assert one.headers["upstash-workflow-runid"] == "wfr_1"
    step = json.loads(raw.entries(second)[-1][1])
    assert (step["waitTimeout"], base64.b64decode(step["out"])) == (False, b'{"by":"ann"}')


async def test_13_a_cancelled_run_leaves_no_dead_letter_and_calls_no_failure_callback(
    qstash: Harness, app: Receiver
) -> None:
    app.gate = asyncio.Event()
    await raw.trigger(qstash, Upstash_Retries="0")
    await raw.publish(qstash, raw.step(1, "nap", "SleepFor", sleepFor=60), Upstash_Delay="60s")
    await raw.wait(qstash, "e", stepId=2)
    while not app.in_flight:
        await asyncio.sleep(0)
    assert (await qstash.client.delete("/v2/workflows/runs/wfr_1?cancel=true")).status_code == 200
    assert (await qstash.client.delete("/v2/workflows/runs/wfr_1?cancel=true")).status_code == 404
    app.always = 500
    app.gate.set()
    await qstash.advance("1d")
    assert len(app.got) == 1
    assert (await qstash.client.get("/v2/workflows/dlq")).json()["messages"] == []
    assert (await qstash.client.get("/v2/dlq")).json()["messages"] == []
    assert (await qstash.client.get("/v2/waiters/e")).json() == []
    assert (await raw.run_log(qstash))["workflowState"] == "RUN_CANCELED"


async def test_14_the_token_says_whose_webhooks_they_are(qstash: Harness, app: Receiver) -> None:
    user = json.loads(base64.b64decode(qstash.token))["UserID"]
    await raw.trigger(qstash)
    await qstash.settle()
    open_client = qstash.make_client()
    url = f"/v2/workflows/hooks/{user}/wfr_1/hook/with/slashes"
    answer = await open_client.request("PATCH", f"{url}?q=1", content=b"hit", headers={"X-A": "1"})
    assert answer.status_code == 200
    await raw.wait(qstash, "hook/with/slashes", stepType="WaitForWebhook")
    await qstash.settle()
    step = json.loads(raw.entries(app.got[-1])[-1][1])
    event = json.loads(base64.b64decode(step["out"]))
    assert (event["method"], event["header"]["X-A"]) == ("PATCH", ["1"])
    assert f"{event['proto']}://{event['host']}{event['url']}" == f"http://localhost:8080{url}?q=1"
    assert base64.b64decode(event["body"]) == b"hit"
    assert (await open_client.get("/v2/workflows/hooks/nobody/wfr_1/x")).status_code == 404
    assert (await open_client.get(f"/v2/workflows/hooks/{user}/wfr_ended/x")).status_code == 404
    await open_client.aclose()


async def test_15_signatures_are_stamped_with_real_time_and_all_else_with_the_runs(
    qstash: Harness, app: Receiver
) -> None:
    await qstash.advance("30d")
    await raw.trigger(qstash)
    await qstash.settle()
    await raw.publish(qstash, raw.step(1, "nap", "SleepFor", sleepFor=1), Upstash_Delay="365d")
    triggered_at = qstash.now
    await qstash.run_until_idle(limit="400d")
    keys = qstash.runtime.broker.state.keys
    for one in app.got:
        Verifier(keys.current, keys.next).verify(
            signature=one.headers["upstash-signature"], body=one.body.decode(), url=raw.URL
        )
        assert one.headers["upstash-workflow-createdat"] == str(triggered_at)
    assert app.got[1].at - app.got[0].at == 365 * 86_400_000
