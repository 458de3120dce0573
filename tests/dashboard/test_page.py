"""The page in a real browser: what somebody does there, and what they see of it.

Every test also holds the page to asking no other host, and to a console without errors (see ``desk``).
"""

import os
import re
import shutil
import subprocess
import sys

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from emulator.testing import ServerProcess
from tests.bounds import HANG_SECONDS
from tests.dashboard.conftest import Desk

pytestmark = pytest.mark.xdist_group("browser")

PAGES = (
    "overview", "messages", "publish", "dlq", "queues", "schedules", "runs", "groups", "keys", "faults", "clock",
)  # fmt: skip


def test_publish_from_the_form_and_see_it_delivered_without_reloading(desk: Desk) -> None:
    page = desk.page
    desk.open("publish")
    page.get_by_label("Destination").fill(f"{desk.inbox_url}/from-the-form")
    page.get_by_label("Body", exact=True).fill('{"hello": "world"}')
    expect(page.get_by_label("The call as code")).to_contain_text("curl -X POST")
    page.get_by_role("tab", name="Python").click()
    expect(page.get_by_label("The call as code")).to_contain_text(f'url="{desk.inbox_url}/from-the-form"')
    page.get_by_role("tab", name="TypeScript").click()
    expect(page.get_by_label("The call as code")).to_contain_text("client.publish({")
    page.get_by_role("button", name="Publish").click()
    became = page.get_by_label("What became of it")
    expect(became).to_contain_text("DELIVERED")
    assert desk.receiver.got[0].body == b'{"hello": "world"}'
    assert desk.receiver.got[0].headers["content-type"] == "application/json"
    became.get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("/from-the-form")


def test_a_failing_messages_timeline(desk: Desk) -> None:
    desk.receiver.answers = [(503, {"Content-Type": "application/json"}, b'{"error": "busy"}'), 500]
    message_id = desk.publish(body='{"a": [1, true]}', Content_Type="application/json", Upstash_Retries="2")
    desk.turn("20s")
    page = desk.page
    desk.open(f"messages/{message_id}")
    attempts = page.get_by_role("group", name="Attempts on a time axis")
    expect(attempts.get_by_role("button", name="Attempt 1: 503")).to_be_visible()
    expect(attempts.get_by_role("button", name="Attempt 2: 500")).to_be_visible()
    expect(attempts).to_contain_text("12.2 s")
    expect(attempts).to_contain_text("due")
    expect(page.get_by_text("its time has not come")).to_be_visible()
    attempts.get_by_role("button", name="Attempt 1: 503").click()
    first = page.get_by_label("Attempt 1", exact=True)
    expect(first).to_contain_text("default backoff, e^(2.5 × 1) seconds")
    expect(first).to_contain_text('"error": "busy"')
    expect(first).to_contain_text("verifies")
    expect(first).to_contain_text(f'"sub": "{desk.inbox_url}/hook"')
    page.get_by_role("button", name="Retry now").click()
    expect(page.get_by_role("button", name=re.compile("Attempt 3: 200"))).to_be_visible()
    expect(page.locator("main .head .chip")).to_have_text("DELIVERED")
    assert [one.retried for one in desk.receiver.got] == [0, 1, 2]


def test_cancel_a_waiting_message(desk: Desk) -> None:
    message_id = desk.publish(Upstash_Delay="1h")
    desk.open(f"messages/{message_id}")
    desk.page.get_by_role("button", name="Cancel").click()
    expect(desk.page.locator("main .head .chip")).to_have_text("CANCELED")


