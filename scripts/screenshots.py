"""Pictures of every page of the dashboard, of a made-up shop's morning.

The shop's app answers inside this process and moves the manual clock on as it does, so that an hour of deliveries
with believable latencies is made in a second, and looks the same each time.
"""

import argparse
import asyncio
import json
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import uvicorn
from playwright.async_api import Browser, async_playwright
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from emulator.clock import ManualClock
from emulator.testing import Harness

START_AT = 1_780_300_000_000
APP = "https://shop.example.com"
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
SIZES = {"wide": (1360, 860), "narrow": (390, 844)}


class Shop:
    """Takes its time to answer, and fails now and then."""

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
    """One message to the shop; ``options`` are headers with underscores."""
    headers = {name.replace("_", "-"): value for name, value in options.items()}
    headers.setdefault("Content-Type", "application/json")
    prefix = "/v2/enqueue/emails/" if path == "/api/jobs/email" else "/v2/publish/"
    answer = await qstash.client.post(f"{prefix}{APP}{path}", content=json.dumps(body), headers=headers)
    answer.raise_for_status()
    message_id: str = answer.json()["messageId"]
    return message_id


async def make_a_morning(qstash: Harness) -> str:
    """An hour of the shop's life; the id of the message whose story is worth a picture."""
    dice = random.Random(5)
    api = qstash.client
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


async def take(browser: Browser, url: str, out: Path, story: str) -> None:
    """Every page in four ways."""
    targets = {name: name for name in PAGES}
    targets |= {"message": f"messages/{story}", "schedule": "schedules/daily-report"}
    for size, (width, height) in SIZES.items():
        for scheme in ("light", "dark"):
            context = await browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, timezone_id="UTC"
            )  # fmt: skip
            page = await context.new_page()
            page.on("pageerror", lambda error: print(f"error in the page: {error}", file=sys.stderr))
            page.on(
                "console",
                lambda line: line.type == "error" and print(f"console: {line.text}", file=sys.stderr),
            )
            targets = {
                **{name: name for name in PAGES},
                "message": f"messages/{story}",
                "schedule": "schedules/daily-report",
            }
            for name, target in targets.items():
                await page.goto(f"{url}/emulator/#/{target}")
                await page.wait_for_selector("main h1")
                await page.wait_for_timeout(350)
                path = out / f"{name}-{size}-{scheme}.png"
                await page.screenshot(
                    path=path, full_page=name not in ("messages", "overview") or size == "narrow"
                )
            await context.close()
    print(f"{len(SIZES) * 2 * len(targets)} pictures in {out}")


async def take_for_readme(browser: Browser, url: str, out: Path, story: str) -> None:
    """The two that the README shows."""
    width, height = SIZES["wide"]
    for name, target, scheme in (("overview", "overview", "light"), ("message", f"messages/{story}", "dark")):
        context = await browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, timezone_id="UTC"
        )
        page = await context.new_page()
        await page.goto(f"{url}/emulator/#/{target}")
        await page.wait_for_selector("main h1")
        await page.wait_for_timeout(350)
        await page.screenshot(path=out / f"dashboard-{name}.png")
        await context.close()


def find_browser() -> str:
    """The system's Chromium. Exits with words where there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    return found or sys.exit(f"no browser: install Chromium so that one of {', '.join(BROWSERS)} is on PATH")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--out", type=Path, default=Path("var/screenshots"), help="directory for the PNG files"
    )
    parser.add_argument(
        "--serve", action="store_true", help="take no pictures; serve the made-up morning and stay up"
    )
    parser.add_argument("--readme", action="store_true", help="take the README's two anew, into docs/images")
    arguments = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    async with Harness(now_at=START_AT, seed=7) as qstash:
        assert isinstance(qstash.clock, ManualClock)
        qstash.mount(APP, Shop(qstash.clock))
        story = await make_a_morning(qstash)
        server = uvicorn.Server(uvicorn.Config(qstash.app, port=0, lifespan="off", log_level="warning"))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.02)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        if arguments.serve:
            print(f"{url}/emulator/")
            await serving
            return
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=find_browser(), args=ARGUMENTS)
            if arguments.readme:
                await take_for_readme(browser, url, IMAGES, story)
            else:
                await take(browser, url, arguments.out, story)
            await browser.close()
        qstash.runtime.end_streams()
        server.should_exit = True
        await serving


if __name__ == "__main__":
    asyncio.run(main())
