"""The hard limits of a run, by the REST API alone (contract W6.7)."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from emulator.testing import Harness, Receiver
from tests.answers import checked, wrong_answers
from tests.bounds import HANG_SECONDS
from tests.workflow import raw
from tests.workflow.conftest import MakeServed
from tests.workflow.node import App, NodeApp, shape

_DLQ = "/v2/workflows/dlq"


@asynccontextmanager
async def limited(**settings: Any) -> AsyncIterator[tuple[Harness, Receiver]]:
    """An emulator with low limits and an app that answers as the SDKs do; answers are held to their types."""
    made = Harness(**settings)
    async with checked(made) as qstash:
        app = Receiver(now=lambda: qstash.now, always=(200, raw.SDK))
        qstash.mount(raw.APP, app)
        yield qstash, app
    assert wrong_answers(made) == []


async def _failure(qstash: Harness) -> Any:
    """The failed run's entry in the dead letter queue, held against its log."""
    [entry] = (await qstash.client.get(_DLQ)).json()["messages"]
    run = await raw.run_log(qstash, entry["workflowRunId"])
    assert run["workflowState"] == "RUN_FAILED"
    assert run["dlqId"] == entry["dlqId"]
    failed = [step for group in run["steps"] for step in group["steps"] if step.get("errors")]
    assert [(one["state"], one["errors"][0]["status"]) for one in failed] == [("STEP_FAILED", 429)]
    assert failed[0]["errors"][0]["error"].startswith("EXCEEDS_LIMIT")
    assert entry["responseStatus"] == 429
    return entry


async def test_a_step_too_many_is_refused_and_fails_the_run() -> None:
    async with limited(workflow_max_steps=3) as (qstash, app):
        await raw.trigger(qstash)
        for number in (1, 2, 3):
            assert (await raw.publish(qstash, raw.step(number, out="1"))).status_code == 200
        answer = await raw.publish(qstash, raw.step(4, "last", out="1"))
        assert answer.status_code == 429
        assert answer.json() == {"error": "EXCEEDS_LIMIT: a workflow run has at most 3 steps"}
        # The SDK takes 400, and it alone, to mean that the run has ended.
        assert (await raw.publish(qstash, raw.step(5))).status_code == 400
        await qstash.run_until_idle()
        await _failure(qstash)
        [told] = [one for one in app.got if "upstash-workflow-is-failure" in one.headers]
        assert json.loads(told.body)["status"] == 429


async def test_plans_and_calls_are_no_steps_and_a_batch_over_the_limit_is_refused_as_a_whole() -> None:
    async with limited(workflow_max_steps=2) as (qstash, app):
        pay = Receiver(now=lambda: qstash.now)
        qstash.mount("http://pay:4000", pay)
        await raw.trigger(qstash)
        plans = [raw.plan(target, 3) for target in (1, 2, 3)]
        spaced = raw.plan(4, 4).replace('":', '": ').replace(',"', ', "')
        assert (await raw.publish(qstash, *plans, spaced)).status_code == 200
        assert (await raw.batch(qstash, raw.call_item("wfr_1"))).status_code == 200
        await qstash.settle()
        results = [raw.step(number, out="1") for number in (1, 2, 3)]
        answer = await raw.publish(qstash, *results)
        assert answer.status_code == 429
        await qstash.run_until_idle()
        await _failure(qstash)
        # Nothing of a run that has failed is delivered but its failure callback.
        assert [one for one in app.got if b'"c3RlcCI' in one.body] == []


async def test_a_context_too_large_is_refused_and_fails_the_run() -> None:
    async with limited(workflow_max_context_bytes=1_000) as (qstash, _app):
        await raw.trigger(qstash, body="p" * 400)
        assert (await raw.publish(qstash, raw.step(1, out="1" * 400))).status_code == 200
        answer = await raw.publish(qstash, raw.step(2, out="1" * 200))
        assert answer.status_code == 429
        assert answer.json()["error"] == (
            "EXCEEDS_LIMIT: a workflow run has at most 1000 bytes of payload and step results"
        )
        await qstash.run_until_idle()
        await _failure(qstash)


async def test_a_payload_over_the_limit_starts_no_run() -> None:
    async with limited(workflow_max_context_bytes=1_000) as (qstash, app):
        headers = raw.run_headers("wfr_1", init=True)
        answer = await raw.batch(qstash, {"destination": raw.URL, "headers": headers, "body": "p" * 1_001})
        assert answer.status_code == 429
        await qstash.run_until_idle()
        assert app.got == []


async def test_an_event_that_takes_a_run_over_the_limit_fails_it_and_no_other() -> None:
    async with limited(workflow_max_steps=1) as (qstash, _app):
        for run_id in ("wfr_1", "wfr_2"):
            await raw.trigger(qstash, run_id)
            await raw.wait(qstash, "order-7", run_id)
        await raw.publish(qstash, raw.step(1, out="1"), run_id="wfr_1")
        answer = await qstash.client.post("/v2/notify/order-7", content=b"paid")
        assert answer.status_code == 200
        assert [one["workflowRunId"] for one in answer.json()] == ["wfr_1", "wfr_2"]
        await qstash.run_until_idle()
        assert (await _failure(qstash))["workflowRunId"] == "wfr_1"
        assert (await raw.run_log(qstash, "wfr_2"))["workflowState"] == "RUN_STARTED"


