"""``upstash-workflow`` from PyPI, unmodified, in a FastAPI app: it has run, sleep and call (contract W10)."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fastapi import FastAPI
from qstash import AsyncQStash
from qstash import Receiver as Verifier
from upstash_workflow import AsyncWorkflowContext
from upstash_workflow.fastapi import Serve

from emulator.testing import Harness, Receiver
from tests.workflow.apps import Counted
from tests.workflow.node import Served

NOW_AT = 1_780_315_200_000
Route = Callable[[AsyncWorkflowContext[Any]], Awaitable[None]]


class App:
    """A FastAPI app with one workflow at ``http://app:3000/order``; ``seen`` is for the workflow's own use."""

    def __init__(self, qstash: Harness, served: Served) -> None:
        self._qstash = qstash
        self._served = served
        self.seen: list[Any] = []
        self.deliveries: list[dict[str, str]] = []

    def serve(self, route: Route, **options: Any) -> None:
        app = FastAPI()
        Serve(app).post(
            "/order",
            qstash_client=AsyncQStash(self._served.token, base_url=self._served.url),
            receiver=Verifier(self._served.current_key, self._served.next_key),
            **options,
        )(route)
        counted = Counted(app, self.deliveries)
        self._qstash.mount("http://app:3000", counted)

    async def start(self, payload: Any = None, **headers: str) -> None:
        answer = await self._qstash.client.post(
            "/v2/publish/http://app:3000/order", json=payload, headers=headers
        )
        assert answer.status_code == 201


@pytest.fixture
def app(qstash: Harness, served: Served) -> App:
    return App(qstash, served)


@pytest.fixture
def pay(qstash: Harness) -> Receiver:
    """A third party that charges."""
    receiver = Receiver(
        now=lambda: qstash.now, always=(201, {"Content-Type": "application/json"}, b'{"id":"ch_1"}')
    )
    qstash.mount("http://pay:4000", receiver)
    return receiver


async def _total() -> dict[str, int]:
    return {"total": 42}


async def test_the_worked_example_runs_to_its_end(qstash: Harness, app: App, pay: Receiver) -> None:
    async def order(context: AsyncWorkflowContext[Any]) -> None:
        price = await context.run("price", _total)
        await context.sleep("cool-off", 2)
        held = await context.run("reserve", lambda: "held")
        charge = await context.call(
            "charge",
            url="http://pay:4000/charge",
            method="POST",
            body={"amount": price["total"]},
            headers={"x-idem": "7"},
        )
        app.seen.append((context.request_payload, price, held, charge.status, charge.body, qstash.now))

    app.serve(order)
    await app.start({"orderId": 7, "qty": 2}, **{"Upstash-Forward-X-Tenant": "acme"})
    await qstash.run_until_idle()
    assert app.seen == [
        ({"orderId": 7, "qty": 2}, {"total": 42}, "held", 201, {"id": "ch_1"}, NOW_AT + 2_000)
    ]
    # The publish that the SDK answers with a trigger; init, price, cool-off, reserve, the call's report and result.
    assert len(app.deliveries) == 7
    assert [one["x-tenant"] for one in app.deliveries] == ["acme"] * 7
    assert [one.get("upstash-workflow-sdk-version") for one in app.deliveries] == [
        None, "1", "1", "1", "1", None, "1",
    ]  # fmt: skip
    [charge] = pay.got
    assert (charge.method, charge.url, charge.body) == ("POST", "http://pay:4000/charge", b'{"amount": 42}')
    assert charge.headers["x-idem"] == "7"
    assert not any(name.startswith("upstash-workflow") for name in charge.headers)


async def test_a_publish_starts_a_run_and_a_trigger_says_why_it_cannot(qstash: Harness, app: App) -> None:
    """The page on workflows says so to authors in Python."""

    async def order(context: AsyncWorkflowContext[Any]) -> None:
        async def price() -> int:
            return 42

        found = await context.run("price", price)
        # A run that has ended before its first delivery is answered cannot fail any more.
        await context.sleep("a moment", 1)
        app.seen.append(found)

    app.serve(order)
    await app.start({"orderId": 7})
    await qstash.run_until_idle()
    assert app.seen == [42]
    answer = await qstash.client.post("/v2/trigger/http://app:3000/order", json={"orderId": 7})
    await qstash.run_until_idle()
    run = await qstash.workflow(answer.json()["workflowRunId"])
    run.assert_failed()
    assert any("trigger rest api is only usable" in (entry.error or "") for entry in qstash.logs)


async def test_a_weeks_sleep_passes_in_a_test(qstash: Harness, app: App) -> None:
    async def order(context: AsyncWorkflowContext[Any]) -> None:
        await context.sleep("a week", "7d")
        await context.sleep_until("until then", (NOW_AT + 8 * 86_400_000) / 1000)
        app.seen.append(qstash.now)

    app.serve(order)
    await app.start()
    await qstash.advance("7d")
    assert (len(app.deliveries), app.seen) == (3, [])
    await qstash.run_until_idle()
    assert (len(app.deliveries), app.seen) == (4, [NOW_AT + 8 * 86_400_000])


async def test_a_failing_step_is_retried_with_the_same_steps(qstash: Harness, app: App) -> None:
    failures = [ValueError("not yet"), ValueError("not yet")]

    def flaky() -> str:
        if failures:
            raise failures.pop()
        return "done"

    async def order(context: AsyncWorkflowContext[Any]) -> None:
        app.seen.append(await context.run("flaky", flaky))

    app.serve(order)
    await app.start()
    await qstash.run_until_idle()
    assert app.seen == ["done"]
    assert [one["upstash-retried"] for one in app.deliveries] == ["0", "0", "1", "2", "0"]


async def test_the_failure_function_hears_of_the_failed_step(qstash: Harness, app: App) -> None:
    def breaks() -> None:
        raise ValueError("my-error")

    async def order(context: AsyncWorkflowContext[Any]) -> None:
        await context.run("breaks", breaks)

    async def failed(context: Any, status: int, response: str, headers: dict[str, Any]) -> None:
        app.seen.append((context.request_payload, status, response, context.headers["x-tenant"]))

    app.serve(order, retries=1, failure_function=failed)
    await app.start({"n": 1}, **{"Upstash-Forward-X-Tenant": "acme"})
    await qstash.run_until_idle()
    assert app.seen == [({"n": 1}, 500, "my-error", "acme")]
    # The publish, the trigger and its retry, the failure callback.
    assert len(app.deliveries) == 4


async def test_a_failed_call_is_a_result(qstash: Harness, app: App, pay: Receiver) -> None:
    pay.always = (401, {}, b"no")

    async def order(context: AsyncWorkflowContext[Any]) -> None:
        answer = await context.call("charge", url="http://pay:4000/charge", retries=1)
        app.seen.append((answer.status, answer.body))

    app.serve(order)
    await app.start()
    await qstash.run_until_idle()
    assert (app.seen, len(pay.got)) == ([(401, "no")], 2)
    assert len(app.deliveries) == 4
