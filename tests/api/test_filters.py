"""Every filter that a query declares selects from its list."""

from typing import Any

import pytest

from emulator.http.dashboard.messages import MessageListQuery
from emulator.http.dashboard.runs import RunListQuery
from emulator.http.filters import conditions
from emulator.http.models.dlq import DlqQuery
from emulator.http.models.logs import LogQuery
from emulator.http.models.messages import CancelQuery
from emulator.http.models.workflow import CancelRunsQuery, DeadRunQuery, RunLogQuery
from emulator.store.dashboard_queries import summaries
from emulator.store.lists import ACTIVE_RUNS, DEAD_LETTERS, FAILED_RUNS, LOGS, PENDING_MESSAGES, RUNS, Listing

_LISTS: list[tuple[type, Listing[Any]]] = [
    (LogQuery, LOGS),
    (DlqQuery, DEAD_LETTERS),
    (CancelQuery, PENDING_MESSAGES),
    (RunLogQuery, RUNS),
    (CancelRunsQuery, ACTIVE_RUNS),
    (DeadRunQuery, FAILED_RUNS),
    (MessageListQuery, summaries(())),
    (RunListQuery, RUNS),
]


@pytest.mark.parametrize(("query", "listing"), _LISTS)
def test_every_condition_of_a_query_is_one_of_its_list(query: type, listing: Listing[Any]) -> None:
    asked = {condition.field for _, condition in conditions(query)}
    assert asked
    assert asked <= listing.criteria.keys()


async def test_a_body_may_say_whether_urls_are_compared_as_a_whole(qstash) -> None:
    wanted = {"workflowUrl": "https://example.com/flow", "workflowUrlExactMatch": True}
    answer = await qstash.client.request("DELETE", "/v2/workflows/runs", json=wanted)
    assert (answer.status_code, answer.json()) == (202, {"cancelled": 0})


async def test_failed_runs_are_described_with_the_filters_that_they_take(qstash) -> None:
    described = (await qstash.client.get("/openapi.json")).json()["paths"]["/v2/workflows/dlq"]["get"]
    for parameter in described["parameters"]:
        answer = await qstash.client.get("/v2/workflows/dlq", params={parameter["name"]: "1"})
        assert "unknown parameter" not in answer.text