def test_retry_from_the_dlq_one_and_many(desk: Desk) -> None:
    desk.receiver.always = (404, {}, b"no such hook")
    for number in range(3):
        desk.publish(f"/{number}", Upstash_Retries="0")
    desk.turn("1s")
    page = desk.page
    desk.open("dlq")
    rows = page.locator("main tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("no such hook")
    desk.receiver.always = 200
    rows.first.get_by_role("button", name="Retry").click()
    expect(rows).to_have_count(2)
    for row in (0, 1):
        rows.nth(row).get_by_role("checkbox").check()
    page.get_by_role("button", name="Retry 2 chosen").click()
    expect(page.get_by_text("Nothing has failed for good.")).to_be_visible()
    assert len(desk.receiver.got) == 6


def test_pause_and_resume_a_queue(desk: Desk) -> None:
    desk.api.post("/v2/queues", json={"queueName": "mails", "parallelism": 2})
    page = desk.page
    desk.open("queues")
    row = page.get_by_role("row", name="mails")
    row.get_by_role("button", name="Pause").click()
    expect(row).to_contain_text("paused")
    desk.publish(Upstash_Queue_Name="mails")
    expect(row.locator("td").first).to_contain_text("1")
    assert desk.receiver.got == []
    row.get_by_role("button", name="Resume").click()
    expect(row.locator("td").first).to_contain_text("0")
    assert len(desk.receiver.got) == 1


def test_turn_the_clock_and_see_a_schedule_fire(desk: Desk) -> None:
    page = desk.page
    desk.open("schedules")
    page.get_by_text("New schedule").click()
    page.get_by_label("Destination").fill(f"{desk.inbox_url}/report")
    page.get_by_label("Cron").fill("0 * * * *")
    page.get_by_label("Id").fill("hourly")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("region", name="hourly")).to_contain_text("next in")
    page.get_by_role("link", name="Clock", exact=True).click()
    page.get_by_role("button", name="+1h").click()
    expect(page.get_by_text("schedules fired: 1")).to_be_visible()
    expect(page.get_by_label("What it set off")).to_contain_text("hourly")
    assert [one.url.rsplit("/", 1)[1] for one in desk.receiver.got] == ["report"]
    page.get_by_role("link", name="Schedules").click()
    expect(page.get_by_role("region", name="hourly")).to_contain_text("delivered")


def test_keyboard_only(desk: Desk) -> None:
    desk.receiver.answers = [500]
    desk.publish("/first", Upstash_Retry_Delay="3600000")
    desk.publish("/second")
    desk.turn("1s")
    page, keys = desk.page, desk.page.keyboard
    desk.open("overview")
    keys.press("g")
    keys.press("m")
    expect(page.get_by_role("heading", level=1)).to_have_text("Messages")
    expect(page.locator(".item")).to_have_count(2)
    keys.press("/")
    expect(page.get_by_label("Search in ids, URLs")).to_be_focused()
    keys.type("first")
    expect(page.locator(".item")).to_have_count(1)
    page.get_by_label("State").focus()
    keys.press("j")  # typed into a field, letters are letters
    page.get_by_role("button", name="Clear").focus()
    keys.press("Enter")
    expect(page.locator(".item")).to_have_count(2)
    keys.press("j")
    keys.press("j")
    expect(page.locator(".item.here a")).to_be_focused()
    keys.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("/first")
    page.get_by_role("button", name="Retry now").focus()
    keys.press("Space")
    expect(page.locator("main .head .chip")).to_have_text("DELIVERED")
    keys.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.reload()
    keys.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()


