"""Take pictures of every page of the dashboard and of the jobs page, with the data of an invented shop.

The shop's app runs inside this process and advances the manual clock with each answer. An hour of deliveries with
realistic latencies then takes a second, and looks the same each time.
"""

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urljoin

import httpx
import uvicorn
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from emulator.clock import ManualClock
from emulator.testing import Harness
from jobs_core import (
    Job,
    JobDispatcher,
    Payload,
    PermanentJobError,
    Registry,
    Settings,
    create_app,
    job,
)
from jobs_core.database import migrations
from tests.workflow import raw
from tests.workflow.mini_sdk import Context, MiniSdk

START_AT = 1_780_300_000_000
APP = "https://shop.example.com"
ORDERS = "https://orders.example.com"
WORKER = "https://worker.example.com"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
PAGES = (
    "overview",
    "messages",
    "runs",
    "publish",
    "dlq",
    "queues",
    "schedules",
    "groups",
    "keys",
    "faults",
    "clock",
)
IMAGES = Path(__file__).parent.parent / "docs" / "images"
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SIZES = {"wide": (1360, 860), "narrow": (390, 844)}


class Shop:
    """The shop's app: it answers after some virtual time, and sometimes fails."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._dice = random.Random(11)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        await request.body()
        path = request.url.path
        slow = {"/api/jobs/report": 1_400, "/api/jobs/image": 420}.get(path, 45)
        self._clock.set(self._clock.now_at() + int(self._dice.lognormvariate(0, 0.5) * slow))
        await self._answer(path, request)(scope, receive, send)

    def _answer(self, path: str, request: Request) -> Response:
        retried = int(request.headers["upstash-retried"])
        if path == "/api/hooks/crm":
            return JSONResponse({"error": "upstream timed out"}, status_code=503)
        if path == "/api/jobs/invoice" and retried < 2:
            status = 429 if retried else 503
            return JSONResponse(
                {"error": "the printer is warming up"}, status, {"Retry-After": "45"} if retried else {}
            )
        if self._dice.random() < 0.04:
            return JSONResponse({"error": "deadlock detected"}, status_code=500)
        return JSONResponse({"ok": True, "tookMs": 12})


async def publish(qstash: Harness, path: str, body: Any, **options: str) -> str:
    """Publish one message to the shop. ``options`` are header names with underscores."""
    headers = {name.replace("_", "-"): value for name, value in options.items()}
    headers.setdefault("Content-Type", "application/json")
    prefix = "/v2/enqueue/emails/" if path == "/api/jobs/email" else "/v2/publish/"
    answer = await qstash.client.post(f"{prefix}{APP}{path}", content=json.dumps(body), headers=headers)
    answer.raise_for_status()
    message_id: str = answer.json()["messageId"]
    return message_id


async def make_a_morning(qstash: Harness) -> str:
    """Publish an hour of the shop's messages. Return the id of the message whose page is photographed."""
    dice = random.Random(5)
    api = qstash.client
    story = ""
    await api.post("/v2/topics/order-events/endpoints", json={"endpoints": [
        {"url": f"{APP}/api/hooks/warehouse", "name": "warehouse"}, {"url": f"{APP}/api/hooks/crm", "name": "crm"},
    ]})  # fmt: skip
    for name, cron, path in (
        ("daily-report", "CRON_TZ=Europe/Berlin 30 9 * * MON-FRI", "/api/jobs/report"),
        ("clean-up", "*/15 * * * *", "/api/jobs/cleanup"),
        ("newsletter", "CRON_TZ=America/New_York 0 8 * * 1", "/api/jobs/newsletter"),
    ):
        lines = {"Upstash-Cron": cron, "Upstash-Schedule-Id": name}
        await api.post(f"/v2/schedules/{APP}{path}", headers=lines, content="{}")
    flow = {
        "Upstash_Flow_Control_Key": "stripe",
        "Upstash_Flow_Control_Value": "rate=20,period=1m,parallelism=4",
    }
    for minute in range(58):
        for number in range(dice.randint(1, 4) + minute // 20):
            job = dice.choice(["email", "email", "image", "webhook", "report"])
            more: dict[str, str] = flow if job == "webhook" else {}
            labels = dice.choice(["signup", "order,eu", "order,us"])
            await publish(
                qstash,
                f"/api/jobs/{job}",
                {"order": 1000 + minute * 7 + number},
                Upstash_Label=labels,
                **more,
            )
        if minute % 11 == 5:
            order = {"type": "order.paid", "id": f"ord_{minute}"}
            await api.post("/v2/publish/order-events", json=order, headers={"Upstash-Retries": "1"})
        if minute == 47:
            story = await publish(
                qstash, "/api/jobs/invoice",
                {"jobId": "job_7fk2", "type": "invoice", "payload": {"customer": "Ada & Co.", "total": 129.5}},
                Upstash_Label="invoice,eu", Upstash_Callback=f"{APP}/api/done", Upstash_Forward_X_Trace="7f3a21",
            )  # fmt: skip
        await qstash.advance("1m")
    await api.post("/v2/queues", json={"queueName": "thumbnails", "parallelism": 5, "paused": True})
    for number in range(7):
        await api.post(f"/v2/enqueue/thumbnails/{APP}/api/jobs/image?n={number}", content="{}")
    await publish(qstash, "/api/jobs/email", {"later": True}, Upstash_Delay="2h")
    for fault in (
        {
            "kind": "answer",
            "destination": f"{APP}/api/hooks/*",
            "status": 503,
            "responseBody": "closed",
            "count": 3,
        },
        {"kind": "expired-signature", "label": "audit", "probability": 0.1},
    ):
        (await api.post("/emulator/faults", json=fault)).raise_for_status()
    await qstash.settle()
    return story


async def make_runs(qstash: Harness) -> None:
    """Start orders as workflow runs: one completed, one waiting for an event, one whose card is refused."""
    sdk = MiniSdk(_order, qstash.client, f"{ORDERS}/order")
    qstash.mount(ORDERS, sdk)
    for run_id, label in (("wfr_order-41", "eu"), ("wfr_order-42", "eu"), ("wfr_order-43", "us")):
        headers = {
            **raw.run_headers(run_id, init=True),
            "Upstash-Workflow-Url": sdk.url,
            "Upstash-Label": label,
        }
        item = {
            "destination": sdk.url,
            "headers": headers | {"Upstash-Retries": "1"},
            "body": json.dumps(run_id),
        }
        (await qstash.client.post("/v2/batch", json=[item])).raise_for_status()
    await qstash.advance("5m")
    for name in ("wfr_order-41",):
        await qstash.client.post(f"/v2/notify/{name}", content='{"by": "ann"}')
    await qstash.settle()


async def _order(context: Context) -> Any:
    run_id = json.loads(context.payload)
    await context.run("price", lambda: 42)
    await context.sleep("cool-off", 60)
    await context.run("charge", lambda: _charge(run_id))
    return await context.wait("approval", run_id)


def _charge(run_id: str) -> str:
    if run_id.endswith("43"):
        raise httpx.TransportError("the card was refused")
    return "paid"


class Note(Payload):
    to: str


@job(
    "send-email",
    endpoint="/jobs/send-email",
    retries=3,
    timeout=timedelta(seconds=30),
    description="Send a mail",
)
async def send_email(payload: Note, job: Job) -> dict[str, str]:
    """Send a mail."""
    return {"sentTo": payload.to}


@job(
    "charge-card",
    endpoint="/jobs/charge-card",
    retries=2,
    timeout=timedelta(seconds=30),
    description="Charge a card",
)
async def charge_card(payload: Note, job: Job) -> None:
    """Charge a card."""
    raise ConnectionError("the bank does not answer")


@job(
    "export-orders",
    endpoint="/jobs/export-orders",
    retries=0,
    timeout=timedelta(seconds=30),
    description="Export orders",
)
async def export_orders(payload: Note, job: Job) -> None:
    """Export orders."""
    raise PermanentJobError(f"there is no customer {payload.to!r}")


@dataclass
class HarnessTime:
    """The harness's clock as the clock of the job system."""

    harness: Harness

    def now(self) -> datetime:
        """Return the harness's time, in UTC."""
        return datetime.fromtimestamp(self.harness.now / 1000, UTC)


@asynccontextmanager
async def jobs_page(qstash: Harness, folder: Path) -> AsyncIterator[ASGIApp]:
    """Run a worker with jobs in each state, and yield the app with its jobs page."""
    database_url = f"sqlite:///{folder / 'jobs.db'}"
    await asyncio.to_thread(migrations.upgrade, database_url)
    registry = Registry([send_email, charge_card, export_orders])
    settings = Settings(base_url=WORKER, database_url=database_url)
    async with JobDispatcher(
        settings, registry=registry, clock=HarnessTime(qstash), transport=httpx.ASGITransport(qstash.app)
    ) as dispatcher:
        app = create_app(dispatcher=dispatcher)
        qstash.mount(WORKER, app)
        for number in range(9):
            await dispatcher.enqueue("send-email", {"to": f"user{number}@example.com"}, user_id=number)
            await qstash.advance("20s")
        await dispatcher.enqueue("export-orders", {"to": "nobody"}, organization_id="acme")
        await dispatcher.enqueue("charge-card", {"to": "ada@example.com"}, user_id=7)
        await qstash.advance("10m")
        await dispatcher.enqueue("charge-card", {"to": "bob@example.com"}, user_id=8)
        await dispatcher.enqueue("send-email", {"to": "later@example.com"}, delay=timedelta(hours=2))
        await qstash.advance("15s")
        yield app


async def job_targets(jobs_url: str, browser: Browser) -> dict[str, str]:
    """Return the addresses of the jobs pages: the list, a failed job, one that waits for a retry."""
    targets = {"jobs": f"{jobs_url}/jobs", "jobs-failed": f"{jobs_url}/jobs?status=failed"}
    page = await browser.new_page()
    for name, query in (
        ("job-failed", "status=failed&type=charge-card"),
        ("job-retrying", "status=pending&type=charge-card"),
    ):
        await page.goto(f"{jobs_url}/jobs?{query}")
        address = await page.locator("a.job").first.get_attribute("href")
        targets[name] = urljoin(page.url, str(address))
    await page.close()
    return targets


async def take(browser: Browser, targets: dict[str, str], out: Path) -> None:
    """Photograph every page in each size and colour scheme. ``targets`` are addresses by name."""
    for size, (width, height) in SIZES.items():
        for scheme in SCHEMES:
            context = await browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, timezone_id="UTC"
            )  # fmt: skip
            page = await context.new_page()
            page.on("pageerror", lambda error: print(f"error in the page: {error}", file=sys.stderr))
            page.on("console", _say_errors)
            for name, target in targets.items():
                is_full = name not in ("messages", "overview") or size == "narrow"
                await _picture(page, target, out / f"{name}-{size}-{scheme}.png", is_full=is_full)
            await context.close()
    print(f"{len(SIZES) * 2 * len(targets)} pictures in {out}")


