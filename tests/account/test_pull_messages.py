"""Entries of the dead letter queue and messages that wait come with a pull, once each."""

import base64
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from emulator.testing import Listener, Receiver
from emulator.testing.server import ServerTenant
from tests.account.conftest import Run
from tests.account.proxy import BEFORE, Answer, Proxy
from tests.bounds import HANG_SECONDS

REWRITE = "--rewrite=https://app.example.com=http://127.0.0.1:9"
OWN = ("messageId", "dlqId", "createdAt", "notBefore", "callerIP")


def without_ids(views: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in one.items() if name not in OWN} for one in views]


def entries(tenant: ServerTenant) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tenant.call("GET", "/v2/dlq")["messages"]
    return found


def fill(account: ServerTenant, number: int = 3) -> None:
    account.add_fault(
        "answer", status=500, responseBody="KeyError: 'total'", responseHeaders={"X-Why": "bug"}
    )
    for one in range(number):
        account.call(
            "POST",
            f"/v2/publish/https://app.example.com/hook?{one}",
            {"order": one, "name": "Grüße"},
            **{
                "Upstash-Retries": "0",
                "Upstash-Label": "one,two",
                "Upstash-Forward-X-Trace": "7f",
                "Upstash-Flow-Control-Key": "k/1",
                "Upstash-Flow-Control-Value": "rate=5,period=1m",
            },
        )
    account.run_until_idle()
    account.call("DELETE", "/emulator/faults")


def test_dead_letters_come_once_and_can_be_retried_here(
    run: Run, account: ServerTenant, local: ServerTenant
) -> None:
    fill(account)
    with Listener(receiver := Receiver(now=lambda: 0)) as app:
        rewrite = f"--rewrite=https://app.example.com={app.url}"
        assert "emulator: 3 messages copied" in run("pull", rewrite, "--with-dlq").stdout
        assert "emulator: 0 messages copied" in run("pull", rewrite, "--with-dlq").stdout
        theirs, ours = without_ids(entries(account)), without_ids(entries(local))
        assert [
            one | {"url": one["url"].replace("https://app.example.com", app.url)} for one in theirs
        ] == ours
        assert ours[0]["responseBody"] == "KeyError: 'total'"
        assert ours[0]["responseHeader"]["X-Why"] == ["bug"]
        assert receiver.got == []
        message = entries(local)[0]["messageId"]
        states = [one["state"] for one in local.call("GET", f"/v2/logs?messageId={message}")["logs"]]
        assert states == ["FAILED", "CREATED"]
        answer = local.call("POST", "/v2/dlq/retry")
        assert len(answer["responses"]) == 3
        deadline = time.monotonic() + HANG_SECONDS
        while len(receiver.got) < 3 and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        assert {one.headers["x-trace"] for one in receiver.got} == {"7f"}
    assert entries(account) != []


def test_more_than_a_page_of_them_comes_whole(run: Run, account: ServerTenant, local: ServerTenant) -> None:
    fill(account, 101)
    assert "emulator: 101 messages copied" in run("pull", REWRITE, "--with-dlq").stdout
    assert local.call("GET", "/v2/dlq")["cursor"]


def test_messages_that_wait_come_with_their_times_and_their_queue(
    run: Run, account: ServerTenant, local: ServerTenant
) -> None:
    account.call("POST", "/v2/queues", {"queueName": "q", "paused": True})
    account.call("POST", "/v2/enqueue/q/https://app.example.com/queued", {"n": 1})
    account.call(
        "POST",
        "/v2/publish/https://app.example.com/late",
        {"n": 2},
        **{"Upstash-Delay": "30d", "Upstash-Retries": "1"},
    )
    gone = account.call("POST", "/v2/publish/https://app.example.com/gone", **{"Upstash-Delay": "1d"})[
        "messageId"
    ]
    account.call("DELETE", f"/v2/messages/{gone}")
    late = next(one for one in account.call("GET", "/v2/logs")["logs"] if one["url"].endswith("/late"))
    assert "emulator: 2 messages copied" in run("pull", REWRITE, "--with-messages").stdout
    assert "emulator: 0 messages copied" in run("pull", REWRITE, "--with-messages").stdout
    found = {one["url"].rsplit("/", 1)[1]: one for one in local.call("GET", "/v2/logs")["logs"]}
    assert set(found) == {"queued", "late"}
    assert found["queued"]["queueName"] == "q"
    assert base64.b64decode(found["late"]["body"]) == b'{"n":2}'
    assert found["late"]["maxRetries"] == 1
    assert 0 <= found["late"]["nextDeliveryTime"] - late["nextDeliveryTime"] < 1000


