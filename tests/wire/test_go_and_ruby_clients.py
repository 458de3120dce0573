"""The requests of the Go client and of a Ruby client, byte for byte as they are sent, and what is made of them.

``recorded_requests.json`` holds what Go 1.19's ``net/http`` and Ruby 3.1's ``Net::HTTP`` send for the calls of
``upstash/qstash-go`` (ad8500f) and of ``dvmonroe/qstash-ruby`` (a6da4aa), recorded 2026-11-27: names of headers and
their order, ``Accept-Encoding``, lengths, how paths and queries are escaped, Go's ``\\u003c`` in JSON, Ruby's
``Content-Type`` of a form on JSON. In capitals stands what the emulator says: the host, the token, an id.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.wire.raw import RawAnswer, exchange

_RECORDED = json.loads((Path(__file__).parent / "recorded_requests.json").read_text())

Send = Callable[..., Any]


@pytest.fixture
def send(request: pytest.FixtureRequest, tenant: dict[str, str]) -> Send:
    """Sends one of the recorded requests; what was answered, as JSON's values."""
    client = request.node.name.split("_")[1]

    def send(name: str, status: int, **ids: str) -> Any:
        filled = {"HOST": tenant["QSTASH_URL"].partition("//")[2], "TOKEN": tenant["QSTASH_TOKEN"], **ids}
        text = _RECORDED[client][name]
        for placeholder, value in filled.items():
            text = text.replace(placeholder, value)
        answer = exchange(tenant["QSTASH_URL"], text.encode())
        return _read(answer, status)

    return send


def _read(answer: RawAnswer, status: int) -> Any:
    assert answer.status == status, answer.body
    # Neither client unpacks what it did not ask for, and both would ask for gzip.
    assert "content-encoding" not in answer.headers
    return json.loads(answer.body) if answer.body else None


@pytest.fixture
def message(tenant: dict[str, str]) -> Callable[[str], Any]:
    """Reads a message by its id."""

    def get(message_id: str) -> Any:
        lines = f"Host: x\r\nAuthorization: Bearer {tenant['QSTASH_TOKEN']}\r\n\r\n"
        request = f"GET /v2/messages/{message_id} HTTP/1.1\r\n{lines}"
        return _read(exchange(tenant["QSTASH_URL"], request.encode()), 200)

    return get


def test_go_publishes_enqueues_and_batches(send: Send, message: Callable[[str], Any]) -> None:
    published = message(send("publish", 201)["messageId"])
    # As it was escaped: the destination is called with these bytes.
    assert published["url"] == "https://example.com/gr%C3%BCn/a%20b?x=%2F&y=1"
    assert (published["method"], published["maxRetries"], published["body"]) == ("PUT", 2, "test-body")
    assert published["header"] == {"Test-Header": ["test-value"]}
    as_json = message(send("publish JSON", 201)["messageId"])
    assert as_json["body"] == r'{"html":"\u003cb\u003e\u0026"}'
    assert as_json["callback"] == "https://example.com/done?a=b"
    enqueued = message(send("enqueue", 201)["messageId"])
    assert (enqueued["queueName"], enqueued.get("body", "")) == ("go-queue", "")
    send("endpoints of a group", 200)
    first, group, queued = send("batch", 200)
    assert message(first["messageId"])["header"]["X-Mine"] == ["1"]
    assert [one["url"] for one in group] == ["https://example.com/a", "https://example.com/b"]
    assert message(queued["messageId"])["queueName"] == "go-queue"
    assert "queueName" not in message(first["messageId"])
    # Its filter is escaped as a form's: blanks are plus signs.
    events = send("events", 200)["events"]
    assert {event["url"] for event in events} <= {"https://example.com/grün/a b?x=%2F&y=1"}
    assert send("cancel by ids", 202) == {"cancelled": 0}
    # An answer is read as a map of whole numbers.
    cancelled = send("cancel all", 202)
    assert cancelled == {"cancelled": 7}


def test_go_makes_reads_and_pauses_schedules_and_rotates_keys(send: Send) -> None:
    schedule_id = send("schedule", 200)["scheduleId"]
    send("pause", 200, SCHEDULE=schedule_id)
    schedule = send("get a schedule", 200, SCHEDULE=schedule_id)
    assert (schedule["destination"], schedule["body"], schedule["method"]) == (
        "https://example.com",
        "scheduled",
        "GET",
    )
    assert (schedule["cron"], schedule["isPaused"]) == ("0 0 1 1 *", True)
    assert set(send("rotate", 200)) == {"current", "next"}


def test_ruby_publishes_batches_and_cancels(send: Send, message: Callable[[str], Any]) -> None:
    published = send("publish", 201)["messageId"]
    shown = message(published)
    assert (shown["url"], shown["body"]) == ("https://example.com/ruby?x=%2F", '{"hello":"wörld"}')
    assert (shown["maxRetries"], shown["header"]["Myheader"]) == (2, ["mine"])
    enqueued = message(send("enqueue", 201)["messageId"])
    assert (enqueued["queueName"], enqueued["body"]) == ("ruby-queue", '"text"')
    [item] = send("batch", 200)
    assert message(item["messageId"])["body"] == "a"
    assert send("dead letters", 200)["messages"] == []
    # JSON under the name of a form.
    assert send("cancel by ids", 202) == {"cancelled": 0}
    assert send("cancel one", 202, MESSAGE=published) == {"cancelled": 1}
    assert set(send("rotate", 200)) == {"current", "next"}
