"""A run that has ended is started anew from a step: what came before is kept, what comes after is done again."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from qstash import AsyncQStash
from qstash import Receiver as Verifier
from typer.testing import CliRunner
from upstash_workflow import AsyncWorkflowContext
from upstash_workflow.fastapi import Serve

from emulator.broker.workflow import rerun as rerunning
from emulator.broker.workflow.rerun import EndedRun
from emulator.cli.main import app as cli
from emulator.errors import Conflict
from emulator.store.store import SqlStore
from emulator.store.workflow_queries import find_run, load_ended
from emulator.testing import Harness, Receiver
from tests.bounds import HANG_SECONDS
from tests.workflow import raw
from tests.workflow.apps import Counted
from tests.workflow.mini_sdk import Context, MiniSdk
from tests.workflow.node import Served

DONE: Counter[str] = Counter()


def work(name: str) -> str:
    DONE[name] += 1
    if name == BROKEN.get("step"):
        raise httpx.TransportError("broken")
    return f"{name} {DONE[name]}"


BROKEN: dict[str, str] = {}


async def order(context: Context) -> Any:
    price = await context.run("price", lambda: work("price"))
    await context.sleep("cool-off", 60)
    charge = await context.call("charge", "http://pay:4000/charge")
    email, stock = await context.parallel(
        ("email", "Run", lambda: work("email")), ("stock", "Run", lambda: work("stock"))
    )
    event = await context.wait("approval", "order-7")
    last = await context.run("ship", lambda: work("ship"))
    return [context.payload, price, charge["body"], email, stock, event, last]


@pytest.fixture
def pay(qstash: Harness) -> Receiver:
    receiver = Receiver(now=lambda: qstash.now, always=(201, {}, b"charged"))
    qstash.mount("http://pay:4000", receiver)
    return receiver


@pytest.fixture
async def sdk(qstash: Harness, pay: Receiver) -> AsyncIterator[MiniSdk]:
    DONE.clear()
    BROKEN.clear()
    made = MiniSdk(order, qstash.client, raw.URL)
    qstash.mount(raw.APP, made)
    await raw.trigger(qstash)
    await qstash.run_until_idle()
    yield made
    qstash.assert_invariants()


async def rerun(qstash: Harness, run_id: str = "wfr_1", code: int = 201, **asked: Any) -> Any:
    answer = await qstash.client.post(f"/emulator/runs/{run_id}/rerun", json=asked)
    assert answer.status_code == code, answer.text
    return answer.json()


async def finish(qstash: Harness, run_id: str, event: str) -> Any:
    await qstash.run_until_idle()
    run = await (await qstash.workflow(run_id)).notify("order-7", event)
    await qstash.run_until_idle()
    return await qstash.workflow(run.id)


FIRST = {"price": 1, "email": 1, "stock": 1, "ship": 1}
# What is done once more, and how many deliveries that takes: the last kept one, then plans, reports and results.
CASES = [
    (1, {"price", "email", "stock", "ship"}, 1, 11),
    ("cool-off", {"email", "stock", "ship"}, 1, 10),
    (3, {"email", "stock", "ship"}, 1, 9),
    (4, {"email", "stock", "ship"}, 0, 7),
    ("stock", {"email", "stock", "ship"}, 0, 7),
    ("approval", {"ship"}, 0, 3),
    (7, {"ship"}, 0, 2),
]


@pytest.mark.parametrize(("step", "again", "calls", "deliveries"), CASES)
async def test_results_before_the_step_are_kept_and_the_rest_is_done_again(
    qstash: Harness,
    sdk: MiniSdk,
    pay: Receiver,
    step: int | str,
    again: set[str],
    calls: int,
    deliveries: int,
) -> None:
    old = await finish(qstash, "wfr_1", "one")
    assert DONE == FIRST
    before = sdk.deliveries
    made = await rerun(qstash, fromStep=step)
    if step == 7:
        await qstash.run_until_idle()
        new = await qstash.workflow(made["runId"])
    else:
        new = await finish(qstash, made["runId"], "two")
    assert {name: 2 if name in again else 1 for name in FIRST} == DONE
    assert len(pay.got) == 1 + calls
    assert sdk.deliveries - before == deliveries
    parts = ["price", "email", "stock"]
    price, email, stock = (f"{name} {2 if name in again else 1}" for name in parts)
    event = '"one"' if step == 7 else '"two"'
    new.assert_succeeded(["payload", price, "charged", email, stock, event, "ship 2"])
    assert new.step_names == old.step_names
    # The old run stays as it was.
    assert await qstash.workflow("wfr_1") == old


async def test_another_payload_takes_the_place_of_the_first(qstash: Harness, sdk: MiniSdk) -> None:
    await finish(qstash, "wfr_1", "one")
    for step in (1, 6):
        made = await rerun(qstash, fromStep=step, input='{"orderId": 8}')
        new = await finish(qstash, made["runId"], "two")
        assert new.response[0] == '{"orderId": 8}'
        assert (await qstash.workflow("wfr_1")).response[0] == "payload"


async def test_a_failed_run_begins_at_the_step_that_failed_and_survives_a_crash(
    qstash: Harness, sdk: MiniSdk
) -> None:
    BROKEN["step"] = "ship"
    failed = await finish(qstash, "wfr_1", "one")
    failed.assert_failed()
    tried = DONE["ship"]
    BROKEN.clear()
    made = await rerun(qstash, fromStep=7)
    await qstash.crash()
    await qstash.run_until_idle()
    new = await qstash.workflow(made["runId"])
    # A crash in mid-delivery may have done the last step twice.
    new.assert_succeeded()
    assert new.response[:-1] == ["payload", "price 1", "charged", "email 1", "stock 1", '"one"']
    assert DONE["ship"] > tried
    # It is an attempt of its own: the failed run is still there to be resumed.
    assert len((await qstash.client.get("/v2/workflows/dlq")).json()["messages"]) == 1


async def test_what_cannot_be_meant_is_said(qstash: Harness, sdk: MiniSdk) -> None:
    underway = await rerun(qstash, code=409, fromStep=1)
    assert underway["error"] == "run wfr_1 is still under way; cancel it first"
    await (await qstash.workflow("wfr_1")).cancel()
    for step in (0, 9, "nobody", -1):
        told = (await rerun(qstash, code=400, fromStep=step))["error"]
        assert f"invalid fromStep {step!r}: the run has the steps 1 (price), 2 (cool-off), 3 (charge)" in told
        assert told.endswith("6 (that came next)")
    assert "fromStep" in (await rerun(qstash, code=400))["error"]
    assert "fromStep" in (await rerun(qstash, code=400, fromStep=[1]))["error"]
    assert "frmStep" in (await rerun(qstash, code=400, fromStep=1, frmStep=1))["error"]
    assert (await rerun(qstash, "wfr_none", code=404, fromStep=1))[
        "error"
    ] == "workflow run wfr_none not found"
    assert len((await qstash.client.get("/emulator/runs")).json()["runs"]) == 1


async def test_a_run_whose_message_is_no_longer_kept_leaves_none_behind(
    qstash: Harness, sdk: MiniSdk
) -> None:
    await (await qstash.workflow("wfr_1")).cancel()

    def read(store: SqlStore) -> EndedRun:
        stored = find_run(store, qstash.runtime.tenant.id, "wfr_1", None)
        assert stored is not None
        return load_ended(store, stored)

    ended = replace(await qstash.runtime.read(read), messages={})
    workflows = qstash.runtime.broker.state.workflows
    with pytest.raises(Conflict, match="is no longer kept"):
        rerunning.rerun(workflows, ended, from_step=3, payload=None, now_at=ended.ended_at or 0)
    assert workflows.runs == {}
    assert len((await qstash.client.get("/emulator/runs")).json()["runs"]) == 1


async def test_others_are_answered_while_a_runs_results_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def short(context: Context) -> Any:
        return await context.run("price", lambda: "12")

    loop, loops_thread = asyncio.get_running_loop(), threading.get_ident()
    begun, may_end = asyncio.Event(), threading.Event()
    decode = json.loads

    def decode_slowly(text: Any, **options: Any) -> Any:
        if isinstance(text, bytes) and b"stepName" in text and threading.get_ident() != loops_thread:
            loop.call_soon_threadsafe(begun.set)
            assert may_end.wait(HANG_SECONDS)
        return decode(text, **options)

    async with Harness(db=str(tmp_path / "q.db")) as qstash:
        qstash.mount(raw.APP, MiniSdk(short, qstash.client, raw.URL))
        await raw.trigger(qstash)
        await qstash.run_until_idle()
        monkeypatch.setattr(json, "loads", decode_slowly)
        restarting = asyncio.create_task(rerun(qstash, fromStep=1))
        decoding = asyncio.create_task(begun.wait())
        try:
            await asyncio.wait((restarting, decoding), return_when=asyncio.FIRST_COMPLETED)
            assert begun.is_set(), "the results were decoded on the event loop"
            assert (await qstash.client.get("/v2/keys")).status_code == 200
            assert not restarting.done()
        finally:
            may_end.set()
            decoding.cancel()
        assert (await restarting)["fromStep"] == 1


async def test_the_published_python_sdk_goes_on_from_the_third_step_by_the_command(
    qstash: Harness, served: Served
) -> None:
    DONE.clear()
    BROKEN.clear()
    seen: list[Any] = []

    async def route(context: AsyncWorkflowContext[Any]) -> None:
        async def step(name: str) -> str:
            return work(name)

        one = await context.run("one", lambda: step("one"))
        await context.sleep("two", 2)
        three = await context.run("three", lambda: step("three"))
        four = await context.run("four", lambda: step("four"))
        seen.append((context.request_payload, one, three, four))

    app = FastAPI()
    client = AsyncQStash(served.token, base_url=served.url)
    verifier = Verifier(served.current_key, served.next_key)
    Serve(app).post("/order", qstash_client=client, receiver=verifier)(route)
    counted = Counted(app)
    qstash.mount("http://app:3000", counted)
    await qstash.client.post("/v2/publish/http://app:3000/order", json={"orderId": 7})
    await qstash.run_until_idle()
    [run] = (await qstash.client.get("/emulator/runs")).json()["runs"]
    assert seen == [({"orderId": 7}, "one 1", "three 1", "four 1")]
    before = len(counted.got)

    async def command(*arguments: str, stdin: str | None = None) -> str:
        servers = ["--url", served.url, "--token", served.token]
        words = ["runs", "rerun", run["runId"], *arguments, *servers]
        made = await asyncio.to_thread(CliRunner().invoke, cli, words, input=stdin)
        assert made.exit_code == 0, made.output
        await qstash.run_until_idle()
        return made.stdout.strip()

    again = await command("--from-step", "3")
    assert seen[1:] == [({"orderId": 7}, "one 1", "three 2", "four 2")]
    # The sleep's delivery once more, the third step's result, the fourth's.
    assert len(counted.got) - before == 3
    assert DONE == {"one": 1, "three": 2, "four": 2}
    assert (await qstash.workflow(again)).step_names == ["one", "two", "three", "four"]
    named = await command("--from-step", "four", "--input", "@-", "--json", stdin='{"orderId": 8}')
    assert json.loads(named)["fromStep"] == 4
    assert seen[2:] == [({"orderId": 8}, "one 1", "three 1", "four 3")]
