"""``@upstash/workflow`` from npm under Node, unmodified, in an Express app, signatures on.

Each test names the exact number of requests that reach each path (contract W12): one callback or retry too
many, and it fails.
"""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from emulator.testing import Harness
from tests.bounds import HANG_SECONDS
from tests.workflow.conftest import NOW_AT, on_real_ports
from tests.workflow.node import App, NodeApp, Served, shape


@pytest.fixture
async def qstash() -> AsyncIterator[Harness]:
    async with on_real_ports() as harness:
        yield harness


async def test_the_worked_example_runs_to_its_end(qstash: Harness, app: App) -> None:
    run_id = await app.trigger(
        "/order",
        body={"orderId": 7, "qty": 2},
        headers={"x-tenant": "acme"},
        label="orders",
        retries=2,
        workflowRunId="o7",
    )
    assert run_id == "wfr_o7"
    await qstash.run_until_idle()
    assert shape(await app.log(run_id)) == [
        ("sequential", [("init", "STEP_SUCCESS")]),
        ("sequential", [("price", "STEP_SUCCESS")]),
        ("sequential", [("cool-off", "STEP_SUCCESS")]),
        ("sequential", [("reserve", "STEP_SUCCESS")]),
        ("sequential", [("charge", "STEP_SUCCESS")]),
        ("parallel", [("email", "STEP_SUCCESS"), ("stock", "STEP_SUCCESS")]),
        ("sequential", [("approval", "STEP_PROGRESS")]),
    ]
    [notified] = await app.client("notify", {"eventId": "order-7", "eventData": {"by": "ann"}})
    assert notified["workflowRunId"] == run_id
    assert notified["waiter"]["deadline"] == (qstash.now + 3_600_000) // 1000
    await qstash.run_until_idle()
    state = await app.state()
    assert state["results"][run_id] == {
        "held": "held", "charge": {"id": "ch_1"}, "status": 201, "both": ["sent", 1], "eventData": {"by": "ann"},
    }  # fmt: skip
    assert await app.counts() == {"/order": 11, "/charge": 1}
    assert state["charged"]["body"] == '{"amount":42}'
    assert state["charged"]["headers"]["x-idem"] == "7"
    assert not [name for name in state["charged"]["headers"] if name.startswith("upstash-workflow")]
    orders = [one["headers"] for one in state["deliveries"] if one["path"] == "/order"]
    assert {(one["x-tenant"], one["upstash-label"], one["upstash-workflow-runid"]) for one in orders} == {
        ("acme", "orders", "wfr_o7")
    }
    run = await app.log(run_id)
    assert (run["workflowState"], run["workflowRunResponse"], run["label"]) == (
        "RUN_SUCCESS", '{"done":true,"by":"ann"}', "orders",
    )  # fmt: skip
    assert shape(run)[-1] == ("sequential", [("approval", "STEP_SUCCESS")])
    assert [run["steps"][index]["steps"][0].get("out") for index in (0, 1, 3)] == [
        '{"orderId":7,"qty":2}', '{"total":42}', '"held"',
    ]  # fmt: skip


@pytest.mark.parametrize("payload", ["text ☃ \U0001f600", {"a": ["ü", None, 1.5]}, 7, ""])
async def test_payloads_and_headers_make_the_round_trip(qstash: Harness, app: App, payload: Any) -> None:
    run_id = await app.trigger("/path", body=payload, headers={"x-test": "value"}, retries=1)
    await qstash.run_until_idle()
    state = await app.state()
    assert state["results"] == {run_id: payload or (None if payload == "" else payload)}
    assert await app.counts() == {"/path": 4}


async def test_a_payload_of_the_users_own_kind_survives_byte_for_byte(qstash: Harness, app: App) -> None:
    run_id = await app.trigger("/raw-payload", body='{ "spaced" :  1.0 }')
    await qstash.run_until_idle()
    assert (await app.state())["results"] == {run_id: 'raw:{ "spaced" :  1.0 }'}