def _say_errors(line: ConsoleMessage) -> None:
    if line.type == "error":
        print(f"console: {line.text}", file=sys.stderr)


async def _picture(page: Page, target: str, path: Path, *, is_full: bool = False) -> None:
    await page.goto(target)
    await page.wait_for_selector("main h1")
    await page.wait_for_timeout(350)
    await page.screenshot(path=path, full_page=is_full)


def dashboard_targets(url: str, story: str) -> dict[str, str]:
    """Return the addresses of the dashboard's pages."""
    pages = {name: name for name in PAGES}
    pages |= {
        "message": f"messages/{story}",
        "schedule": "schedules/daily-report",
        "run": "runs/wfr_order-42",
        "run-failed": "runs/wfr_order-43",
    }
    return {name: f"{url}/emulator/#/{page}" for name, page in pages.items()}


async def take_for_docs(browser: Browser, targets: dict[str, str]) -> None:
    """Take the three pictures that README and docs show."""
    width, height = SIZES["wide"]
    shown: tuple[tuple[str, str, Literal["light", "dark"]], ...] = (
        ("dashboard-overview", "overview", "light"),
        ("dashboard-message", "message", "dark"),
        ("jobs", "jobs", "light"),
    )
    for file, name, scheme in shown:
        context = await browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, timezone_id="UTC"
        )
        await _picture(await context.new_page(), targets[name], IMAGES / f"{file}.png")
        await context.close()


