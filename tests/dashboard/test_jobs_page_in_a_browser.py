"""The jobs page in a real browser, over real deliveries: live, searched, acted on, read on a phone and by keyboard."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, expect
from starlette.types import ASGIApp, Receive, Scope, Send

from emulator.testing import Listener, ServerProcess
from jobs_core import Job, JobDispatcher, Payload, Registry, Settings, create_app, job
from jobs_core.blocking.dispatcher import SyncJobDispatcher
from jobs_core.database import migrations
from tests.bounds import HANG_SECONDS

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

pytestmark = pytest.mark.xdist_group("browser")


class Note(Payload):
    to: str


@dataclass
class Till:
    """The handler's till: a charge fails while the bank is closed."""

    is_closed: bool = True


@dataclass
class JobsDesk:
    """Somebody at the jobs page, and the dispatcher of its application."""

    page: Page
    jobs: SyncJobDispatcher
    till: Till
    url: str
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str = "") -> None:
        self.page.goto(f"{self.url}/jobs{path}")

    def charge(self, to: str) -> str:
        return self.jobs.enqueue("charge-card", {"to": to})


def _registry(till: Till) -> Registry:
    @job(
        "charge-card",
        endpoint="/api/jobs/charge",
        retries=0,
        timeout=timedelta(seconds=30),
        description="Charge",
    )
    async def charge_card(payload: Note, job: Job) -> dict[str, str]:
        if till.is_closed:
            raise ConnectionError("the bank is closed")
        return {"charged": payload.to}

    return Registry([charge_card])


class _Worker:
    """The worker app on the listener's loop, to which its dispatcher belongs."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self.settings = settings
        self._registry = registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    @cached_property
    def _app(self) -> ASGIApp:
        self._loop = asyncio.get_running_loop()
        self._dispatcher = JobDispatcher(self.settings, registry=self._registry)
        return create_app(dispatcher=self._dispatcher)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._dispatcher.aclose(), self._loop).result(HANG_SECONDS)


@pytest.fixture
def desk(browser: Browser, manual_server: ServerProcess, tmp_path: Path) -> Iterator[JobsDesk]:
    tenant = manual_server.new_tenant()
    settings = Settings(
        qstash_url=tenant["QSTASH_URL"],
        qstash_token=tenant["QSTASH_TOKEN"],
        qstash_current_signing_key=tenant["QSTASH_CURRENT_SIGNING_KEY"],
        qstash_next_signing_key=tenant["QSTASH_NEXT_SIGNING_KEY"],
        database_url=f"sqlite:///{tmp_path / 'jobs.db'}",
        base_url="http://127.0.0.1:9",
    )
    migrations.upgrade(settings.database_url)
    till = Till()
    registry = _registry(till)
    worker = _Worker(settings, registry)
    context = browser.new_context(viewport={"width": 1280, "height": 800}, timezone_id="UTC")
    context.set_default_timeout(HANG_SECONDS * 1_000)
    with Listener(worker) as listener:
        worker.settings = settings.model_copy(update={"base_url": listener.url})
        jobs = SyncJobDispatcher(worker.settings, registry=registry)
        made = JobsDesk(context.new_page(), jobs, till, listener.url)

        def note_line(line: ConsoleMessage) -> None:
            if line.type == "error":
                made.complaints.append(line.text)

        def note_error(error: Error) -> None:
            made.complaints.append(str(error))

        made.page.on("console", note_line)
        made.page.on("pageerror", note_error)
        yield made
        context.close()
        jobs.close()
        worker.close()
    assert made.complaints == [], "the page complained"


def test_the_list_is_live_and_what_failed_is_run_again_from_it(desk: JobsDesk) -> None:
    page = desk.page
    desk.open()
    expect(page.get_by_text("No job matches.")).to_be_visible()
    desk.charge("ada")
    rows = page.locator("main tbody tr")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("failed")
    expect(rows.first).to_contain_text("ConnectionError: the bank is closed")
    desk.till.is_closed = False
    page.get_by_label("Choose all that are shown").check()
    page.get_by_role("button", name="Run the chosen again").click()
    expect(page.get_by_role("status").get_by_text("1 run again")).to_be_visible()
    expect(rows.first).to_contain_text("completed")


def test_a_search_stays_while_the_list_lives(desk: JobsDesk) -> None:
    page = desk.page
    first, _ = desk.charge("ada"), desk.charge("bob")
    desk.open()
    expect(page.locator("main tbody tr")).to_have_count(2)
    page.keyboard.press("/")
    expect(page.get_by_label("Search in ids, types, keys and errors")).to_be_focused()
    page.keyboard.type(first)
    page.keyboard.press("Enter")
    expect(page.locator("main tbody tr")).to_have_count(1)
    expect(page.get_by_role("button", name="Light or dark")).to_be_visible()  # the script has run
    page.keyboard.press("j")
    expect(page.locator("a.job").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("charge-card")


def test_a_job_shows_its_attempts_on_an_axis_and_leads_to_its_message(desk: JobsDesk) -> None:
    page = desk.page
    job_id = desk.charge("ada")
    desk.open(f"/{job_id}")
    picture = page.get_by_role("group", name="Attempts on a time axis")
    expect(picture.get_by_role("button", name=re.compile("Attempt 1: 500"))).to_be_visible()
    expect(page.get_by_text("Traceback", exact=True)).to_be_visible()
    link = page.get_by_role("link", name=re.compile("^msg_"))
    assert "/emulator/#/messages/msg_" in (link.get_attribute("href") or "")
    desk.till.is_closed = False
    page.get_by_role("button", name="Run again").click()
    expect(page.locator(".head .chip")).to_have_text("completed")


def test_axe_finds_nothing_and_a_phone_needs_no_sideways_scrolling(desk: JobsDesk) -> None:
    page = desk.page
    job_id = desk.charge("ada")
    for path in ("", f"/{job_id}"):
        desk.open(path)
        expect(page.locator("main .chip").first).to_have_text("failed")
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found = Axe().run(page)
            assert found.violations_count == 0, found.generate_report()
        page.set_viewport_size({"width": 390, "height": 844})
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
