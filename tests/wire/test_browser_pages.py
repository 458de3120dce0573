"""A real browser: the console's page reads the answers of ``/v2``; a page of another origin reads and does nothing."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page

from emulator.testing import ServerProcess
from tests.bounds import HANG_SECONDS
from tests.browsers import browser

__all__ = ["browser"]  # a fixture

_FETCH = """async ([url, options]) => {
    try { const answer = await fetch(url, options); return {status: answer.status, text: await answer.text()}; }
    catch (error) { return {error: error.name}; }
}"""


pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page whose origin is whatever it is sent to: no request of its own leaves the browser."""
    context = browser.new_context(permissions=["local-network-access"])
    opened = context.new_page()
    opened.route(
        lambda url: "127.0.0.1" not in url,
        lambda route: route.fulfill(body="<h1>A page</h1>", content_type="text/html"),
    )
    yield opened
    context.close()


def fetch(page: Page, url: str, **options: Any) -> dict[str, Any]:
    answer: dict[str, Any] = page.evaluate(_FETCH, [url, options])
    return answer


def publish(page: Page, tenant: dict[str, str], **options: Any) -> dict[str, Any]:
    url = f"{tenant['QSTASH_URL']}/v2/publish/https://example.com"
    return fetch(page, url, method="POST", body="x", **options)


def messages(tenant: dict[str, str]) -> int:
    lines = {"Authorization": f"Bearer {tenant['QSTASH_TOKEN']}"}
    return len(
        httpx.get(f"{tenant['QSTASH_URL']}/v2/logs", headers=lines, timeout=HANG_SECONDS).json()["events"]
    )


def test_the_consoles_page_publishes_and_reads(page: Page, server: ServerProcess) -> None:
    tenant = server.new_tenant()
    page.goto("https://console.upstash.com/qstash")
    lines = {"Authorization": f"Bearer {tenant['QSTASH_TOKEN']}", "Upstash-Delay": "1h"}
    answer = publish(page, tenant, headers=lines)
    assert answer.get("status") == 201, answer
    assert "messageId" in answer["text"]


@pytest.mark.parametrize("origin", ["https://evil.example", "http://evil.example"])
def test_another_page_reads_and_does_nothing(page: Page, server: ServerProcess, origin: str) -> None:
    tenant = server.new_tenant()
    page.goto(origin)
    token = tenant["QSTASH_TOKEN"]
    keys = f"{tenant['QSTASH_URL']}/v2/keys"
    assert fetch(page, keys, headers={"Authorization": f"Bearer {token}"}) == {"error": "TypeError"}
    assert fetch(page, f"{keys}?qstash_token={token}") == {"error": "TypeError"}
    # Without a preflight: a form's content type, and the token in the URL.
    url = f"{tenant['QSTASH_URL']}/v2/publish/https://example.com?qstash_token={token}"
    fetch(page, url, method="POST", mode="no-cors", headers={"Content-Type": "text/plain"}, body="x")
    with page.expect_response(lambda response: "/v2/publish/" in response.url) as answered:
        page.evaluate(
            """url => { document.body.innerHTML = `<form method="post" action="${url}"></form>`;
                       document.forms[0].submit(); }""",
            url,
        )
    assert answered.value.status == 403
    assert messages(tenant) == 0