async def test_an_unknown_sdk_costs_one_more_delivery(qstash: Harness, app: App, served: Served) -> None:
    answer = await qstash.client.post(
        f"/v2/trigger/{app.origin}/path",
        content="payload",
        headers={"Upstash-Workflow-Unknown-Sdk": "true", "Upstash-Forward-X-Test": "value"},
    )
    await qstash.run_until_idle()
    assert (await app.state())["results"] == {answer.json()["workflowRunId"]: "payload"}
    assert await app.counts() == {"/path": 5}


async def test_an_unknown_sdk_is_known_by_the_header_that_the_vendors_client_sends(
    qstash: Harness, app: App, served: Served
) -> None:
    """The vendor's route ``path-with-unknown-sdk-header``: the trigger's own headers travel as forwards."""
    headers = {"Upstash-Workflow-Unknown-Sdk": "true", "x-test": "value"}
    run_id = await app.trigger("/path", body="payload", headers=headers)
    await qstash.run_until_idle()
    assert (await app.state())["results"] == {run_id: "payload"}
    assert await app.counts() == {"/path": 5}


async def test_sleeps_end_when_their_time_has_come(qstash: Harness, app: App) -> None:
    until = NOW_AT // 1000 + 86_400
    run_id = await app.trigger("/sleep", body={"until": until})
    await qstash.settle()
    assert await app.counts() == {"/sleep": 2}
    await qstash.advance("3s")
    assert await app.counts() == {"/sleep": 4}
    await qstash.run_until_idle()
    assert qstash.now == until * 1000
    assert (await app.state())["results"] == {run_id: [1, 2, 3]}
    assert await app.counts() == {"/sleep": 6}


async def test_parallel_steps_beside_a_sleep(qstash: Harness, app: App) -> None:
    run_id = await app.trigger("/charges", body=None)
    await qstash.run_until_idle()
    assert (await app.state())["results"] == {run_id: [10, "mail", None]}
    assert await app.counts() == {"/charges": 12}


async def test_the_endpoints_own_authorization(qstash: Harness, app: App) -> None:
    run_id = await app.trigger("/auth", headers={"authorization": "Bearer secret"})
    await qstash.run_until_idle()
    assert (await app.state())["results"] == {run_id: "authorized"}
    assert await app.counts() == {"/auth": 3}


async def test_a_refused_run_is_tried_again_after_twelve_seconds(qstash: Harness, app: App) -> None:
    run_id = await app.trigger("/auth", retries=1)
    await qstash.advance("10s")
    assert await app.counts() == {"/auth": 1}
    assert shape(await app.log(run_id))[-1] == ("next", [("", "STEP_RETRY")])
    await qstash.run_until_idle()
    run = await app.log(run_id)
    assert run["workflowState"] == "RUN_FAILED"
    assert [one["status"] for one in run["steps"][-1]["steps"][0]["errors"]] == [400, 400]


async def test_a_called_workflow_endpoint_is_not_taken_for_the_run(qstash: Harness, app: App) -> None:
    run_id = await app.trigger("/auth-custom", retries=0)
    await qstash.run_until_idle()
    answers = (await app.state())["results"][run_id]
    assert [status for status, _ in answers] == [500, 400, 400]
    assert answers[0][1] == "Not authorized to run the failure function."
    assert await app.counts() == {"/auth-custom": 7, "/auth-target": 3}


async def test_calls_pass_on_what_the_third_party_answers(qstash: Harness, app: App) -> None:
    run_id = await app.trigger("/calls", retries=0)
    await qstash.run_until_idle()
    assert (await app.state())["results"][run_id] == {
        "post": [201, "POST 'post-value' 'application/x-custom' 'post-payload'"],
        "get": [200, "got it", ["reply"]],
        "patch": [401, "failing request"],
        "put": [300, "", "string"],
        "delete": [400, {"foo": "bär – ☃", "zed": 2}],
    }
    assert await app.counts() == {"/calls": 12, "/third-party": 6}
    steps = [group["steps"][0] for group in (await app.log(run_id))["steps"]]
    [patch] = [step for step in steps if step["stepName"] == "patch"]
    assert (patch["callMethod"], patch["callResponseStatus"], patch["callResponseBody"]) == (
        "PATCH", 401, "failing request",
    )  # fmt: skip


