"""Workflow runs on the dashboard: the picture of a run, and what somebody does with it."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from emulator.testing import Listener
from tests.dashboard.conftest import Desk
from tests.workflow import raw
from tests.workflow.mini_sdk import Context, MiniSdk

pytestmark = pytest.mark.xdist_group("browser")


class _Workflow:
    """A workflow behind a real port, whose step *reserve* fails while ``is_broken``."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.is_broken = False
        self.priced = self.reserved = 0
        client = httpx.AsyncClient(
            base_url=desk.api.base_url,
            headers={"Authorization": desk.api.headers["authorization"]},
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        self.sdk = MiniSdk(self._run, client, "")

    async def _run(self, context: Context) -> Any:
        await context.run("price", self._price)
        await context.sleep("cool-off", 60)
        await context.run("reserve", self._reserve)
        await context.parallel(
            ("email", "Run", lambda: "sent"), ("charge", "Call", f"{self._desk.inbox_url}/charge")
        )
        return await context.wait("approval", "order-7")

    def _price(self) -> int:
        self.priced += 1
        return 42

    def _reserve(self) -> str:
        self.reserved += 1
        if self.is_broken:
            raise httpx.TransportError("out of stock")
        return "held"

    def trigger(self, run_id: str) -> None:
        headers = {
            **raw.run_headers(run_id, init=True), "Upstash-Workflow-Url": self.sdk.url, "Upstash-Retries": "1",
            "Upstash-Label": "orders",
        }  # fmt: skip
        item = {"destination": self.sdk.url, "headers": headers, "body": '{"orderId":7}'}
        assert self._desk.api.post("/v2/batch", json=[item]).status_code == 200


@pytest.fixture
def workflow(desk: Desk) -> Iterator[_Workflow]:
    made = _Workflow(desk)
    with Listener(made.sdk) as listener:
        made.sdk.url = f"{listener.url}/order"
        yield made


def test_a_run_as_a_picture_and_the_event_it_waits_for(desk: Desk, workflow: _Workflow) -> None:
    desk.receiver.always = (201, {}, b"charged")
    workflow.trigger("wfr_order")
    desk.turn("61s")
    page = desk.page
    desk.open("runs")
    row = page.locator("main tbody tr")
    expect(row).to_contain_text("under way")
    expect(row).to_contain_text("orders")
    row.get_by_role("link", name="wfr_order").click()
    steps = page.get_by_role("group", name="Steps on a time axis")
    for name in (
        "price, Run: done", "cool-off, SleepFor: done, 1m", "reserve, Run: done", "email, Run: done",
        "charge, Call: done",
    ):  # fmt: skip
        expect(steps.get_by_role("button", name=name)).to_be_visible()
    steps.get_by_role("button", name="charge, Call").click()
    expect(page.get_by_label("Step charge")).to_contain_text(f"POST {desk.inbox_url}/charge → 201")
    steps.get_by_role("button", name="approval, Wait: waits for order-7").click()
    page.get_by_label("Event data").fill(json.dumps({"by": "ann"}))
    page.get_by_role("button", name="Notify").click()
    desk.turn("1s")
    expect(page.locator("main .head .chip")).to_have_text("succeeded")
    expect(page.get_by_label("What it returned")).to_contain_text("ann")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_a_failed_run_is_resumed_and_a_new_one_cancelled(desk: Desk, workflow: _Workflow) -> None:
    workflow.is_broken = True
    workflow.trigger("wfr_broken")
    desk.turn("10m")
    page = desk.page
    desk.open("runs?state=RUN_FAILED")
    page.get_by_role("link", name="wfr_broken").click()
    expect(page.locator("main .head .chip")).to_have_text("failed")
    failing = page.get_by_role("button", name="next delivery: failed")
    expect(failing).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_label("Step next delivery")).to_contain_text("500")
    workflow.is_broken = False
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("heading", level=1)).not_to_have_text("wfr_broken")
    desk.turn("1s")
    expect(page.get_by_role("button", name="reserve, Run: done")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("main .head .chip")).to_have_text("cancelled")


def test_a_run_is_started_anew_from_a_step_with_the_results_before_it(
    desk: Desk, workflow: _Workflow
) -> None:
    workflow.trigger("wfr_again")
    desk.turn("61s")
    assert desk.api.post("/v2/notify/order-7", content='"ann"').status_code == 200
    desk.turn("1s")
    before = workflow.sdk.deliveries
    assert workflow.reserved == 1
    page = desk.page
    desk.open("runs/wfr_again")
    expect(page.locator("main .head .chip")).to_have_text("succeeded")
    page.get_by_role("button", name="reserve, Run: done").click()
    card = page.get_by_label("Step reserve")
    card.get_by_text("Start again from this step").click()
    card.get_by_label("Initial payload").fill('{"orderId":8}')
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    card.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", level=1)).not_to_have_text("wfr_again")
    desk.turn("1s")
    expect(page.get_by_role("button", name="approval, Wait: waits for order-7")).to_be_visible()
    expect(page.get_by_role("button", name="cool-off, SleepFor: done")).to_be_visible()
    expect(page.locator("main")).to_contain_text('"orderId": 8')
    assert (workflow.priced, workflow.reserved) == (1, 2)
    # The cool-off once more, the reservation, two plans, the report of a call, two results.
    assert workflow.sdk.deliveries - before == 7
