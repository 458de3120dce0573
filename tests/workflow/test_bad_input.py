"""Bad input gets a clear answer that names the field and the value; nothing breaks, and nothing is said to be ours."""

from typing import Any

import pytest

from emulator.testing import Harness, Receiver
from tests.workflow import raw


@pytest.fixture(autouse=True)
async def run(qstash: Harness) -> None:
    """A run that is active."""
    qstash.mount(raw.APP, Receiver(now=lambda: qstash.now, always=(200, raw.SDK)))
    await raw.trigger(qstash)
    await qstash.settle()


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "words"),
    [
        ("POST", "/v2/trigger/not-a-url", b"", 400, "a workflow is triggered by its URL"),
        ("POST", "/v2/trigger/ftp://x", b"", 400, "scheme"),
        ("POST", "/v2/batch/trigger", b"{}", 400, "expected a JSON array"),
        ("POST", "/v2/batch/trigger", b'[{"body": 1}]', 400, "destination is missing"),
        ("POST", "/v2/wait/e", b"no json", 400, "not JSON"),
        ("POST", "/v2/wait/e", b"{}", 400, "Upstash-Workflow-RunId"),
        ("POST", "/v2/wait/%00", b"{}", 400, "U+0000"),
        ("POST", "/v2/notify/wfr_never/e", b"", 404, "wfr_never"),
        ("GET", "/v2/workflows/runs/wfr_never", b"", 404, "wfr_never"),
        ("DELETE", "/v2/workflows/runs/wfr_never", b"", 404, "wfr_never"),
        ("DELETE", "/v2/workflows/runs?lable=x", b"", 400, "lable"),
        ("GET", "/v2/workflows/events?state=NOPE", b"", 400, "RUN_STARTED"),
        ("GET", "/v2/workflows/logs?workflowRuns=x", b"", 400, "created at"),
        ("GET", "/v2/workflows/logs?cursor=x", b"", 400, "cursor"),
        ("GET", "/v2/workflows/dlq?failureFunctionState=x", b"", 400, "CALLBACK_FAIL"),
        ("GET", "/v2/workflows/dlq/1-1", b"", 404, "1-1"),
        ("DELETE", "/v2/workflows/dlq", b"", 400, "dlqIds"),
        ("POST", "/v2/workflows/dlq/resume", b"", 400, "dlqIds"),
        ("POST", "/v2/workflows/dlq/resume/1-1", b"", 404, "1-1"),
        ("POST", "/v2/workflows/dlq/callback/1-1", b"", 404, "1-1"),
    ],
)
async def test_the_answer_says_what_is_wrong(
    qstash: Harness, method: str, path: str, content: bytes, status: int, words: str
) -> None:
    answer = await qstash.client.request(method, path, content=content)
    assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text


@pytest.mark.parametrize(
    "body",
    [
        "", "no json", "[]", "7", '{"stepId":"x","stepType":7}', '{"stepId":[1],"targetStep":{}}', "[" * 5_000,
        '{"stepId":1,"stepType":"SleepFor","sleepFor":1e999}', '{"stepId":1,"sleepUntil":NaN,"out":{"a":1}}',
        '{"stepId":0,"targetStep":1,"concurrent":"many"}', '{"stepId":1,"stepName":"\\ud800 \\u0000"}',
        '{"stepId":0,"targetStep":2,"concurrent":-1}', '{"stepId":1,"stepType":"Wait","out":"no base64"}',
    ],
)  # fmt: skip
async def test_a_step_that_makes_no_sense_is_delivered_and_shown_all_the_same(
    qstash: Harness, body: str
) -> None:
    assert (await raw.publish(qstash, body)).status_code == 200
    await qstash.settle()
    run = await raw.run_log(qstash)
    assert run["workflowState"] == "RUN_STARTED"
    for path in ("/v2/workflows/events", "/emulator/runs", "/emulator/runs/wfr_1"):
        assert (await qstash.client.get(path)).status_code == 200
    assert (await qstash.workflow("wfr_1")).state == "RUN_STARTED"


@pytest.mark.parametrize(
    "envelope",
    [
        {}, {"workflowRunId": 7}, {"workflowRunId": "wfr_1", "workflowUrl": "nowhere"},
        {"workflowRunId": "wfr_1", "workflowUrl": raw.URL, "step": []},
        {"workflowRunId": "wfr_1", "workflowUrl": raw.URL, "step": {}, "headers": {"a": 1}},
        {"workflowRunId": "wfr_1", "workflowUrl": raw.URL, "step": {}, "headers": {}, "body": "x"},
    ],
)  # fmt: skip
async def test_an_invocation_that_makes_no_sense_is_no_ended_run(
    qstash: Harness, envelope: dict[str, Any]
) -> None:
    headers = raw.run_headers("wfr_2", init=True, Upstash_Workflow_Invoke="true")
    answer = await qstash.client.post(f"/v2/publish/{raw.URL}", json=envelope, headers=headers)
    assert (answer.status_code, "invalid" in answer.json()["error"]) == (412, True), answer.text


async def test_what_no_database_can_keep_is_replaced(qstash: Harness) -> None:
    await raw.finish(qstash, result="a\0b")
    assert (await raw.run_log(qstash))["workflowRunResponse"] == "a\N{REPLACEMENT CHARACTER}b"