@pytest.mark.parametrize("path", ["/call-fails", "/call-fails-url"])
async def test_a_failed_call_is_a_result_and_no_failure_of_the_run(
    qstash: Harness, app: App, path: str
) -> None:
    options = {"failureUrl": f"{app.origin}/failure-url"} if path.endswith("url") else {}
    run_id = await app.trigger(path, retries=0, **options)
    await qstash.run_until_idle()
    state = await app.state()
    assert (state["results"], state["failures"]) == ({run_id: 401}, [])
    assert await app.counts() == {path: 3, "/third-party": 1}


async def test_a_route_that_returns_before_its_first_step_fails(qstash: Harness, app: App) -> None:
    await app.trigger("/returns-before-step", retries=0)
    await qstash.run_until_idle()
    [failure] = (await app.state())["failures"]
    assert failure["failStatus"] == 400
    assert await app.counts() == {"/returns-before-step": 2}


async def test_the_failure_function_hears_of_the_failed_step(qstash: Harness, app: App) -> None:
    run_id = await app.trigger("/fails", retries=0, label="my-label", headers={"x-tenant": "acme"})
    await qstash.run_until_idle()
    assert (await app.state())["failures"] == [
        {
            "runId": run_id, "failStatus": 500, "failResponse": "my-error", "hasStack": True, "payload": None,
            "label": "my-label", "tenant": "acme",
        }
    ]  # fmt: skip
    assert await app.counts() == {"/fails": 2}
    run = await app.log(run_id)
    function = run["failureFunction"]
    assert (function["state"], function["responseBody"], function["failStatus"]) == (
        "CALLBACK_SUCCESS",
        "{}",
        500,
    )
    assert shape(run) == [("sequential", [("init", "STEP_SUCCESS")]), ("next", [("step", "STEP_FAILED")])]
    [error] = run["steps"][-1]["steps"][0]["errors"]
    assert (error["status"], error["error"]) == (500, "500 Internal Server Error")
    assert json.loads(error["body"])["message"] == "my-error"


async def test_what_the_failure_function_returns_is_kept(qstash: Harness, app: App) -> None:
    await app.set(failureAnswer="response")
    run_id = await app.trigger("/fails", retries=0)
    await qstash.run_until_idle()
    assert (await app.log(run_id))["failureFunction"]["responseBody"] == '{"result":"response"}'
    [entry] = (await app.client("dlq.list"))["messages"]
    assert entry["failureCallbackInfo"]["state"] == "CALLBACK_SUCCESS"
    assert entry["failureCallbackInfo"]["responseBody"] == '{"result":"response"}'


async def test_a_failing_step_is_retried_before_the_run_fails(qstash: Harness, app: App) -> None:
    await app.trigger("/fails", retries=1)
    await qstash.run_until_idle()
    assert await app.counts() == {"/fails": 3}


async def test_an_error_that_no_retry_mends_is_not_retried(qstash: Harness, app: App) -> None:
    run_id = await app.trigger("/fails-for-good", retries=3)
    await qstash.run_until_idle()
    assert [one["failStatus"] for one in (await app.state())["failures"]] == [489]
    assert await app.counts() == {"/fails-for-good": 2}
    assert (await app.log(run_id))["workflowState"] == "RUN_FAILED"


async def test_an_endpoint_without_a_failure_function_is_asked_once(qstash: Harness, app: App) -> None:
    run_id = await app.trigger("/fails-plainly", retries=0)
    await qstash.run_until_idle()
    assert await app.counts() == {"/fails-plainly": 3}
    function = (await app.log(run_id))["failureFunction"]
    assert function["state"] == "CALLBACK_SUCCESS"
    assert "responseBody" not in function