async def test_an_event_that_fails_a_run_with_two_waits_is_still_given_to_the_others() -> None:
    async with limited(workflow_max_steps=1) as (qstash, _app):
        for run_id in ("wfr_1", "wfr_2"):
            await raw.trigger(qstash, run_id)
            await raw.wait(qstash, "order-7", run_id)
            if run_id == "wfr_1":
                await raw.wait(qstash, "order-7", run_id, stepId=2, stepName="again")
        await raw.publish(qstash, raw.step(1, out="1"), run_id="wfr_1")
        answer = await qstash.client.post("/v2/notify/order-7", content=b"paid")
        assert answer.status_code == 200
        assert [one["workflowRunId"] for one in answer.json()] == ["wfr_1", "wfr_2"]
        await qstash.run_until_idle()
        assert (await _failure(qstash))["workflowRunId"] == "wfr_1"


async def _invoke(qstash: Harness, parent: str, child: str) -> Any:
    created_at = (await raw.run_log(qstash, parent))["workflowRunCreatedAt"]
    headers = {**raw.run_headers(child, init=True), "Upstash-Workflow-Invoke": "true"}
    envelope = {
        "body": "",
        "headers": {name: [value] for name, value in raw.run_headers(parent).items()},
        "workflowRunId": parent,
        "workflowRunCreatedAt": created_at,
        "workflowUrl": raw.URL,
        "step": {"stepId": 1, "stepName": "deeper", "stepType": "Invoke", "concurrent": 1},
    }
    return await qstash.client.post(f"/v2/publish/{raw.URL}", json=envelope, headers=headers)


async def test_an_invocation_too_deep_is_refused_and_fails_the_run_that_invokes() -> None:
    async with limited(workflow_max_invoke_depth=2) as (qstash, app):
        await raw.trigger(qstash, "wfr_0")
        assert (await _invoke(qstash, "wfr_0", "wfr_1")).status_code == 201
        assert (await _invoke(qstash, "wfr_1", "wfr_2")).status_code == 201
        answer = await _invoke(qstash, "wfr_2", "wfr_3")
        assert answer.status_code == 429
        assert answer.json()["error"] == (
            "EXCEEDS_LIMIT: workflow runs invoke one another to a depth of at most 2"
        )
        await qstash.run_until_idle()
        entry = await _failure(qstash)
        assert entry["workflowRunId"] == "wfr_2"
        # The run above it is told, and goes on.
        assert (await raw.run_log(qstash, "wfr_1"))["workflowState"] == "RUN_STARTED"
        [listed] = [
            json.loads(body)
            for one in app.got
            if one.headers["upstash-workflow-runid"] == "wfr_1" and one.body[:1] == b"["
            for _, body in raw.entries(one)[1:]
        ]
        assert json.loads(listed["out"]) == {"isFailed": True, "isCanceled": False}


async def test_what_counts_is_known_after_a_restart(emulator_db: str) -> None:
    async with limited(db=emulator_db, workflow_max_steps=2, workflow_max_invoke_depth=1) as (qstash, _app):
        await raw.trigger(qstash)
        spaced = raw.plan(3, 3).replace('":', '": ').replace(',"', ', "')
        await raw.publish(qstash, raw.plan(1, 3), raw.plan(2, 3), spaced, raw.step(1, out="1"))
        await raw.trigger(qstash, "wfr_0")
        await _invoke(qstash, "wfr_0", "wfr_child")
        await qstash.crash()
        assert (await raw.publish(qstash, raw.step(2, out="1"))).status_code == 200
        assert (await raw.publish(qstash, raw.step(3, out="1"))).status_code == 429
        assert (await _invoke(qstash, "wfr_child", "wfr_grandchild")).status_code == 429


async def test_the_bytes_of_a_context_are_known_after_a_restart(emulator_db: str) -> None:
    async with limited(db=emulator_db, workflow_max_context_bytes=1_000) as (qstash, _app):
        await raw.trigger(qstash, body="p" * 400)
        await raw.publish(qstash, raw.step(1, out="1" * 400))
        await qstash.crash()
        assert (await raw.publish(qstash, raw.step(2, out="1" * 200))).status_code == 429


@pytest.mark.parametrize("verb", ["resume", "restart"])
async def test_a_failed_run_goes_on_within_the_same_limits(verb: str) -> None:
    async with limited(workflow_max_steps=2) as (qstash, _app):
        await raw.trigger(qstash)
        for number in (1, 2, 3):
            await raw.publish(qstash, raw.step(number, out="1"))
        await qstash.run_until_idle()
        entry = await _failure(qstash)
        answer = await qstash.client.post(f"{_DLQ}/{verb}/{entry['dlqId']}")
        run_id = answer.json()["workflowRunId"]
        answer = await raw.publish(qstash, raw.step(4, out="1"), run_id=run_id)
        assert answer.status_code == (429 if verb == "resume" else 200)


async def test_the_javascript_sdks_run_fails_at_once_and_its_log_says_why(
    node_app: NodeApp, make_served: MakeServed
) -> None:
    qstash, served = await make_served(workflow_max_steps=2)
    async with httpx.AsyncClient(timeout=HANG_SECONDS) as http:
        app = App(node_app.origin, http)
        await app.configure(served)
        run_id = await app.trigger("/path", body="payload", headers={"x-test": "value"}, retries=3)
        await qstash.run_until_idle()
        assert (await app.state())["results"] == {}
        # The trigger, two results, of which the second asks for a third step; and the failure callback.
        assert await app.counts() == {"/path": 4}
        run = await app.log(run_id)
        assert run["workflowState"] == "RUN_FAILED"
        # The third was carried out, and the run failed behind it.
        assert shape(run)[-2:] == [
            ("sequential", [("step 3", "STEP_SUCCESS")]),
            ("next", [("", "STEP_FAILED")]),
        ]
        assert run["steps"][-1]["steps"][0]["errors"][0]["error"].startswith("EXCEEDS_LIMIT")
        [entry] = (await app.client("dlq.list"))["messages"]
        assert (entry["workflowRunId"], entry["responseStatus"]) == (run_id, 429)