def test_leaving_a_page_in_the_middle_of_an_action_is_no_error(desk: Desk) -> None:
    page = desk.page
    desk.open("messages")
    expect(page.get_by_role("heading", level=1)).to_have_text("Messages")
    with page.expect_request("**/emulator/messages*"):
        page.route("**/emulator/messages*", lambda _route: None)  # never answered
        page.get_by_role("button", name="Clear").click()
    with page.expect_event("requestfailed", lambda request: "/emulator/messages" in request.url):
        page.get_by_role("link", name="Clock", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Clock")


def test_an_action_that_fails_is_said_on_the_page(desk: Desk) -> None:
    page = desk.page
    desk.open("messages")
    expect(page.get_by_role("heading", level=1)).to_have_text("Messages")
    refused = '{"error": "the disk is full"}'
    page.route("**/emulator/messages*", lambda route: route.fulfill(status=507, body=refused))
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#toasts")).to_contain_text("the disk is full")
    desk.complaints = [text for text in desk.complaints if "507" not in text]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(desk: Desk, scheme) -> None:
    desk.receiver.always = (500, {}, b"broken")
    failed = desk.publish(
        "/a", Upstash_Retries="1", Upstash_Label="one,two", Upstash_Callback=f"{desk.inbox_url}/cb"
    )
    desk.publish("/q", Upstash_Queue_Name="mails", Upstash_Delay="1h")
    desk.publish("/f", Upstash_Flow_Control_Key="key", Upstash_Flow_Control_Value="rate=1")
    desk.api.post(
        "/v2/topics/all/endpoints", json={"endpoints": [{"url": f"{desk.inbox_url}/1", "name": "one"}]}
    )
    desk.api.post(
        f"/v2/schedules/{desk.inbox_url}/s",
        headers={"Upstash-Cron": "0 9 * * *", "Upstash-Schedule-Id": "daily"},
    )
    desk.turn("1m")
    desk.page.emulate_media(color_scheme=scheme)
    options: dict[str, object] = {"resultTypes": ["violations"]}
    if scheme == "dark":
        # Nothing but the colours is different.
        options["runOnly"] = ["color-contrast"]
    found = {}
    for name in (*PAGES, f"messages/{failed}", "schedules/daily"):
        desk.open(name)
        desk.page.wait_for_timeout(100)
        violations = Axe().run(desk.page, options=options).response["violations"]
        if violations:
            found[name] = [
                (one["id"], [node["html"][:160] for node in one["nodes"][:3]]) for one in violations
            ]
    assert found == {}


def test_ten_thousand_messages_scroll_and_answer(desk: Desk) -> None:
    for _ in range(10):
        batch = [
            {"destination": f"{desk.inbox_url}/{number}", "headers": {"Upstash-Delay": "1d"}}
            for number in range(1_000)
        ]
        assert desk.api.post("/v2/batch", json=batch, timeout=HANG_SECONDS).status_code == 200
    page = desk.page
    desk.open("messages")
    expect(page.locator("main .head .sub")).to_have_text("10,000")
    viewport = page.locator(".viewport")
    scroll = "it => { it.scrollTop = it.scrollHeight; return it.firstChild.clientHeight / 38; }"
    rows_known = 0
    for _ in range(HANG_SECONDS * 10):
        if (rows_known := viewport.evaluate(scroll)) >= 1_000:
            break
        page.wait_for_timeout(100)
    assert rows_known >= 1_000
    assert page.locator(".item").count() < 80
    last = page.locator(".item").last
    expect(last).to_be_visible()
    desk.publish("/the-newest")
    viewport.evaluate("element => { element.scrollTop = 0; }")
    expect(page.locator(".item").first).to_contain_text("/the-newest")
    page.get_by_label("URL contains").fill("/777")
    expect(page.locator("main .head .sub")).to_have_text("10")
    page.locator(".item a").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("/777")


def test_binary_and_redacted_bodies_are_shown_as_what_they_are(desk: Desk) -> None:
    binary = desk.api.post(f"/v2/publish/{desk.inbox_url}/b", content=b"\x00\xffhi").json()["messageId"]
    secret = desk.publish("/s", body="s3cret", Upstash_Redact_Fields="body", Upstash_Delay="1h")
    desk.open(f"messages/{binary}")
    expect(desk.page.get_by_label("Body of the message")).to_contain_text("00 ff 68 69")
    desk.open(f"messages/{secret}")
    expect(desk.page.get_by_text("redacted", exact=True)).to_be_visible()
    assert "s3cret" not in desk.page.content()


def test_a_fault_is_switched_on_strikes_and_is_switched_off(desk: Desk) -> None:
    page = desk.page
    desk.open("faults")
    page.get_by_label("What goes wrong").select_option("answer")
    page.get_by_label("Status").fill("503")
    page.get_by_label("How many").fill("1")
    page.get_by_role("button", name="Switch on").click()
    row = page.locator("main tbody tr")
    expect(row).to_contain_text("everything, once")
    desk.publish()
    expect(row.locator("td").nth(2)).to_have_text("1×")
    desk.turn("1s")
    assert desk.receiver.got == []
    row.get_by_role("button", name="Switch off").click()
    expect(page.get_by_text("No fault is switched on")).to_be_visible()
    desk.turn("1m")
    assert len(desk.receiver.got) == 1
    page.get_by_label("What goes wrong").select_option("wrong-signature")
    page.get_by_role("button", name="Switch on").click()
    expect(row).to_contain_text("wrong-signature")
    message_id = desk.publish("/unsigned")
    desk.open(f"messages/{message_id}")
    expect(page.get_by_label("Attempt 1", exact=True)).to_contain_text("does not verify")


def test_rotating_the_keys_asks_first(desk: Desk) -> None:
    before = desk.api.get("/v2/keys").json()
    desk.open("keys")
    desk.page.get_by_role("button", name="Rotate…").click()
    desk.page.get_by_role("button", name="Leave it").click()
    assert desk.api.get("/v2/keys").json() == before
    desk.page.get_by_role("button", name="Rotate…").click()
    desk.page.get_by_role("button", name="Rotate", exact=True).click()
    expect(desk.page.get_by_text(before["next"]).first).to_be_visible()
    assert desk.api.get("/v2/keys").json()["current"] == before["next"]


def test_light_and_dark_by_the_system_and_by_the_switch(desk: Desk) -> None:
    page = desk.page
    ground = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="dark")
    desk.open("overview")
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Light or dark").click()
    light = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == light


