"""Steps with settings of their own, in the form that the SDKs announce (contract W5.8)."""

import base64
import json

import httpx
import pytest

from emulator.testing import Harness, Receiver
from tests.workflow import raw

_FEATURES = f"{raw.FEATURES},WF_StepConfig"


@pytest.fixture
def app(qstash: Harness) -> Receiver:
    receiver = Receiver(now=lambda: qstash.now, always=(200, raw.SDK))
    qstash.mount(raw.APP, receiver)
    return receiver


async def _ask(qstash: Harness, name: str, **settings: str) -> httpx.Response:
    headers = raw.run_headers("wfr_1", init=False, Upstash_Workflow_CallType="stepConfig", **settings) | {
        "Upstash-Feature-Set": _FEATURES
    }
    return await raw.batch(qstash, {"destination": raw.URL, "headers": headers, "body": raw.step(1, name)})


async def test_a_step_is_run_with_its_own_settings_before_the_triggers(
    qstash: Harness, app: Receiver
) -> None:
    await raw.trigger(
        qstash, Upstash_Retries="7", Upstash_Retry_Delay="5000",
        Upstash_Flow_Control_Key="run", Upstash_Flow_Control_Value="parallelism=4",
    )  # fmt: skip
    await qstash.settle()
    app.answers = [(500, raw.SDK, b"")]
    answer = await _ask(
        qstash, "charge", Upstash_Retries="1",
        Upstash_Flow_Control_Key="step", Upstash_Flow_Control_Value="rate=2",
    )  # fmt: skip
    await qstash.run_until_idle()
    [message_id] = [one["messageId"] for one in answer.json()]
    first, again = (one for one in app.got if one.headers["upstash-message-id"] == message_id)
    assert first.headers["upstash-workflow-step-config"] == "true"
    assert first.headers["upstash-max-retries"] == "1"
    # Field by field for retries and their delay, flow control as a whole.
    assert again.at - first.at == 5_000
    assert first.headers["upstash-flow-control-key"] == "step"
    assert first.headers["upstash-flow-control-value"] == "rate=2,period=1"
    assert [base64.b64decode(one["body"]) for one in json.loads(first.body)] == [b"payload"]


async def test_it_is_no_step_of_the_run(qstash: Harness, app: Receiver) -> None:
    await raw.trigger(qstash)
    await _ask(qstash, "charge")
    await raw.batch(
        qstash,
        {"destination": raw.URL, "headers": raw.run_headers("wfr_1"), "body": raw.step(1, "charge", out="1")},
    )
    await qstash.run_until_idle()
    last = json.loads(app.got[-1].body)
    assert [base64.b64decode(one["body"]) for one in last[1:]] == [raw.step(1, "charge", out="1").encode()]
    steps = [step for group in (await raw.run_log(qstash, "wfr_1"))["steps"] for step in group["steps"]]
    assert [step.get("stepName") for step in steps if "stepType" in step] == ["init", "charge"]


async def test_the_same_request_is_one_message_and_another_right_behind_it_is_refused(
    qstash: Harness, app: Receiver
) -> None:
    await raw.trigger(qstash)
    [first] = (await _ask(qstash, "charge")).json()
    [again] = (await _ask(qstash, "charge")).json()
    assert again == {"messageId": first["messageId"], "deduplicated": True}
    assert (await _ask(qstash, "reserve")).status_code == 400
    await raw.batch(
        qstash, {"destination": raw.URL, "headers": raw.run_headers("wfr_1"), "body": raw.step(1)}
    )
    assert (await _ask(qstash, "reserve")).status_code == 200


async def test_which_message_was_the_last_is_known_after_a_restart(emulator_db: str) -> None:
    async with Harness(db=emulator_db) as qstash:
        qstash.mount(raw.APP, Receiver(now=lambda: qstash.now, always=(200, raw.SDK)))
        await raw.trigger(qstash)
        await _ask(qstash, "charge")
        await qstash.crash()
        assert (await _ask(qstash, "reserve")).status_code == 400
        await raw.publish(qstash, raw.step(1))
        await qstash.crash()
        assert (await _ask(qstash, "reserve")).status_code == 200


async def test_a_step_that_keeps_failing_fails_the_run_and_a_resume_takes_it_up(
    qstash: Harness, app: Receiver
) -> None:
    await raw.trigger(qstash)
    await qstash.settle()
    app.always = (500, {**raw.SDK, "Upstash-Error-Step-Name": "charge"}, b"")
    await _ask(qstash, "charge", Upstash_Retries="0")
    await qstash.run_until_idle()
    assert (await raw.run_log(qstash, "wfr_1"))["workflowState"] == "RUN_FAILED"
    [entry] = (await qstash.client.get("/v2/workflows/dlq")).json()["messages"]
    assert entry["failureFunctionState"] == "CALLBACK_FAIL"
    app.always = (200, raw.SDK)
    app.got.clear()
    await qstash.client.post(f"/v2/workflows/dlq/resume/{entry['dlqId']}")
    await qstash.run_until_idle()
    assert len(app.got) == 1


async def test_the_failed_step_is_named_as_its_endpoint_says(qstash: Harness, app: Receiver) -> None:
    app.always = (500, {**raw.SDK, "Upstash-Error-Step-Name": "charge"}, b"")
    await raw.trigger(qstash, Upstash_Retries="0")
    await qstash.run_until_idle()
    groups = (await raw.run_log(qstash, "wfr_1"))["steps"]
    assert groups[-1]["steps"][0]["stepName"] == "charge"
