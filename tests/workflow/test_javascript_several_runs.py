"""Workflows that start, call, notify or invoke one another, by ``@upstash/workflow`` from npm, signatures on.

Each route has the steps of the vendor's integration test of that name, and each test its exact number of requests
(contract W12). One differs: ``quota-error`` is 15 there and 16 here, the sum of its steps, which the test
adds up; the contract says that they do, and leaves open where the real service saves one.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from emulator.testing import Harness
from tests.workflow.conftest import on_real_ports
from tests.workflow.node import App, shape


@pytest.fixture
async def qstash() -> AsyncIterator[Harness]:
    async with on_real_ports() as harness:
        yield harness


async def test_waits_end_with_an_event_or_with_their_time(qstash: Harness, app: App) -> None:
    run_id = await app.trigger("/waits", body="payload", headers={"x-test": "value"}, retries=0)
    await qstash.advance("1s")
    # An endpoint that has answered notifies the run on its own.
    await app.finish()
    await qstash.run_until_idle()
    results = (await app.state())["results"]
    assert results.pop(run_id) == {
        "gone": [True, None],
        "told": [200, "notifying"],
        "plain": [False, "plain text"],
        "text": [False, "text ☃"],
        "object": [False, {"some": ["data"]}],
        "other": [1, 1],
    }
    assert list(results.values()) == [[1, 1]]
    assert await app.counts() == {"/waits": 16, "/notifier": 1, "/notifier-workflow": 7}


async def test_a_trigger_of_something_that_is_no_workflow_fails_at_once(qstash: Harness, app: App) -> None:
    run_id = await app.trigger("/trigger-non-workflow", retries=0)
    await qstash.run_until_idle()
    run = (await app.state())["results"][run_id]
    assert run["workflowState"] == "RUN_FAILED"
    assert shape(run) == [("sequential", [("init", "STEP_SUCCESS")]), ("next", [("", "STEP_FAILED")])]
    [error] = run["steps"][1]["steps"][0]["errors"]
    assert error["error"] == (
        "detected a non-workflow destination for trigger/invoke. "
        "make sure you are sending the request to the correct endpoint"
    )
    assert error["body"] == "not a workflow"
    # The second one is the failure callback, to the workflow's own URL.
    assert await app.counts() == {"/trigger-non-workflow": 4, "/not-a-workflow": 2}


async def test_calls_beyond_the_quota_fail_their_runs_without_retries(qstash: Harness, app: App) -> None:
    run_id = await app.trigger("/quota/quota", body="payload", headers={"x-test": "value"}, retries=0)
    await qstash.run_until_idle()
    state = await app.state()
    looked = state["results"][run_id]
    for name, kind in (("single", "next"), ("parallel", "parallel")):
        run = looked[name]
        assert (run["workflowState"], [group["type"] for group in run["steps"]]) == (
            "RUN_FAILED",
            ["sequential", kind],
        )
        [failed] = [step for step in run["steps"][1]["steps"] if step["state"] == "STEP_FAILED"]
        assert failed["errors"][0]["status"] == 489
        assert "quota maxRetries exceeded" in failed["errors"][0]["body"]
    assert looked["parallel"]["steps"][1]["steps"][1]["stepName"] == "huge"
    # Runs that were called, not triggered, have no failure function to be told.
    assert state["failures"] == []
    counts = await app.counts()
    assert {path: count for path, count in counts.items() if path.startswith("/quota")} == {
        # The trigger; two plans, two reports, two results; the sleep; two looks.
        "/quota/quota": 10,
        # The call, and the run that it starts: it fails where it asks for too much.
        "/quota/single": 2,
        # The same, with two plans of which one fails.
        "/quota/parallel": 4,
    }
    assert counts.get("/third-party", 0) == 0


async def test_runs_are_triggered_over_the_rest_api(qstash: Harness, app: App) -> None:
    run_id = await app.trigger(
        "/fetch/main", body={"test": "payload"}, headers={"x-test": "value"}, retries=0
    )
    await qstash.run_until_idle()
    state = await app.state()
    found = state["results"].pop(run_id)
    assert found["hits"] == [[False, "POST", {"result": "hooked"}]] * 2
    assert list(state["results"].values()) == [True, True]
    failed = found["run"]
    assert (failed["workflowRunId"], failed["workflowRunCreatedAt"], failed["workflowState"]) == (
        found["failed"]["workflowRunId"],
        found["failed"]["workflowCreatedAt"],
        "RUN_FAILED",
    )
    assert shape(failed) == [("sequential", [("init", "STEP_SUCCESS")]), ("next", [("", "STEP_FAILED")])]
    assert failed["steps"][1]["steps"][0]["errors"][0]["error"] == (
        "trigger rest api is only usable with sdk versions after v1.0.0 major version"
    )
    assert state["failures"] == []
    # The run of a publisher that does not know the SDK costs one delivery more than the other.
    assert await app.counts() == {"/fetch/main": 9, "/fetch/hooked": 4 + 3, "/fetch-target": 2}


async def test_invoked_runs_answer_the_run_that_invoked_them(qstash: Harness, app: App) -> None:
    run_id = await app.trigger("/invoke/one")
    await qstash.advance("1h")
    assert (await app.state())["results"] == {
        run_id: {
            "done": [[{"late": False}, 1, "invoke-label", "yes"], False, False],
            "called": "string",
            "failed": [None, True, False],
        }
    }
    assert await app.counts() == {
        "/invoke/one": 8,
        "/invoke/two": 7,
        "/invoke/three": 2,
        "/invoke/four": 3,
        "/invoke/branchOne": 4,
        "/invoke/branchTwo": 6,
        "/third-party": 1,
    }
    invoked = await app.log("wfr_invoked-two")
    assert invoked["invoker"]["workflowRunId"] == run_id
    assert invoked["label"] == "invoke-label"


async def test_a_parent_that_fails_while_its_child_works(qstash: Harness, app: App) -> None:
    # It hears of the failure at once; that its look comes after the child's end is what the route is about.
    qstash.faults.add("delay", destination=f"{app.origin}/parent/top", step="invoke", delay="5s")
    run_id = await app.trigger("/parent/top")
    await qstash.run_until_idle()
    found = (await app.state())["results"][run_id]
    assert found["isFailed"] is True
    assert shape(found["run"])[1] == (
        "parallel", [("invoke child", "STEP_SUCCESS"), ("failing step", "STEP_FAILED")],
    )  # fmt: skip
    assert await app.counts() == {"/parent/top": 4, "/parent/failingParent": 4, "/parent/child": 3}


_IDENTIFIED = "Run id identified. isFirstInvocation: false, unknownSdk: false"
_ENDED = "Workflow endpoint execution completed successfully."


def _submitted(step: Any) -> str:
    return f'Submitted step "{step["stepName"]}" with messageId: {step["messageId"]}.'


async def test_the_sdks_own_log_names_the_messages(qstash: Harness, app: App) -> None:
    run_id = await app.trigger("/logs/logged", body="test", retries=0)
    await qstash.advance("10s")
    state = await app.state()
    children = state["results"][run_id]
    steps = {
        name: [group["steps"][0] for group in (await app.log(child))["steps"]]
        for name, child in children.items()
    }
    calls = (await qstash.client.get("/v2/logs", params={"url": f"{app.origin}/third-party"})).json()
    call = {"stepName": "call step", "messageId": calls["events"][0]["messageId"]}
    expected = {
        "runAndSleep": [
            *[_IDENTIFIED] * 3,
            "before run step", _submitted(steps["runAndSleep"][1]), "after run step",
            "before sleep step", _submitted(steps["runAndSleep"][2]), "after sleep step",
            *[_ENDED] * 3,
        ],
        "call": [*[_IDENTIFIED] * 2, "before call step", _submitted(call), "after call step", *[_ENDED] * 2],
        "waitInVain": [*[_IDENTIFIED] * 2, "before wait step", "after wait step", *[_ENDED] * 2],
    }  # fmt: skip
    for name, lines in expected.items():
        child = children[name]
        ends = [
            f'runCompleted "{child}"', f"Deleting workflow run {child} from QStash.",
            f"Workflow run {child} deleted from QStash successfully.",
        ]  # fmt: skip
        # The end of one request and the beginning of the next may be told in either order.
        assert sorted(state["log"][child]) == sorted(["runStarted", *lines, *ends])
    assert await app.counts() == {
        "/logs/logged": 7, "/logs/runAndSleep": 3, "/logs/call": 3, "/logs/waitInVain": 2, "/third-party": 1,
    }  # fmt: skip
