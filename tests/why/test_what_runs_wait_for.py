"""A list of workflow runs says what each waits for: in the terminal, to the dashboard, to an agent, and in a test."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.why.places import Scene, agent, in_the_terminal, plain
from tests.workflow.mini_sdk import Context, MiniSdk, Stop
from tests.workflow.raw import run_headers

pytestmark = pytest.mark.xdist_group("mcp")

APP = "http://app:3000/order"

Work = Callable[[Context], Awaitable[Any]]


async def sleeping(context: Context) -> None:
    await context.sleep("cool-off", 60)


async def awaiting(context: Context) -> None:
    await context.wait("approval", "order-7", "1h")


async def refused(context: Context) -> None:
    await context.run("charge", _refuse)


def _refuse() -> None:
    raise httpx.TransportError("the card was refused")


async def two_branches(context: Context) -> None:
    await context.parallel(("reply", "Wait", ("order-8", "2h")), ("nap", "SleepFor", 600))


async def at_once(context: Context) -> Any:
    return await context.run("price", lambda: "42")


async def start(scene: Scene, work: Work, run_id: str = "wfr_1", **headers: str) -> None:
    """Trigger a run of ``work``."""
    scene.qstash.mount("http://app:3000", MiniSdk(work, scene.qstash.client, APP))
    lines = run_headers(run_id, init=True) | {"Upstash-Workflow-Url": APP}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await scene.qstash.client.post("/v2/batch", json=[{"destination": APP, "headers": lines}])
    assert answer.is_success, answer.text
    await scene.qstash.settle()


async def said(scene: Scene, run_id: str = "wfr_1") -> dict[str, str]:
    """Return the text of each place about the run."""
    listed = (await scene.qstash.client.get("/emulator/runs")).json()["runs"]
    row = next(one for one in listed if one["runId"] == run_id)
    shown = (await scene.qstash.client.get(f"/emulator/runs/{run_id}")).json()["summary"]
    assert shown["outcome"] == row["outcome"], "the list and the run's own page say the same"
    async with agent(scene) as client:
        told = (await client.call_tool("list_runs", {})).structured_content
    assert told is not None
    [to_an_agent] = [one for one in told["runs"] if one["runId"] == run_id]
    return {
        "terminal": plain(await in_the_terminal(scene, "runs")),
        "page": row["outcome"]["sentence"],
        "agent": to_an_agent["explanation"],
        "test": (await scene.qstash.workflow(run_id)).why,
    }


@pytest.mark.parametrize(
    ("work", "words", "seconds"),
    [
        pytest.param(sleeping, "step cool-off sleeps", 60, id="a sleep"),
        pytest.param(awaiting, "it waits for event order-7, or for its deadline", 3600, id="an event"),
    ],
)
async def test_each_place_says_what_a_run_waits_for_and_until_when(
    scene: Scene, work: Work, words: str, seconds: int
) -> None:
    began_at = scene.qstash.now
    await start(scene, work)
    found = await said(scene)
    assert {place: words in text for place, text in found.items()} == dict.fromkeys(found, True), found
    assert "; next at 2026-06-01T1" in found["agent"]
    [run] = (await scene.qstash.client.get("/emulator/runs")).json()["runs"]
    assert run["outcome"]["nextAt"] == began_at + seconds * 1000


async def test_a_delivery_that_is_made_again_says_why_and_when(scene: Scene) -> None:
    await start(scene, refused)
    for text in (await said(scene)).values():
        assert "its last delivery failed: the destination answered with status 500" in text
    [run] = (await scene.qstash.client.get("/emulator/runs")).json()["runs"]
    assert run["outcome"]["nextAt"] > scene.qstash.now


async def test_a_delivery_that_is_held_back_says_by_what(scene: Scene) -> None:
    await scene.qstash.client.post("/v2/flowControl/app/pause")
    await start(scene, at_once, Upstash_Flow_Control_Key="app", Upstash_Flow_Control_Value="rate=1,period=1m")
    for text in (await said(scene)).values():
        assert "its first delivery: flow-control key app is paused" in text


async def test_branches_are_named_side_by_side_and_the_earliest_time_counts(scene: Scene) -> None:
    began_at = scene.qstash.now
    await start(scene, two_branches)
    for text in (await said(scene)).values():
        assert "event order-8, or for its deadline; step nap sleeps" in text
    [run] = (await scene.qstash.client.get("/emulator/runs")).json()["runs"]
    assert run["outcome"]["nextAt"] == began_at + 600_000


async def test_a_run_that_invoked_another_names_it(scene: Scene) -> None:
    async def work(context: Context) -> None:
        if context.run_id == "wfr_child":
            await context.sleep("cool-off", 60)
            return
        step = {"stepId": 1, "stepName": "ask", "stepType": "Invoke", "concurrent": 1}
        envelope = {
            "workflowRunId": context.run_id, "workflowUrl": APP, "body": "", "step": step,
            "headers": {name: [value] for name, value in run_headers(context.run_id).items()},
        }  # fmt: skip
        headers = run_headers("wfr_child", init=True) | {
            "Upstash-Workflow-Url": APP, "Upstash-Workflow-Invoke": "true",
        }  # fmt: skip
        answer = await scene.qstash.client.post(f"/v2/publish/{APP}", json=envelope, headers=headers)
        assert answer.is_success, answer.text
        raise Stop

    await start(scene, work)
    for text in (await said(scene)).values():
        assert "it waits for the run that it invoked, wfr_child" in text
    assert "cool-off sleeps" in (await said(scene, "wfr_child"))["page"]


async def test_a_run_that_has_ended_waits_for_nothing(scene: Scene) -> None:
    await start(scene, at_once)
    for place, text in (await said(scene)).items():
        assert "wait" not in text, place
        assert "the run succeeded" in text, place