def find_browser() -> str:
    """Return the path of the system's Chromium. Raises SystemExit with a message if there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    return found or sys.exit(f"no browser: install Chromium so that one of {', '.join(BROWSERS)} is on PATH")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--out", type=Path, default=Path("var/screenshots"), help="directory for the PNG files"
    )
    parser.add_argument(
        "--serve", action="store_true", help="take no pictures; serve the pages with their data until stopped"
    )
    parser.add_argument(
        "--readme", action="store_true", help="retake the pictures of README and docs, in docs/images"
    )
    arguments = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    async with contextlib.AsyncExitStack() as stack:
        qstash = await stack.enter_async_context(Harness(now_at=START_AT, seed=7))
        assert isinstance(qstash.clock, ManualClock)
        qstash.mount(APP, Shop(qstash.clock))
        story = await make_a_morning(qstash)
        await make_runs(qstash)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = await stack.enter_async_context(_served(qstash.app))
        jobs_url = await stack.enter_async_context(
            _served(await stack.enter_async_context(jobs_page(qstash, folder)))
        )
        stack.callback(qstash.runtime.end_streams)
        if arguments.serve:
            print(f"{url}/emulator/\n{jobs_url}/jobs")
            await asyncio.Event().wait()
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=find_browser(), args=ARGUMENTS)
        targets = dashboard_targets(url, story) | await job_targets(jobs_url, browser)
        if arguments.readme:
            await take_for_docs(browser, targets)
        else:
            await take(browser, targets, arguments.out)
        await browser.close()


@asynccontextmanager
async def _served(app: ASGIApp) -> AsyncIterator[str]:
    """Serve ``app`` on a free port and yield its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_level="warning"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


if __name__ == "__main__":
    asyncio.run(main())
