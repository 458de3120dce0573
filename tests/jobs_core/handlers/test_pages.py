"""The pages beside the jobs page: what they show, to whom, and what a mail's HTML may do there."""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from jobs_core import Environment, create_app
from jobs_core.emails.catalog import TEMPLATES
from jobs_core.pages.mailbox import Mailbox
from jobs_core.pages.routes import in_scheme

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])

PREFIX = "/tools/worker"

MAIL = b"""From: Acme <hello@app.example.com>
To: ada@example.com
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary=b

--b
Content-Type: text/plain; charset=utf-8

Hello <b>Ada</b>
--b
Content-Type: text/html; charset=utf-8

<p>Hello</p><script>alert(1)</script>
--b--
"""


@pytest.fixture
async def system(whole_system: Any, tmp_path: Path) -> Any:
    (tmp_path / "mail").mkdir()
    async with whole_system(mailbox_dir=tmp_path / "mail", admin_token=SecretStr("opensesame")) as made:
        made.client.headers["Authorization"] = "Bearer opensesame"
        yield made


async def test_the_mailbox_lists_and_shows_what_arrived(system: Any, tmp_path: Path) -> None:
    assert "No mail yet" in (await system.client.get("/dev/mailbox")).text
    (tmp_path / "mail" / "0001.eml").write_bytes(MAIL)
    (tmp_path / "mail" / "notes.txt").write_text("not a mail")
    listed = (await system.client.get("/dev/mailbox")).text
    assert "Grüße" in listed
    assert re.search(r'href="[./]*mailbox/0001.eml"', listed)
    assert "notes.txt" not in listed
    shown = (await system.client.get("/dev/mailbox/0001.eml")).text
    assert "Hello &lt;b&gt;Ada&lt;/b&gt;" in shown
    assert "ada@example.com" in shown
    assert re.search(r"<iframe [^>]*sandbox", shown)


async def test_a_mails_html_can_run_and_load_nothing(system: Any, tmp_path: Path) -> None:
    (tmp_path / "mail" / "0001.eml").write_bytes(MAIL)
    answer = await system.client.get("/dev/mailbox/0001.eml/html")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'")
    assert "script" not in policy


@pytest.mark.parametrize("name", ["0002.eml", "..%2f..%2fetc%2fpasswd", "notes.txt", ".eml"])
async def test_only_mails_are_shown(system: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "mail" / "notes.txt").write_text("secret")
    answer = await system.client.get(f"/dev/mailbox/{name}")
    assert answer.status_code == 404
    assert "secret" not in answer.text


async def test_every_template_has_a_preview_light_and_dark(system: Any) -> None:
    listed = (await system.client.get("/dev/emails")).text
    for name in TEMPLATES:
        assert f'emails/{name}"' in listed
        page = (await system.client.get(f"/dev/emails/{name}", params={"width": "320"})).text
        assert page.count('width="320"') == 2
        light = (await system.client.get(f"/dev/emails/{name}/html", params={"scheme": "light"})).text
        dark = (await system.client.get(f"/dev/emails/{name}/html", params={"scheme": "dark"})).text
        assert "@media not all" in light
        assert "@media all" in dark
    assert (await system.client.get("/dev/emails/nothing")).status_code == 404


def test_a_scheme_is_forced_by_its_media_query_alone(database_kind: str) -> None:
    html = "<style>@media (prefers-color-scheme: dark) { a }</style>"
    assert in_scheme(html, None) == html
    assert in_scheme(html, "dark") == "<style>@media all { a }</style>"


async def test_files_are_listed_with_links_that_work(system: Any) -> None:
    assert "No files yet" in (await system.client.get("/dev/files")).text
    record = await system.run("export-data", {"entityType": "customers"})
    page = (await system.client.get("/dev/files")).text
    assert record.result["path"] in page
    (url,) = re.findall(r'href="https://app.example.com([^"]+)"', page)
    assert (await system.client.get(url.replace("&amp;", "&"))).status_code == 200


