"""The old workflow client, a part of ``@upstash/qstash`` from npm, signatures on (contract W10).

It has run, sleep and call, announces no features, and is triggered by a plain publish: the first delivery brings the
payload, and the SDK answers it with a trigger. The numbers of requests are those of its own integration tests.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from emulator.testing import Harness
from tests.workflow.conftest import NOW_AT, on_real_ports
from tests.workflow.node import App


@pytest.fixture
async def qstash() -> AsyncIterator[Harness]:
    async with on_real_ports() as harness:
        yield harness


async def _start(qstash: Harness, app: App, path: str, payload: Any = None, **headers: str) -> None:
    answer = await qstash.client.post(f"/v2/publish/{app.origin}{path}", json=payload, headers=headers)
    assert answer.status_code == 201
    await qstash.run_until_idle()


async def _results(app: App) -> list[Any]:
    return list((await app.state())["results"].values())


async def test_steps_run_one_after_the_other(qstash: Harness, app: App) -> None:
    await _start(qstash, app, "/old/path", "my-payload")
    assert await _results(app) == ["processed processed my-payload"]
    assert await app.counts() == {"/old/path": 4}
    [run] = (await app.client("logs"))["runs"]
    assert run["workflowState"] == "RUN_SUCCESS"


async def test_sleeps_end_when_their_time_has_come(qstash: Harness, app: App) -> None:
    until = NOW_AT // 1000 + 86_400
    await _start(qstash, app, "/old/sleep", {"until": until})
    assert await _results(app) == [[123, 234, 345]]
    assert qstash.now == (until + 2) * 1000
    assert await app.counts() == {"/old/sleep": 7}


async def test_parallel_steps_beside_a_sleep(qstash: Harness, app: App) -> None:
    await _start(qstash, app, "/old/parallel", {"amount": 10})
    assert await _results(app) == [[10, "mail", None]]
    assert await app.counts() == {"/old/parallel": 13}


async def test_calls_bring_what_the_third_party_answers(qstash: Harness, app: App) -> None:
    await _start(
        qstash, app, "/old/call", "my-payload", **{"Upstash-Forward-Authentication": "Bearer secret"}
    )
    assert await _results(app) == [["POST 'post-value' '\"post-payload\"'", "GET 'get-value' ''"]]
    assert await app.counts() == {"/old/call": 7, "/old-third-party": 2}


async def test_a_route_that_returns_at_once_starts_no_run(qstash: Harness, app: App) -> None:
    await _start(qstash, app, "/old/call", "my-payload", **{"Upstash-Forward-Authentication": "Bearer other"})
    assert await app.counts() == {"/old/call": 1}
    assert (await app.client("logs"))["runs"] == []


async def test_the_failure_function_hears_of_the_failed_step(qstash: Harness, app: App) -> None:
    await _start(qstash, app, "/old/fails", {"n": 1})
    [failure] = (await app.state())["failures"]
    assert int(failure.pop("length")) > 0
    # Its payload comes out of the list of steps, since this client does not ask for the initial body alone.
    assert failure == {"failStatus": 500, "failResponse": "my-error", "payload": {"n": 1}}
    assert await app.counts() == {"/old/fails": 3}
