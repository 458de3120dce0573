"""Cancelling by filter is an action of its own: tracked, sliced, resumed after a crash (contract 2.13)."""

from pathlib import Path
from typing import Any

import pytest

from emulator.broker import bulk_actions
from emulator.http.v2 import bulk_actions as api
from emulator.testing import Harness
from tests.workflow import raw


@pytest.fixture
def slices_of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_actions, "SLICE", 10)


async def _delayed(qstash: Harness, count: int, label: str = "x") -> None:
    item = {"destination": "https://example.com", "headers": {"Upstash-Delay": "1h", "Upstash-Label": label}}
    for start in range(0, count, 500):
        answer = await qstash.client.post("/v2/batch", json=[item] * min(500, count - start))
        assert answer.status_code == 200


async def _cancelled(qstash: Harness) -> int:
    logs = await qstash.client.get("/v2/logs", params={"state": "CANCELED", "count": 1000})
    return len(logs.json()["logs"])


async def _actions(qstash: Harness, **parameters: Any) -> list[dict[str, Any]]:
    actions: list[dict[str, Any]] = (await qstash.client.get("/v2/bulkActions", params=parameters)).json()[
        "bulkActions"
    ]
    return actions


async def test_every_match_goes_whatever_the_count_says(qstash: Harness) -> None:
    """The newest SDK sends ``count=100`` with every filter."""
    await _delayed(qstash, 150)
    await _delayed(qstash, 2, label="y")
    answer = await qstash.client.delete("/v2/messages", params={"label": "x", "count": 100})
    assert (answer.status_code, answer.json()) == (202, {"cancelled": 150})
    assert await _cancelled(qstash) == 150


async def test_an_action_is_accepted_at_once_and_can_be_watched(qstash: Harness, slices_of_ten: None) -> None:
    await _delayed(qstash, 35)
    answer = await qstash.client.delete("/v2/messages", params={"label": "x", "async": "true"})
    assert answer.status_code == 202
    assert answer.json()["cancelled"] == 35
    action_id = answer.json()["actionId"]
    at_first = (await qstash.client.get(f"/v2/bulkActions/{action_id}")).json()
    assert (at_first["kind"], at_first["total"], at_first["filter"]) == ("cancel", 35, {"label": ["x"]})
    await qstash.settle()
    done = (await qstash.client.get(f"/v2/bulkActions/{action_id}")).json()
    assert (done["state"], done["processed"], done["completedAt"]) == ("FINISHED", 35, qstash.now)
    assert await _cancelled(qstash) == 35
    assert (await qstash.client.get("/v2/bulkActions/bulk_none")).status_code == 404
    assert (await qstash.client.get(f"/v2/workflows/bulkActions/{action_id}")).status_code == 404


async def test_a_json_body_may_ask_for_it_too(qstash: Harness) -> None:
    await _delayed(qstash, 3)
    answer = await qstash.client.request("DELETE", "/v2/messages", json={"label": "x", "async": True})
    assert answer.json()["cancelled"] == 3
    assert "actionId" in answer.json()
    await qstash.settle()
    assert await _cancelled(qstash) == 3


async def test_the_same_filter_in_progress_is_the_same_action(qstash: Harness, slices_of_ten: None) -> None:
    await _delayed(qstash, 35)
    parameters = {"label": "x", "async": "true"}
    first = await qstash.client.delete("/v2/messages", params=parameters)
    # Nothing of it is done yet: its first slice waits for the store.
    again = await qstash.client.delete("/v2/messages", params=parameters)
    assert again.json() == first.json()
    await qstash.settle()
    later = await qstash.client.delete("/v2/messages", params=parameters)
    assert later.json()["actionId"] != first.json()["actionId"]


async def test_what_is_published_after_the_action_stays(qstash: Harness, slices_of_ten: None) -> None:
    await _delayed(qstash, 25)
    await qstash.client.delete("/v2/messages", params={"async": "true"})
    await _delayed(qstash, 5, label="later")
    await qstash.settle()
    assert await _cancelled(qstash) == 25


async def test_a_crash_in_the_middle_changes_nothing_in_the_end(tmp_path: Path, slices_of_ten: None) -> None:
    async with Harness(db=str(tmp_path / "bulk.db")) as qstash:
        await _delayed(qstash, 95)
        answer = await qstash.client.delete("/v2/messages", params={"label": "x", "async": "true"})
        path = f"/v2/bulkActions/{answer.json()['actionId']}"
        while (await qstash.client.get(path)).json()["processed"] < 30:
            pass
        await qstash.crash()
        cut_off = (await qstash.client.get(path)).json()
        assert cut_off["state"] == "IN_PROGRESS"
        await qstash.settle()
        done = (await qstash.client.get(path)).json()
        assert (done["state"], done["total"], done["processed"]) == ("FINISHED", 95, 95)
        assert await _cancelled(qstash) == 95


async def test_an_answer_that_would_take_too_long_is_429_and_the_action_goes_on(
    qstash: Harness, slices_of_ten: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "PATIENCE_SECONDS", 0.0)
    await _delayed(qstash, 35)
    answer = await qstash.client.delete("/v2/messages", params={"label": "x"})
    assert answer.status_code == 429
    await qstash.settle()
    assert await _cancelled(qstash) == 35


async def test_one_action_too_many_is_refused(qstash: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_actions, "MOST_IN_PROGRESS", 0)
    answer = await qstash.client.delete("/v2/messages", params={"label": "x"})
    assert (answer.status_code, answer.json()["error"]) == (412, "quota maxBulkActions exceeded")


async def test_actions_are_listed_newest_first_page_by_page_for_seven_days(qstash: Harness) -> None:
    for label in ("a", "b", "c"):
        await _delayed(qstash, 1, label=label)
        await qstash.client.delete("/v2/messages", params={"label": label})
        await qstash.advance("1s")
    assert [one["filter"]["label"] for one in await _actions(qstash)] == [["c"], ["b"], ["a"]]
    first = (await qstash.client.get("/v2/bulkActions", params={"count": 2})).json()
    second = (await qstash.client.get("/v2/bulkActions", params={"cursor": first["cursor"]})).json()
    assert [one["filter"]["label"] for one in first["bulkActions"] + second["bulkActions"]] == [
        ["c"],
        ["b"],
        ["a"],
    ]
    assert "cursor" not in second
    assert await _actions(qstash, state="IN_PROGRESS") == []
    assert len(await _actions(qstash, state="FINISHED")) == 3
    await qstash.advance("7d")
    assert await _actions(qstash) == []


async def test_runs_are_cancelled_by_filter_as_an_action(qstash: Harness, slices_of_ten: None) -> None:
    for number in range(12):
        await raw.trigger(qstash, f"wfr_{number}", Upstash_Delay="1h")
    for wanted in ({"host": "other"}, {"path": "/order/x"}):
        none = await qstash.client.delete("/v2/workflows/runs", params=wanted)
        assert none.json() == {"cancelled": 0}
    both = {"host": "app", "path": "/order", "async": "true"}
    answer = await qstash.client.delete("/v2/workflows/runs", params=both)
    assert answer.json()["cancelled"] == 12
    await qstash.settle()
    action = (await qstash.client.get(f"/v2/workflows/bulkActions/{answer.json()['actionId']}")).json()
    assert (action["state"], action["processed"]) == ("FINISHED", 12)
    assert (await raw.run_log(qstash, "wfr_3"))["workflowState"] == "RUN_CANCELED"
    logs = (
        await qstash.client.get("/v2/workflows/logs", params={"host": "app:3000", "path": "/order"})
    ).json()
    assert len(logs["runs"]) == 10