@pytest.mark.parametrize("path", ["/dev/mailbox", "/dev/mailbox/0001.eml/html", "/dev/emails", "/dev/files"])
async def test_the_pages_ask_for_the_admin_token(system: Any, path: str) -> None:
    del system.client.headers["Authorization"]
    answer = await system.client.get(path)
    assert (answer.status_code, answer.next_request.url.path) == (303, "/jobs/login")


async def test_the_jobs_page_leads_to_them(system: Any) -> None:
    page = (await system.client.get("/jobs")).text
    for path in ("/dev/mailbox", "/dev/emails", "/dev/files"):
        assert f'href="{path.removeprefix("/")}"' in page


async def test_without_a_token_a_foreign_name_sees_nothing(whole_system: Any) -> None:
    async with whole_system(environment=Environment.DEVELOPMENT) as system:
        assert (await system.client.get("/dev/emails")).status_code == 200
        assert (await system.client.get("/dev/emails", headers={"Host": "evil.example"})).status_code == 403
        assert "MAILBOX_DIR" in (await system.client.get("/dev/mailbox")).text


def test_a_mail_that_is_no_mail_is_shown_all_the_same(tmp_path: Path, database_kind: str) -> None:
    (tmp_path / "a.eml").write_bytes(b"\xff\xfe\x00garbage")
    (tmp_path / "b.eml").write_bytes(b"Content-Type: text/plain; charset=klingon\n\nhi")
    (tmp_path / "c.eml").write_bytes(b"")
    assert [mail.name for mail in Mailbox(tmp_path).newest()] == ["c.eml", "b.eml", "a.eml"]


def _strip(app: ASGIApp) -> ASGIApp:
    """A proxy that serves the app under a prefix, of which it tells the app nothing."""

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["path"].startswith(f"{PREFIX}/"), f"a link leads out of the app: {scope['path']}"
        path = scope["path"].removeprefix(PREFIX)
        await app({**scope, "path": path, "raw_path": path.encode()}, receive, send)

    return proxy


@pytest.mark.parametrize("serve", [_strip, lambda app: Starlette(routes=[Mount(PREFIX, app)])])
async def test_every_link_works_under_a_prefix_that_a_proxy_strips_or_the_app_is_mounted_at(
    system: Any, tmp_path: Path, serve: Callable[[ASGIApp], ASGIApp]
) -> None:
    (tmp_path / "mail" / "0001.eml").write_bytes(MAIL)
    await system.run("export-data", {"entityType": "customers"})
    transport = httpx.ASGITransport(serve(create_app(dispatcher=system.dispatcher)))
    left, seen = [f"https://app.example.com{PREFIX}/jobs"], set()
    async with httpx.AsyncClient(transport=transport, headers=system.client.headers) as client:
        while left:
            url = left.pop()
            seen.add(url)
            answer = await client.get(url)
            assert answer.status_code == 200, url
            # What a mail links to is the customer's affair.
            is_page = not urlsplit(url).path.endswith("/html")
            if answer.headers["content-type"].startswith("text/html") and is_page:
                found = {urljoin(url, link) for link in re.findall(r'(?:href|src)="([^"#]+)"', answer.text)}
                left += sorted(link for link in found - seen - set(left) if "/api/files/" not in link)
    pages = {urlsplit(url).path.removeprefix(PREFIX) for url in seen}
    assert pages >= {
        "/jobs",
        "/dev/mailbox/0001.eml/html",
        "/dev/emails",
        "/dev/files",
        "/jobs/static/jobs.js",
    }


async def test_without_the_database_a_page_says_so(system: Any) -> None:
    system.dispatcher.database.engine.dispose()
    system.dispatcher.database.engine.pool._creator = _refuse
    for path in ("/jobs", "/jobs/0190a3f0-6b1c-7c3e-9d53-0a1b2c3d4e5f"):
        answer = await system.client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (503, "text/html; charset=utf-8")
        assert "<h1>The database does not answer</h1>" in answer.text


def _refuse(*_: Any) -> Any:
    raise sqlite3.OperationalError("unable to open database file")
