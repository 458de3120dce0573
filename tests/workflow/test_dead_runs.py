"""The dead letter queue of runs, by the REST API alone (contract W6.5 and W7)."""

from typing import Any

import pytest

from emulator.testing import Harness, Receiver
from tests.workflow import raw

_DLQ = "/v2/workflows/dlq"


@pytest.fixture
def app(qstash: Harness) -> Receiver:
    receiver = Receiver(now=lambda: qstash.now, always=(200, raw.SDK))
    qstash.mount(raw.APP, receiver)
    return receiver


async def _fail(qstash: Harness, app: Receiver, count: int, **more: str) -> list[Any]:
    """Fail so many runs at their first step. Return their entries, the oldest run's first."""
    app.always = (500, raw.SDK, b"broken")
    for number in range(count):
        await raw.trigger(qstash, f"wfr_{number}", Upstash_Retries="0", **more)
    await qstash.run_until_idle()
    app.always = (200, raw.SDK)
    app.got.clear()
    entries: list[Any] = (await qstash.client.get(_DLQ, params={"order": "earliestFirst"})).json()["messages"]
    assert [entry["workflowRunId"] for entry in entries] == [f"wfr_{number}" for number in range(count)]
    return entries


@pytest.mark.parametrize("verb", ["resume", "restart"])
async def test_failed_runs_go_on_together_with_options_that_override(
    qstash: Harness, app: Receiver, verb: str
) -> None:
    first, second, third = await _fail(qstash, app, 3)
    answer = await qstash.client.post(
        f"{_DLQ}/{verb}",
        params={"dlqIds": [first["dlqId"], third["dlqId"]]},
        headers={"Upstash-Label": "again", "Upstash-Delay": "1h"},
    )
    started = answer.json()["workflowRuns"]
    assert len({one["workflowRunId"] for one in started} - {"wfr_0", "wfr_2"}) == 2
    await qstash.settle()
    assert app.got == []
    await qstash.run_until_idle()
    assert {one.headers["upstash-workflow-runid"] for one in app.got} == {
        one["workflowRunId"] for one in started
    }
    for one in started:
        assert (await raw.run_log(qstash, one["workflowRunId"]))["label"] == "again"
    left = (await qstash.client.get(_DLQ)).json()["messages"]
    assert [entry["dlqId"] for entry in left] == [second["dlqId"]]


async def test_one_failed_run_is_restarted_and_one_is_thrown_away(qstash: Harness, app: Receiver) -> None:
    first, second = await _fail(qstash, app, 2)
    answer = await qstash.client.post(f"{_DLQ}/restart/{first['dlqId']}")
    await qstash.run_until_idle()
    [delivery] = app.got
    assert delivery.headers["upstash-workflow-runid"] == answer.json()["workflowRunId"]
    assert [body for _, body in raw.entries(delivery)] == ["payload"]
    assert (await qstash.client.delete(f"{_DLQ}/{second['dlqId']}")).status_code == 200
    assert (await qstash.client.delete(f"{_DLQ}/{second['dlqId']}")).status_code == 404
    assert (await qstash.client.get(_DLQ)).json() == {"cursor": "", "messages": []}


async def test_a_failure_callback_that_is_on_its_way_is_taken_back(qstash: Harness, app: Receiver) -> None:
    app.always = (500, raw.SDK, b"broken")
    await raw.trigger(qstash, Upstash_Retries="0")
    # The run has failed, and its failure callback, too, for the first time.
    await qstash.settle()
    [entry] = (await qstash.client.get(_DLQ)).json()["messages"]
    assert entry["failureCallbackInfo"]["state"] == "CALLBACK_INPROGRESS"
    calls = len(app.got)
    answer = await qstash.client.delete(f"{_DLQ}/callback/{entry['dlqId']}")
    assert answer.json() == {"workflowRunId": "wfr_1", "workflowCreatedAt": entry["workflowCreatedAt"]}
    await qstash.run_until_idle()
    assert len(app.got) == calls
    [entry] = (await qstash.client.get(_DLQ)).json()["messages"]
    assert entry["failureCallbackInfo"]["state"] == "CALLBACK_CANCELED"