async def test_a_failure_url_gets_the_body_and_the_users_headers(qstash: Harness, app: App) -> None:
    await app.trigger(
        "/fails-for-good",
        body={"payload": 1},
        retries=0,
        headers={"x-tenant": "acme"},
        failureUrl=f"{app.origin}/failure-url",
    )
    await qstash.run_until_idle()
    [failure] = (await app.state())["failures"]
    assert failure["headers"]["x-tenant"] == "acme"
    assert json.loads(base64.b64decode(failure["body"]["body"]))["message"] == "no way"
    assert base64.b64decode(failure["body"]["sourceBody"]) == b'{"payload":1}'
    assert await app.counts() == {"/fails-for-good": 1, "/failure-url": 1}


async def test_an_event_that_comes_too_early_is_kept_for_the_run(qstash: Harness, app: App) -> None:
    run_id = await app.trigger("/lookback")
    await qstash.settle()
    for data in ("first", "second"):
        [stored] = await app.client(
            "notify", {"eventId": "early", "eventData": data, "workflowRunId": run_id}
        )
        assert (stored["workflowRunId"], stored["waiter"]) == (run_id, None)
    assert await app.client("notify", {"eventId": "early", "eventData": "lost"}) == []
    await qstash.run_until_idle()
    assert (await app.state())["results"] == {run_id: ["first", "second"]}


async def test_a_webhook_is_rebuilt_as_it_was_called(qstash: Harness, app: App) -> None:
    run_id = await app.trigger("/webhook")
    await qstash.settle()
    await qstash.advance("1s")
    await qstash.run_until_idle()
    assert (await app.state())["results"] == {
        run_id: {
            "gone": [True, None],
            "timeout": False,
            "seen": {"same": True, "method": "PUT", "header": "yes", "body": {"hook": "bär"}},
        }
    }
    assert await app.counts() == {"/webhook": 8, "/webhook-caller": 1}


async def test_the_rest_trigger_does_what_the_client_does(qstash: Harness, app: App) -> None:
    answer = await qstash.client.post(
        f"/v2/trigger/{app.origin}/triggered",
        json={"n": 1},
        headers={"Upstash-Forward-X-Trigger": "yes", "Upstash-Label": "rest"},
    )
    started = answer.json()
    assert answer.status_code == 200
    assert started["workflowCreatedAt"] == NOW_AT
    await qstash.run_until_idle()
    run = await app.log(started["workflowRunId"])
    assert (await app.state())["results"] == {run["workflowRunId"]: [{"n": 1}, "yes", "rest"]}
    assert (run["workflowState"], run["workflowRunResponse"], run["label"]) == (
        "RUN_SUCCESS",
        '"triggered"',
        "rest",
    )
    assert await app.counts() == {"/triggered": 2}
    batch = [{"destination": f"{app.origin}/triggered", "body": "x"}] * 2
    many = await qstash.client.post("/v2/batch/trigger", json=batch)
    assert (many.status_code, [one["deduplicated"] for one in many.json()]) == (201, [False, False])
    await qstash.run_until_idle()
    assert len((await app.state())["results"]) == 3


async def test_the_rest_trigger_wants_a_workflow_endpoint(qstash: Harness, app: App) -> None:
    answer = await qstash.client.post(f"/v2/trigger/{app.origin}/not-a-workflow", json={})
    await qstash.run_until_idle()
    run = await app.log(answer.json()["workflowRunId"])
    assert run["steps"][1]["steps"][0]["errors"][0]["error"].startswith("detected a non-workflow destination")


async def test_a_plain_publish_starts_a_run_with_one_more_delivery(qstash: Harness, app: App) -> None:
    await qstash.client.post(f"/v2/publish/{app.origin}/triggered", json={"n": 1})
    await qstash.run_until_idle()
    assert list((await app.state())["results"].values()) == [[{"n": 1}, None, None]]
    assert await app.counts() == {"/triggered": 3}


async def test_a_run_id_in_use_is_not_started_twice(qstash: Harness, app: App) -> None:
    first = await app.trigger("/sleeps", workflowRunId="same")
    again = await app.client("trigger", {"url": f"{app.origin}/sleeps", "workflowRunId": "same"})
    assert (again["workflowRunId"], first) == ("wfr_same", "wfr_same")
    await qstash.settle()
    assert await app.counts() == {"/sleeps": 1}
    assert len((await app.client("logs", {"workflowRunId": "wfr_same"}))["runs"]) == 1


