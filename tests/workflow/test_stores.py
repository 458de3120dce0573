"""Runs on both databases: their whole life, a restart in its middle, failure, resume, and every list."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from emulator.testing import Harness, Receiver
from tests.workflow import raw
from tests.workflow.conftest import NOW_AT
from tests.workflow.mini_sdk import Context, MiniSdk


@pytest.fixture
async def qstash(emulator_db: str) -> AsyncIterator[Harness]:
    async with Harness(db=emulator_db, now_at=NOW_AT) as harness:
        yield harness


async def test_a_run_lives_through_a_restart_a_failure_and_a_resume(qstash: Harness) -> None:
    did: Counter[str] = Counter()
    broken = True

    async def workflow(context: Context) -> Any:
        def work(name: str) -> str:
            did[name] += 1
            if broken and name == "breaks":
                raise RuntimeError("broken")
            return name

        await context.run("first", lambda: work("first"))
        await context.sleep("nap", 60)
        branches = await context.parallel(
            ("breaks", "Run", lambda: work("breaks")),
            ("charge", "Call", "http://pay:4000/charge"),
            ("late", "SleepFor", 0),
            ("wait", "Wait", ("event", "1d")),
        )
        return [branches[0], branches[1]["body"], branches[3]]

    pay = Receiver(now=lambda: qstash.now, always=(200, {}, b"charged"))
    qstash.mount("http://pay:4000", pay)
    qstash.mount(raw.APP, MiniSdk(workflow, qstash.client, raw.URL))
    await raw.trigger(qstash, Upstash_Retries="1", Upstash_Label="orders")
    await qstash.settle()
    (await qstash.client.post("/v2/notify/wfr_1/event", content=b"early")).raise_for_status()
    await qstash.crash()
    await qstash.run_until_idle()
    failed = await qstash.workflow("wfr_1")
    failed.assert_failed()
    assert failed.step("breaks").state == "STEP_FAILED"
    assert failed.step("charge").assert_succeeded().result == {"status": 200, "body": "charged"}
    assert (did["first"], did["breaks"], len(pay.got)) == (1, 2, 1)

    queries = ({"label": "orders"}, {"workflowUrl": raw.URL}, {"responseStatus": "500"}, {"fromDate": NOW_AT})
    entry: dict[str, Any] = {}
    for query in queries:
        [entry] = (await qstash.client.get("/v2/workflows/dlq", params=query)).json()["messages"]
        assert (entry["workflowRunId"], entry["responseStatus"]) == ("wfr_1", 500)
    assert (await qstash.client.get("/v2/workflows/dlq", params={"label": "other"})).json()["messages"] == []
    assert (await qstash.client.get(f"/v2/workflows/dlq/{entry['dlqId']}")).json() == entry

    broken = False
    answer = await qstash.client.post(f"/v2/workflows/dlq/resume/{entry['dlqId']}")
    await qstash.run_until_idle()
    resumed = await qstash.workflow(answer.json()["workflowRunId"])
    resumed.assert_succeeded(["breaks", "charged", "early"])
    assert (did["first"], did["breaks"], len(pay.got)) == (1, 3, 1)
    assert (await qstash.client.get(f"/v2/workflows/dlq/{entry['dlqId']}")).status_code == 404

    [message_id] = {step.details["messageId"] for step in resumed.steps if step.name == "first"}
    message = (await qstash.client.get(f"/v2/messages/{message_id}")).json()
    assert '"stepName": "first"' in message["body"]

    runs = (await qstash.client.get("/v2/workflows/logs", params={"count": "1"})).json()
    assert [run["workflowRunId"] for run in runs["runs"]] == [resumed.id]
    more = (await qstash.client.get("/v2/workflows/logs", params={"cursor": runs["cursor"]})).json()
    assert [run["workflowRunId"] for run in more["runs"]] == ["wfr_1"]
    events = (await qstash.client.get("/v2/workflows/events", params={"workflowRunId": "wfr_1"})).json()[
        "events"
    ]
    assert {event["state"] for event in events} >= {
        "RUN_STARTED",
        "STEP_SUCCESS",
        "STEP_FAILED",
        "RUN_FAILED",
    }


async def test_many_runs_are_cancelled_by_a_filter(qstash: Harness) -> None:
    for number in range(5):
        await raw.trigger(qstash, f"wfr_{number}", Upstash_Delay="1h", Upstash_Label=f"l{number % 2}")
    for query, count in (({"label": "l0", "count": "2"}, 3), ({"workflowUrl": "http://app"}, 2), ({}, 0)):
        answer = await qstash.client.delete("/v2/workflows/runs", params=query)
        assert answer.json() == {"cancelled": count}
    await asyncio.sleep(0)
    assert qstash.next_due is None


_URLS = (
    "http://app:3000/order",
    "http://app:3000/Order?x=/order",
    "http://APP/order?to=/deep/order#/x",
    "http://app/a/order",
    "http://app/100%25_x",
    "http://app/100%25yx",
    "https://user@app:8443",
    "http://[::1]:3000/order",
    "http://[::1]/?/order",
    "http://app.example/order",
)


async def _urls(qstash: Harness, **query: str) -> set[str]:
    answer = await qstash.client.get("/v2/workflows/logs", params={**query, "count": "100"})
    return {run["workflowUrl"] for run in answer.json()["runs"]}


async def test_runs_are_found_by_what_python_takes_for_the_host_and_the_path_of_their_url(
    qstash: Harness,
) -> None:
    for number, url in enumerate(_URLS):
        headers = {
            **raw.run_headers(f"wfr_{number}", init=True),
            "Upstash-Workflow-Url": url,
            "Upstash-Delay": "1h",
        }
        answer = await raw.batch(qstash, {"destination": url, "headers": headers, "body": ""})
        assert answer.status_code == 200, answer.text
    paths = {urlsplit(url).path or "/" for url in _URLS}
    for path in (*paths, "/ORDER", "/100%25%", "/rder", "/%", "_order"):
        wanted = {url for url in _URLS if (urlsplit(url).path or "/") == path}
        assert await _urls(qstash, path=path) == wanted, path
    authorities = {urlsplit(url).netloc.rpartition("@")[2].lower() for url in _URLS}
    hosts = {f"[{name}]" if ":" in name else name for url in _URLS if (name := urlsplit(url).hostname)}
    for host in (*authorities, *hosts, "App", "ap%", "a_p", "app:"):
        wanted = {url for url in _URLS if host.lower() in (_authority(url), _host(url))}
        assert await _urls(qstash, host=host) == wanted, host
    # A beginning of the URL, letter by letter.
    assert await _urls(qstash, workflowUrl="http://app:3000/o", workflowUrlExactMatch="false") == {_URLS[0]}
    assert await _urls(qstash, workflowUrl="http://app/100%25_", workflowUrlExactMatch="false") == {_URLS[4]}


def _authority(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2].lower()


def _host(url: str) -> str:
    name = urlsplit(url).hostname or ""
    return f"[{name}]" if ":" in name else name


async def test_a_stricter_plan_stalls_no_run(tmp_path: Path) -> None:
    """A run under way keeps what it was started with, and its failure is told."""
    database = str(tmp_path / "q.db")
    failing = (500, raw.SDK)
    async with Harness(db=database, now_at=NOW_AT) as qstash:
        qstash.mount(raw.APP, Receiver(now=lambda: qstash.now, always=failing))
        await raw.trigger(qstash, Upstash_Retries="9", Upstash_Failure_Callback_Retries="9")
        await qstash.settle()
    async with Harness(db=database, now_at=NOW_AT, quota="payg") as qstash:
        app = Receiver(now=lambda: qstash.now, always=failing)
        qstash.mount(raw.APP, app)
        await qstash.run_until_idle()
        (await qstash.workflow("wfr_1")).assert_failed()
        told = [one for one in app.got if one.headers.get("upstash-workflow-is-failure") == "true"]
        assert len(told) == 10
