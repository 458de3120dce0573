"""One run of an id at a time (contract W4.5)."""

import json

import httpx
import pytest

from emulator.testing import Harness, Receiver
from tests.workflow import raw

_EXISTS = "a workflow already exists, can not initialize a new one with same id"


@pytest.fixture
def app(qstash: Harness) -> Receiver:
    receiver = Receiver(now=lambda: qstash.now, always=(200, raw.SDK))
    qstash.mount(raw.APP, receiver)
    return receiver


async def _start(qstash: Harness, body: str, **more: str) -> httpx.Response:
    headers = raw.run_headers("wfr_one", init=True, **more)
    return await raw.batch(qstash, {"destination": raw.URL, "headers": headers, "body": body})


async def test_another_start_of_a_run_in_progress_is_refused(qstash: Harness, app: Receiver) -> None:
    [first] = (await _start(qstash, "one")).json()
    refused = await _start(qstash, "two")
    assert (refused.status_code, refused.json()["error"]) == (400, _EXISTS)
    rest = await qstash.client.post(
        f"/v2/trigger/{raw.URL}", content="two", headers={"Upstash-Workflow-RunId": "wfr_one"}
    )
    assert (rest.status_code, rest.json()["error"]) == (400, _EXISTS)
    await qstash.settle()
    assert [one.headers["upstash-message-id"] for one in app.got] == [first["messageId"]]


async def test_the_same_start_within_ten_minutes_is_the_same_run(qstash: Harness, app: Receiver) -> None:
    [first] = (await _start(qstash, "one")).json()
    again = await _start(qstash, "one")
    assert again.json() == [{"messageId": first["messageId"], "deduplicated": True}]
    await qstash.advance("10m")
    late = await _start(qstash, "one")
    assert (late.status_code, late.json()["error"]) == (400, _EXISTS)


async def test_an_id_is_free_again_when_its_run_has_ended(qstash: Harness, app: Receiver) -> None:
    await _start(qstash, "one")
    await qstash.client.delete("/v2/workflows/runs/wfr_one?cancel=true")
    assert (await _start(qstash, "two")).status_code == 200


async def test_invoking_the_id_of_a_run_in_progress_fails_the_parents_step(
    qstash: Harness, app: Receiver
) -> None:
    await _start(qstash, "one")
    await raw.trigger(qstash, "wfr_parent")
    envelope = {
        "body": "two",
        "headers": raw.run_headers("wfr_parent"),
        "workflowRunId": "wfr_parent",
        "workflowRunCreatedAt": qstash.now,
        "workflowUrl": raw.URL,
        "step": {"stepId": 1, "stepName": "child", "stepType": "Invoke", "concurrent": 1},
    }
    headers = raw.run_headers("wfr_one", init=True, Upstash_Workflow_Invoke="true")
    invoked = await qstash.client.post(
        f"/v2/publish/{raw.URL}", content=json.dumps(envelope), headers=headers
    )
    # A 400 would mean to the SDK that the parent has ended; this one it reports.
    assert (invoked.status_code, invoked.json()["error"]) == (412, _EXISTS)
    headers["Upstash-Workflow-RunId"] = "wfr_child"
    for status in (201, 202):
        again = await qstash.client.post(
            f"/v2/publish/{raw.URL}", content=json.dumps(envelope), headers=headers
        )
        assert again.status_code == status, again.text