async def test_runs_are_cancelled_one_by_one_and_together(qstash: Harness, app: App) -> None:
    ids = [await app.trigger("/sleeps", label=f"label-{n % 2}", delay="1h") for n in range(6)]
    assert await app.client("cancel", ids[0]) == {"cancelled": 1}
    assert await app.client("cancel", ids[0]) == {"cancelled": 0}
    assert await app.client("cancel", [ids[1], ids[2], "non-existent"]) == {"cancelled": 2}
    assert await app.client("cancel", {"filter": {"workflowUrl": f"{app.origin}/sleep"}}) == {"cancelled": 0}
    by_both = {"filter": {"workflowUrl": f"{app.origin}/sleeps", "label": "label-1"}}
    assert await app.client("cancel", by_both) == {"cancelled": 2}
    assert await app.client("cancel", {"urlStartingWith": f"{app.origin}/sl"}) == {"cancelled": 1}
    assert await app.client("cancel", {"all": True}) == {"cancelled": 0}
    await qstash.run_until_idle()
    assert await app.counts() == {}
    runs = (await app.client("logs", {"state": "RUN_CANCELED"}))["runs"]
    assert len(runs) == 6
    assert shape(runs[0]) == [("sequential", [("init", "STEP_SUCCESS")]), ("next", [("", "STEP_CANCELED")])]
    assert (await app.client("dlq.list"))["messages"] == []


@pytest.mark.parametrize(("path", "count"), [("/slow", 1), ("/slow-parallel", 1), ("/cancels", 2)])
async def test_a_run_that_was_cancelled_meanwhile_goes_no_further(
    qstash: Harness, app: App, path: str, count: int
) -> None:
    run_id = await app.trigger(path)
    await qstash.run_until_idle()
    assert (await app.state())["results"] == {}
    assert await app.counts() == {path: count}
    assert (await app.log(run_id))["workflowState"] == "RUN_CANCELED"


async def test_a_failed_run_is_resumed_where_it_failed(qstash: Harness, app: App) -> None:
    run_id = await app.trigger("/mended", body={"n": 1}, retries=0, label="broken")
    await qstash.run_until_idle()
    [entry] = (await app.client("dlq.list", {"filter": {"label": "broken"}}))["messages"]
    assert (entry["workflowRunId"], entry["responseStatus"]) == (run_id, 500)
    await app.post("/mend")
    resumed = await app.client("dlq.resume", {"dlqId": entry["dlqId"], "retries": 1})
    assert resumed["workflowRunId"] != run_id
    await qstash.run_until_idle()
    state = await app.state()
    assert state["results"] == {resumed["workflowRunId"]: [1, 2]}
    assert state["log"]["counted"] == 1
    assert (await app.client("dlq.list"))["messages"] == []
    run = await app.log(resumed["workflowRunId"])
    assert [name for _, [(name, _)] in shape(run)] == ["init", "counted", "breaks"]


async def test_a_failed_run_is_restarted_from_its_payload(qstash: Harness, app: App) -> None:
    await app.trigger("/fails", body={"n": 1}, retries=0)
    await qstash.run_until_idle()
    [entry] = (await app.client("dlq.list"))["messages"]
    answer = await app.client("dlq.restart", [entry["dlqId"]])
    [restarted] = answer["workflowRuns"]
    await qstash.run_until_idle()
    failures = (await app.state())["failures"]
    assert [(one["runId"], one["payload"]) for one in failures][1] == (restarted["workflowRunId"], {"n": 1})
    assert await app.counts() == {"/fails": 4}


