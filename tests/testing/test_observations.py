"""Views, assertions and what their failures say; the invariants on a user's own run."""

import asyncio
import re

import pytest
from qstash import AsyncQStash

from emulator.broker.message import State
from emulator.testing import Harness
from emulator.testing.recorder import ClientCall

URL = "https://example.com/hook"


async def _publish(qstash: Harness, **options: object) -> None:
    sdk = AsyncQStash(qstash.token)
    await sdk.message.publish_json(url=URL, **{"body": {"n": 1, "user": {"id": 7}}, **options})  # type: ignore[arg-type]


async def test_messages_show_what_was_published_and_what_became_of_it(qstash, receiver) -> None:
    receiver.answers = [(503, {"X-Why": "busy"}, b"later"), 200]
    start_at = qstash.now
    await _publish(
        qstash, headers={"X-Mine": "1"}, label="greeting", retries=2, failure_callback="https://f.example"
    )
    await qstash.run_until_idle()
    [message] = qstash.messages
    assert (message.url, message.method, message.state) == (URL, "POST", State.DELIVERED)
    assert message.json() == {"n": 1, "user": {"id": 7}}
    assert (message.headers["x-mine"], message.labels) == ("1", ("greeting",))
    assert (message.max_retries, message.failure_callback) == (2, "https://f.example")
    first, second = message.attempts
    assert (first.number, first.status, first.response_body) == (1, 503, b"later")
    assert first.response_headers["x-why"] == "busy"
    assert (second.number, second.status, second.is_delivered) == (2, 200, True)
    assert second.started_at == qstash.now == start_at + 12_182
    assert qstash.deliveries == [second]
    assert [line.state for line in qstash.logs][-1] is State.DELIVERED
    assert qstash.dlq == []


async def test_the_dlq_keeps_the_last_answer(qstash, receiver) -> None:
    receiver.always = (500, {}, b"broken")
    await _publish(qstash, retries=0)
    await qstash.run_until_idle()
    [dead] = qstash.dlq
    assert (dead.url, dead.status, dead.response_body) == (URL, 500, b"broken")
    assert qstash.assert_failed(URL, attempts=1).id == dead.message_id


async def test_an_assertion_returns_the_message_it_is_about(qstash, receiver) -> None:
    await _publish(qstash, headers={"X-Mine": "1"}, label="greeting")
    await qstash.run_until_idle()
    conditions = {
        "body": {"user": {"id": 7}},
        "headers": {"x-mine": "1"},
        "label": "greeting",
        "method": "post",
        "count": 1,
    }
    message = qstash.assert_published("https://example.com", **conditions)
    assert qstash.assert_delivered(URL, attempts=1, **conditions) == message
    assert qstash.find(label="greeting") == [message]
    qstash.assert_published(body='"n":')
    qstash.assert_published("https://*/hook", headers="X-Mine")
    for other in (
        {"label": "x"},
        {"queue": "q"},
        {"method": "PUT"},
        {"headers": "X-Other"},
        {"body": {"n": 2}},
    ):
        qstash.assert_not_published(URL, **other)


async def test_a_failure_shows_the_nearest_message_and_the_others(qstash, receiver) -> None:
    receiver.always = 500
    await _publish(qstash)
    await _publish(qstash, body={"n": 3})
    await qstash.settle()
    with pytest.raises(AssertionError) as failed:
        qstash.assert_published(URL, body={"n": 2})
    text = re.sub(r"msg_\w+", "msg_…", str(failed.value))
    assert text == (
        "no message to https://example.com/hook with body {'n': 2} was published.\n"
        "\n"
        "The nearest differs in body:\n"
        "\n"
        "msg_…  POST https://example.com/hook  RETRY\n"
        '    body: {"n": 1, "user": {"id": 7}}\n'
        "    2026-06-01 12:00:00.000  CREATED\n"
        "    2026-06-01 12:00:00.000  ACTIVE     attempt 1\n"
        "    2026-06-01 12:00:00.000  ERROR      the destination answered with status 500 (Internal Server Error); "
        "the app's own log says more\n"
        "    2026-06-01 12:00:00.000  RETRY      attempt 2 is due after 12s, at 2026-06-01 12:00:12.182\n"
        "\n"
        "Published were also:\n"
        "\n"
        'msg_…  POST https://example.com/hook  RETRY  {"n": 3}'
    )


async def test_a_failure_says_when_one_looks_too_early(qstash, receiver) -> None:
    await _publish(qstash, delay="1h")
    with pytest.raises(
        AssertionError,
        match=r"is CREATED, its time has not come: its delay \(now is 2026.*; move the clock: qstash.advance",
    ):
        qstash.assert_delivered(URL)
    await _publish(qstash, label="now")
    with pytest.raises(AssertionError, match="to be DELIVERED, but it is"):
        qstash.assert_delivered(label="now")


