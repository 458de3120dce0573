"""The pages beside the jobs page: what they show, to whom, and what a mail's HTML may do there."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from jobs_core import Environment
from jobs_core.emails.catalog import TEMPLATES
from jobs_core.pages.mailbox import Mailbox
from jobs_core.pages.routes import in_scheme

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])

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
    assert "/dev/mailbox/0001.eml" in listed
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
        assert f"/dev/emails/{name}" in listed
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
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs/login")


async def test_the_jobs_page_leads_to_them(system: Any) -> None:
    page = (await system.client.get("/jobs")).text
    for path in ("/dev/mailbox", "/dev/emails", "/dev/files"):
        assert f'href="{path}"' in page


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
