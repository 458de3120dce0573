"""The dashboard in a browser; each test is a tenant of its own."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request

from emulator.testing import Listener, Receiver, ServerProcess
from tests.bounds import HANG_SECONDS
from tests.browsers import browser

__all__ = ["browser"]  # a fixture


@dataclass
class Desk:
    """Somebody at the dashboard: a page, the tenant it shows, and a destination that answers as it is told."""

    page: Page
    api: httpx.Client
    receiver: Receiver
    inbox_url: str
    foreign_requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        self.page.goto(f"{self.api.base_url}/emulator/#/{path}".replace("//emulator", "/emulator"))
        self.page.wait_for_selector("main h1")

    def publish(self, path: str = "/hook", body: str = "{}", **headers: str) -> str:
        lines = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.api.post(f"/v2/publish/{self.inbox_url}{path}", content=body, headers=lines)
        assert answer.status_code == 201, answer.text
        message_id: str = answer.json()["messageId"]
        return message_id

    def turn(self, by: str) -> dict[str, Any]:
        answer = self.api.post("/emulator/clock/advance", json={"by": by})
        assert answer.status_code == 200, answer.text
        turned: dict[str, Any] = answer.json()
        return turned


@pytest.fixture
def desk(browser: Browser, manual_server: ServerProcess) -> Iterator[Desk]:
    tenant = manual_server.new_tenant()
    receiver = Receiver(now=lambda: 0)
    context = browser.new_context(viewport={"width": 1280, "height": 800}, timezone_id="UTC")
    context.set_default_timeout(HANG_SECONDS * 1_000)
    context.add_init_script(f"localStorage.setItem('qstash.token', '{tenant['QSTASH_TOKEN']}')")
    page = context.new_page()
    headers = {"Authorization": f"Bearer {tenant['QSTASH_TOKEN']}"}
    with (
        Listener(receiver) as listener,
        httpx.Client(base_url=manual_server.url, headers=headers, timeout=HANG_SECONDS) as api,
    ):
        made = Desk(page, api, receiver, listener.url)

        def note_request(request: Request) -> None:
            if not request.url.startswith((manual_server.url, "data:")):
                made.foreign_requests.append(request.url)

        def note_line(line: ConsoleMessage) -> None:
            if line.type in ("error", "warning"):
                made.complaints.append(line.text)

        def note_error(error: Error) -> None:
            made.complaints.append(str(error))

        page.on("request", note_request)
        page.on("console", note_line)
        page.on("pageerror", note_error)
        yield made
        context.close()
    assert made.foreign_requests == [], "the page asked another host"
    # A 404 is how the page learns that something is not there; the browser logs it by itself.
    made.complaints = [text for text in made.complaints if "404 (Not Found)" not in text]
    assert made.complaints == [], "the page complained"