async def test_counts_attempts_and_unwanted_messages_are_told_with_their_histories(qstash, receiver) -> None:
    with pytest.raises(AssertionError, match="nothing was published at all"):
        qstash.assert_published(URL)
    receiver.answers = [500]
    await _publish(qstash)
    await qstash.run_until_idle()
    for check, words in (
        (lambda: qstash.assert_published(URL, count=2), "expected 2 times a message to .*, published were 1"),
        (lambda: qstash.assert_not_published(URL), "expected no message to .*, published were 1"),
        (lambda: qstash.assert_delivered(URL, attempts=1), "after 1 attempts, not 2"),
        (lambda: qstash.assert_failed(URL), "to be FAILED, but it is DELIVERED"),
    ):
        with pytest.raises(AssertionError, match=words) as failed:
            check()  # type: ignore[no-untyped-call]
        assert "ACTIVE     attempt 2" in str(failed.value)


def test_a_plain_test_sees_what_is_due_happen_before_it_looks(qstash, receiver) -> None:
    import qstash as vendor

    vendor.QStash(qstash.token).message.publish(url=URL, body="x")
    assert qstash.assert_delivered(URL).text == "x"
    qstash.assert_invariants()


FAULTS = [
    ("refuse", {"probability": 0.4}),
    ("answer", {"status": 500, "probability": 0.4}),
    ("deliver-twice", {}),
    ("out-of-order", {}),
    ("delay", {"delay": "45s", "probability": 0.5}),
    ("time-out", {"count": 2}),
    ("crash", {"count": 3}),
    ("wrong-signature", {"count": 2}),
    ("publish-silence", {"accepted": True, "count": 2}),
]


@pytest.mark.parametrize(("kind", "fields"), FAULTS)
async def test_the_invariants_hold_whatever_goes_wrong(qstash, receiver, kind, fields) -> None:
    qstash.faults.add(kind, **fields)
    post = qstash.client.post
    await post("/v2/queues", json={"queueName": "wide", "parallelism": 3})
    await post("/v2/schedules/https://example.com/scheduled", headers={"Upstash-Cron": "*/10 * * * *"})
    limited = {"Upstash-Flow-Control-Key": "k", "Upstash-Flow-Control-Value": "rate=2, period=1m"}
    for number in range(6):
        for path, headers in (
            (f"publish/https://example.com/{number}", {"Upstash-Timeout": "30s"}),
            (f"enqueue/line/https://example.com/{number}", {"Upstash-Retries": "1"}),
            (f"enqueue/wide/https://example.com/{number}", {"Upstash-Callback": "https://example.com/told"}),
            (f"publish/https://example.com/limited/{number}", limited),
            ("publish/https://example.com/once", {"Upstash-Deduplication-Id": "once"}),
        ):
            try:
                await post(f"/v2/{path}", headers=headers)
            except Exception as error:  # noqa: BLE001  what the fault says
                assert kind == "publish-silence", error
    await qstash.advance("3d")
    assert len(qstash.messages) > 400
    qstash.assert_invariants()


async def test_a_violation_names_the_messages_and_shows_their_histories(qstash, receiver) -> None:
    await _publish(qstash)
    await qstash.run_until_idle()
    [message] = qstash.messages
    # As if the emulator had forgotten what it accepted.
    with qstash.emulator.writer.store.begin() as connection:
        connection.exec_driver_sql("UPDATE log_entries SET state = 'ACTIVE' WHERE state = 'CREATED'")
    with pytest.raises(AssertionError, match="ACTIVE cannot follow nothing") as failed:
        qstash.assert_invariants()
    assert message.id in str(failed.value)
    assert "attempt 1" in str(failed.value)


async def test_a_message_that_was_acknowledged_and_is_gone_is_a_violation(qstash, receiver) -> None:
    await qstash.client.post(f"/v2/publish/{URL}")
    qstash._run.recorder.note_call(
        ClientCall(
            method="POST",
            target="/v2/publish/https://example.com",
            query="",
            lines=[],
            body=b"",
            status=201,
            answer=b'{"messageId": "msg_gone"}',
            sent_at=qstash.now,
            done_at=qstash.now,
        )
    )
    with pytest.raises(AssertionError, match="msg_gone was acknowledged, and nothing is known of it"):
        qstash.assert_invariants()


async def test_the_first_two_uses_at_once_find_one_emulator_on_a_file(tmp_path) -> None:
    harness = Harness(db=str(tmp_path / "q.db"))
    harness.open(is_async=True)
    answers = await asyncio.gather(
        *(harness.client.post(f"/v2/publish/https://example.com/{number}") for number in range(2))
    )
    assert [answer.status_code for answer in answers] == [201, 201]
    await harness.settle()
    assert len(harness.messages) == 2
    await harness._stop()
