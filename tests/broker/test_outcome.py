"""The sentence for every kind of answer: what happened, why and what to do, for bodies that frameworks really send."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.broker.message import AttemptResult, LogEntry, State
from emulator.broker.outcome import body_words, describe, explain, explain_entry

URL = "http://localhost:3000/api/pay?x=1"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", None),
        (b"busy\n", "busy"),
        (b'{"error": "busy"}', "busy"),
        (b'{"error": "Error", "message": "declined", "stack": "Error: at x"}', "Error: declined"),
        (b'{"error": {"code": 7, "message": "no such user"}}', "no such user"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (
            b'{"detail": [{"loc": ["body", "total"], "msg": "is required", "type": "x"}]}',
            "body.total: is required",
        ),
        (b'{"title": "Bad Gateway", "status": 502}', "Bad Gateway"),
        (b'"plain"', "plain"),
        (b'{"code": 7}', '{"code": 7}'),
        (b'{"error": ', '{"error":'),
        (b"<html><style>p {}</style><body><h1>Server Error</h1>\n(500)</body></html>", "Server Error (500)"),
        (b"\xff\xfe\x00", None),
        ("é".encode() * 20_000, "é" * 299 + "…"),
        (b"x" * 19_999 + "é".encode(), "x" * 299 + "…"),
        (b"\x1b[31mred\x07", "[31mred"),
    ],
)
def test_an_answers_body_in_words(body: bytes, words: str | None) -> None:
    assert body_words(body) == words


@given(st.binary(max_size=400) | st.text(max_size=400).map(str.encode))
def test_any_body_makes_at_most_one_short_printable_line(body: bytes) -> None:
    words = body_words(body)
    assert words is None or ((0 < len(words) <= 300 and words.isprintable()) or not words.isascii())


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (
            AttemptResult(status=0, error="connection refused by localhost:3000"),
            "connection refused by localhost:3000",
        ),
        (
            AttemptResult(status=302, headers=(("location", "https://x.test/login"),)),
            "the destination answered with status 302 (Found); redirects are not followed: publish to https://x.test/login",
        ),
        (
            AttemptResult(status=404, body=b"gone"),
            "the destination answered with status 404 (Not Found): gone; does the app have a route for POST /api/pay?",
        ),
        (
            AttemptResult(
                status=489, headers=(("Upstash-NonRetryable-Error", "true"),), body=b"no such user"
            ),
            "the destination answered with status 489: no such user; the app asked for no retry",
        ),
        (
            AttemptResult(
                status=500,
                headers=(("Upstash-Error-Step-Name", "charge"),),
                body=b'{"error": "Error", "message": "declined"}',
            ),
            "the destination answered with status 500 (Internal Server Error) in step 'charge': Error: declined",
        ),
        (
            AttemptResult(status=503),
            "the destination answered with status 503 (Service Unavailable); the app's own log says more",
        ),
        (AttemptResult(status=200, error="the answer is not a workflow's"), "the answer is not a workflow's"),
    ],
)
def test_why_an_attempt_failed(result: AttemptResult, sentence: str) -> None:
    reason = explain(result, url=URL)
    assert reason is not None
    assert reason.sentence == sentence


def test_a_wrong_signature_names_the_variables_to_look_at() -> None:
    for status in (401, 403):
        reason = explain(AttemptResult(status=status), url=URL)
        assert reason is not None
        assert "QSTASH_CURRENT_SIGNING_KEY" in reason.sentence


def test_a_path_with_braces_is_shown_as_it_is() -> None:
    reason = explain(AttemptResult(status=405), url="http://x.test/{id}/{method}", method="PUT")
    assert reason is not None
    assert reason.advice == "does the app take PUT at /{id}/{method}? Upstash-Method chooses another method"


def test_success_has_no_reason() -> None:
    assert explain(AttemptResult(status=204), url=URL) is None
    entry = LogEntry(
        message_seq=1, time_at=1, state=State.DELIVERED, retried=0, response=AttemptResult(status=200)
    )
    assert explain_entry(entry, url=URL) is None


def test_an_answer_that_was_judged_a_failure_says_so() -> None:
    """The stored status is a success; the log line says why the attempt was none."""
    response = AttemptResult(status=200)
    entry = LogEntry(
        message_seq=1, time_at=1, state=State.ERROR, retried=0, error="no workflow", response=response
    )
    reason = explain_entry(entry, url=URL)
    assert reason is not None
    assert reason.why == "no workflow"


def test_how_a_message_stands() -> None:
    reason = explain(AttemptResult(status=503, body=b"busy"), url=URL)
    stands = {
        state: describe(
            state, retried=1, max_retries=3, last=reason, waits_for="queue q is paused", next_at=5
        ).sentence
        for state in (State.CREATED, State.ACTIVE, State.RETRY, State.FAILED, State.DELIVERED, State.CANCELED)
    }
    answered = "the destination answered with status 503 (Service Unavailable): busy"
    assert stands == {
        State.CREATED: "no attempt yet: queue q is paused",
        State.ACTIVE: f"attempt 2 of 4 is under way: the attempt before it failed: {answered}",
        State.RETRY: f"attempt 1 of 4 failed and attempt 2 waits (queue q is paused): {answered}",
        State.FAILED: f"failed for good after 2 attempts: {answered}; "
        "when that is mended, retry it from the dead letter queue",
        State.DELIVERED: "delivered at attempt 2",
        State.CANCELED: f"cancelled: {answered}",
    }


def test_a_result_with_what_was_sent_is_otherwise_the_same() -> None:
    result = AttemptResult(
        status=201, headers=(("a", "b"),), body=b"x", error="late", is_final=True, sent=None, note="odd"
    )
    sent = (("Host", "example.com"),)
    values = {one.name: getattr(result.with_sent(sent), one.name) for one in fields(AttemptResult)}
    assert values == {one.name: getattr(result, one.name) for one in fields(AttemptResult)} | {"sent": sent}
    assert all(value != AttemptResult.__dataclass_fields__[name].default for name, value in values.items())
