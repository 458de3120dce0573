"""Runs as a test sees and disturbs them: typed steps, assertions, faults by step, crashes."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from emulator.errors import NotFound
from emulator.testing import Harness, Receiver
from tests.workflow import raw
from tests.workflow.mini_sdk import Context, MiniSdk

_DONE: Counter[str] = Counter()


async def _order(context: Context) -> Any:
    def work(name: str) -> str:
        _DONE[name] += 1
        return name

    await context.run("price", lambda: work("price"))
    await context.sleep("cool-off", 60)
    charge = await context.call("charge", "http://pay:4000/charge")
    email, stock = await context.parallel(
        ("email", "Run", lambda: work("email")), ("stock", "Run", lambda: work("stock"))
    )
    event = await context.wait("approval", "order-7")
    return [charge["body"], email, stock, event]


@pytest.fixture
def pay(qstash: Harness) -> Receiver:
    receiver = Receiver(now=lambda: qstash.now, always=(201, {}, b"charged"))
    qstash.mount("http://pay:4000", receiver)
    return receiver


@pytest.fixture
async def order(qstash: Harness, pay: Receiver) -> MiniSdk:
    """The workflow of this module, mounted and triggered."""
    _DONE.clear()
    sdk = MiniSdk(_order, qstash.client, raw.URL)
    qstash.mount(raw.APP, sdk)
    await raw.trigger(qstash)
    return sdk


async def test_a_run_is_looked_at_step_by_step(qstash: Harness, order: MiniSdk) -> None:
    run = await qstash.workflow("wfr_1")
    assert (run.state, run.step_names) == ("RUN_STARTED", ["price", "cool-off"])
    assert run.step("price").assert_succeeded("price").kind == "Run"
    with pytest.raises(AssertionError, match="step 'cool-off' is STEP_PROGRESS"):
        run.step("cool-off").assert_succeeded()
    with pytest.raises(AssertionError, match=r"no step 'prize'; it has \['price', 'cool-off'\]"):
        run.step("prize")
    await qstash.run_until_idle()
    run = await qstash.workflow("wfr_1")
    run.step("charge").assert_called("http://pay:4000/charge", status=201)
    assert [step.name for step in run.steps if step.is_parallel] == ["email", "stock"]
    run.step("approval").assert_waits_for("order-7")
    with pytest.raises(AssertionError, match="wfr_1 is RUN_STARTED, not RUN_SUCCESS"):
        run.assert_succeeded()
    run = await run.notify("order-7", {"by": "ann"})
    run.assert_succeeded(["charged", "email", "stock", '{"by": "ann"}'])
    assert run.step("approval").result == {"by": "ann"}
    with pytest.raises(NotFound):
        await qstash.workflow("wfr_2")


async def test_a_run_is_cancelled_by_hand(qstash: Harness, order: MiniSdk) -> None:
    run = await (await qstash.workflow("wfr_1")).cancel()
    run.assert_cancelled()
    with pytest.raises(NotFound):
        await run.cancel()
    await qstash.run_until_idle()
    assert _DONE == {"price": 1}


async def test_a_fault_strikes_by_the_steps_name(qstash: Harness, order: MiniSdk, pay: Receiver) -> None:
    qstash.faults.add("answer", step="charge", status=503, count=1)
    await qstash.run_until_idle()
    run = await qstash.workflow("wfr_1")
    run.step("charge").assert_called("http://pay:4000/charge", status=503)
    assert pay.got == []
    qstash.faults.clear()
    qstash.faults.add("refuse", step="approval", count=1)
    run = await run.notify("order-7")
    assert run.state == "RUN_STARTED"
    await qstash.run_until_idle()
    assert (await qstash.workflow("wfr_1")).retries == 1


@pytest.mark.parametrize("moments", [(0, 30, 31, 60), (59, 1, 0, 0)])
async def test_a_crash_at_any_moment_loses_no_step(
    qstash: Harness, order: MiniSdk, moments: tuple[int, ...]
) -> None:
    for seconds in moments:
        await qstash.advance(f"{seconds}s")
        await qstash.crash()
    await qstash.run_until_idle()
    run = await (await qstash.workflow("wfr_1")).notify("order-7", "data")
    run.assert_succeeded(["charged", "email", "stock", '"data"'])
    assert _DONE == {"price": 1, "email": 1, "stock": 1}


async def test_an_event_that_is_kept_survives_a_crash(qstash: Harness, order: MiniSdk) -> None:
    run = await qstash.workflow("wfr_1")
    await run.notify("order-7", "early")
    await qstash.crash()
    await qstash.run_until_idle()
    (await qstash.workflow("wfr_1")).assert_succeeded(["charged", "email", "stock", '"early"'])


async def test_a_reset_forgets_runs(qstash: Harness, order: MiniSdk) -> None:
    await qstash.client.post("/emulator/reset")
    await qstash.run_until_idle()
    assert (await qstash.client.get("/v2/workflows/logs")).json() == {"cursor": "", "runs": []}
    assert await raw.trigger(qstash)
    await asyncio.sleep(0)
    (await qstash.workflow("wfr_1")).assert_active()