def test_every_page_fits_a_phone(desk: Desk) -> None:
    desk.receiver.always = (500, {}, b"x" * 300)
    message_id = desk.publish(
        "/a/rather/long/path/" + "x" * 120, Upstash_Retries="0", Upstash_Queue_Name="mails"
    )
    desk.turn("1s")
    desk.page.set_viewport_size({"width": 360, "height": 720})
    for name in (*PAGES, f"messages/{message_id}"):
        desk.open(name)
        desk.page.wait_for_timeout(50)
        assert desk.page.evaluate("document.documentElement.scrollWidth") <= 360, name


def test_the_python_and_the_curl_that_the_form_writes_publish_the_same_message(
    desk: Desk, manual_server: ServerProcess
) -> None:
    page = desk.page
    desk.open("publish")
    page.get_by_text("Delay, retries, callbacks").click()
    for label, value in (
        ("Destination", f"{desk.inbox_url}/x?y=1"), ("Queue", "mails"), ("Delay", "1h"), ("Retries", "2"),
        ("Retry delay (ms)", "1000 * retried"), ("Timeout", "30s"), ("Labels", "one, two"),
        ("Callback", f"{desk.inbox_url}/done"), ("Failure callback", f"{desk.inbox_url}/failed"),
        ("Flow-control key", "k"), ("Flow-control value", "rate=5, period=1m, parallelism=2"),
        ("Redact", "body, header[X-Secret]"),
    ):  # fmt: skip
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_label("Method").select_option("PUT")
    page.get_by_label("Body", exact=True).fill('{"it\'s": "a \\"test\\"", "$HOME": 1}')
    page.get_by_role("button", name="Add a header").click()
    page.get_by_label("Header name").fill("X-Secret")
    page.get_by_label("Header value").fill("don't")
    shown = page.get_by_label("The call as code")
    curl = shown.inner_text()
    page.get_by_role("tab", name="Python").click()
    python = shown.inner_text()
    page.get_by_role("button", name="Publish", exact=True).click()
    expect(page.get_by_label("What became of it")).to_contain_text("CREATED")
    environment = {
        **os.environ,
        "QSTASH_URL": manual_server.url,
        "QSTASH_TOKEN": desk.api.headers["Authorization"].split()[1],
    }
    subprocess.run([sys.executable, "-c", python], env=environment, check=True)
    expected = 2
    if shutil.which("curl"):
        subprocess.run(
            ["sh", "-c", f"{curl} --silent --fail --output /dev/null"], env=environment, check=True
        )
        expected = 3
    listed = desk.api.get("/emulator/messages").json()["messages"]
    messages = [desk.api.get(f"/v2/messages/{one['messageId']}").json() for one in listed]
    assert len(messages) == expected
    for message in messages:
        assert message.pop("notBefore") - message.pop("createdAt") == 3_600_000
        message.pop("messageId")
    assert all(message == messages[0] for message in messages)
    assert messages[0]["header"]["X-Secret"][0].startswith("REDACTED:")


def test_a_stranger_is_asked_for_a_token_and_a_wrong_one_is_refused(
    browser: Browser, manual_server: ServerProcess
) -> None:
    token = manual_server.new_tenant()["QSTASH_TOKEN"]
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{manual_server.url}/emulator/")
    page.get_by_label("Whose messages").select_option(label="another token…")
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Show me").click()
    expect(page.get_by_role("alert")).to_contain_text("Nobody has this token")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Show me").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    assert token not in page.url
    context.close()


def test_a_foreign_page_reads_nothing_and_changes_nothing(
    browser: Browser, manual_server: ServerProcess
) -> None:
    """A real browser, a page that is not the server's own, and a published token that everybody knows."""
    token = manual_server.environment["QSTASH_TOKEN"]
    context = browser.new_context()
    page = context.new_page()
    page.goto("about:blank")
    outcomes = page.evaluate(
        """async ([url, token]) => {
            const results = [];
            const calls = [["GET", "messages"], ["GET", "session"], ["POST", "reset"], ["POST", "v2/publish/http://x.y"]];
            for (const [method, path] of calls)
                for (const mode of ["cors", "no-cors"])
                    try {
                        const headers = mode === "cors" ? { Authorization: `Bearer ${token}` } : {};
                        const target = `${url}/emulator/${path}?qstash_token=${token}`;
                        const answer = await fetch(target, { method, mode, headers });
                        results.push(`${answer.type} ${answer.status}`);
                    } catch (error) {
                        results.push("refused");
                    }
            return results;
        }""",
        [manual_server.url, token],
    )
    # An opaque answer is one that the page may not look into.
    assert set(outcomes) <= {"refused", "opaque 0"}
    left = httpx.get(
        f"{manual_server.url}/emulator/messages",
        headers={"Authorization": f"Bearer {token}"},
        timeout=HANG_SECONDS,
    ).json()
    assert left["total"] == 0
    context.close()