def test_what_cannot_be_copied_is_said(run: Run, account: ServerTenant, local: ServerTenant) -> None:
    delay = {"Upstash-Delay": "1d"}
    hidden = account.call(
        "POST",
        "/v2/publish/https://app.example.com/a",
        {"n": 1},
        **delay,
        **{"Upstash-Redact-Fields": "body"},
    )
    said = run("pull", REWRITE, "--with-messages")
    assert f"not copied: {hidden['messageId']}: the account shows it in part as digests" in said.stderr
    assert "emulator: 0 messages copied" in said.stdout
    assert "would call https://app.example.com:443" in run("pull", "--with-messages", code=2).stderr
    assert "fill the emulator, not a file" in run("pull", "--file", "x.yaml", "--with-dlq", code=2).stderr
    assert not Path("x.yaml").exists()
    assert local.call("GET", "/v2/logs")["logs"] == []


def test_a_copy_that_breaks_off_says_how_far_it_came(
    run: Run, account: ServerTenant, local: ServerTenant
) -> None:
    fill(account)
    cut = "POST", "/emulator/dlq"
    seen: list[int] = []

    def choose(one: Any) -> str | None:
        if (one.method, one.target) != cut:
            return None
        seen.append(one.number)
        return BEFORE if len(seen) == 2 else None

    with Proxy(local.url, choose) as proxy:
        broken = run("pull", REWRITE, "--with-dlq", "--emulator-url", proxy.url, code=1)
    assert "1 of 3 messages copied, " in broken.stderr
    assert len(entries(local)) == 1
    assert "emulator: 2 messages copied" in run("pull", REWRITE, "--with-dlq").stdout


@pytest.mark.parametrize(("path", "option"), [("/v2/dlq", "--with-dlq"), ("/v2/logs", "--with-messages")])
def test_an_answer_of_another_form_is_said(run: Run, account: ServerTenant, path: str, option: str) -> None:
    odd = Answer(200, b'{"entries": []}')
    with Proxy(account.url, lambda one: odd if one.target.startswith(path) else None) as proxy:
        said = run("pull", option, "--account-url", proxy.url, code=1).stderr
    assert "answered something unknown: there is no list of" in said


def test_why_no_answer_came_is_text_that_every_database_keeps(local: ServerTenant) -> None:
    why = base64.b64encode(b"a\0b\xff").decode()
    local.call("POST", "/emulator/dlq", {"destination": "https://e.com", "responseBodyBase64": why})
    assert [one["responseBody"] for one in entries(local)] == ["a\ufffdb\ufffd"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "destination"),
        ({"destination": "nowhere"}, "invalid scheme"),
        ({"destination": "https://e.com", "bodyBase64": "%"}, "bodyBase64 is not standard base64"),
        ({"destination": "https://e.com", "responseStatus": 1000}, "responseStatus"),
        ({"destination": "https://e.com", "headers": {"Upstash-Retries": "x"}}, "Upstash-Retries"),
    ],
)
def test_an_entry_that_cannot_be_meant_is_refused(
    local: ServerTenant, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(Exception, match=f"400 .*{words}"):
        local.call("POST", "/emulator/dlq", fields)