async def test_a_failure_callback_that_failed_can_be_sent_again(qstash: Harness, app: App) -> None:
    await app.set(failureUrlStatus=500)
    run_id = await app.trigger("/fails-for-good", retries=0, failureUrl=f"{app.origin}/failure-url")
    await qstash.run_until_idle()
    wanted = {"filter": {"failureFunctionState": "CALLBACK_FAIL"}}
    [entry] = (await app.client("dlq.list", wanted))["messages"]
    assert entry["failureCallbackInfo"]["responseStatus"] == 500
    refused = await qstash.client.delete(f"/v2/workflows/dlq/callback/{entry['dlqId']}")
    assert refused.status_code == 400
    await app.set(failureUrlStatus=200)
    again = await app.client("dlq.retryFailureFunction", {"dlqId": entry["dlqId"]})
    assert (again["workflowRunId"], again["workflowCreatedAt"]) == (run_id, NOW_AT)
    await qstash.run_until_idle()
    assert await app.counts() == {"/fails-for-good": 1, "/failure-url": 2}
    assert (await app.log(run_id))["failureFunction"]["state"] == "CALLBACK_SUCCESS"
    answer = await app.try_client("dlq.retryFailureFunction", {"dlqId": entry["dlqId"]})
    assert "has not failed" in answer["error"]["message"]


async def test_failed_runs_are_thrown_away(qstash: Harness, app: App) -> None:
    for _ in range(3):
        await app.trigger("/fails-plainly", retries=0)
    await qstash.run_until_idle()
    first = (await app.client("dlq.list", {"count": 1}))["messages"][0]
    assert (await app.client("dlq.delete", first["dlqId"]))["deleted"] == 1
    assert (await app.client("dlq.delete", {"all": True}))["deleted"] == 2
    assert (await app.client("dlq.list"))["messages"] == []


@pytest.mark.parametrize(
    ("path", "payload", "result", "count"),
    [
        ("/large-initial", "x" * 400_000, 400_000, 4),
        ("/large-result", None, 524_288, 3),
        ("/large-parallel", None, [None, 524_288, 524_288, None], 9),
        ("/large-call", None, 524_288, 4),
    ],
)
async def test_large_lists_are_fetched(
    node_app: NodeApp, path: str, payload: Any, result: Any, count: int, make_served: Any
) -> None:
    qstash, served = await make_served(workflow_lazy_fetch_bytes=300_000)
    async with httpx.AsyncClient(timeout=HANG_SECONDS) as http:
        app = App(node_app.origin, http)
        await app.configure(served)
        run_id = await app.trigger(path, body=payload, retries=0)
        await qstash.run_until_idle()
        state = await app.state()
        assert state["results"] == {run_id: result}
        assert (await app.counts())[path] == count
        lengths = [one["headers"]["content-length"] for one in state["deliveries"] if one["path"] == path]
        assert "0" in lengths


async def test_a_large_error_comes_inline(qstash: Harness, app: App) -> None:
    await app.trigger("/large-error", retries=1)
    await qstash.run_until_idle()
    assert (await app.state())["failures"] == [524_288]
    assert await app.counts() == {"/large-error": 3}


async def test_a_run_is_started_anew_from_a_step(qstash: Harness, app: App) -> None:
    order = {"orderId": 7, "qty": 2}
    first = await app.trigger("/order", body=order, headers={"x-tenant": "acme"}, label="orders", retries=2)
    await qstash.run_until_idle()
    await app.client("notify", {"eventId": "order-7", "eventData": {"by": "ann"}})
    await qstash.run_until_idle()
    before = await app.counts()
    answer = await qstash.client.post(f"/emulator/runs/{first}/rerun", json={"fromStep": "charge"})
    assert answer.status_code == 201, answer.text
    again = answer.json()["runId"]
    await qstash.run_until_idle()
    await app.client("notify", {"eventId": "order-7", "eventData": {"by": "bob"}})
    await qstash.run_until_idle()
    old, new = await app.log(first), await app.log(again)
    assert shape(new) == shape(old)
    assert (new["workflowState"], new["workflowRunResponse"]) == ("RUN_SUCCESS", '{"done":true,"by":"bob"}')
    assert [group["steps"][0].get("out") for group in new["steps"][:4]] == [
        group["steps"][0].get("out") for group in old["steps"][:4]
    ]
    # The reservation's result once more, the call's report and result, two plans and results, the event.
    counts = await app.counts()
    assert {path: counts[path] - before[path] for path in counts} == {"/order": 8, "/charge": 1}
