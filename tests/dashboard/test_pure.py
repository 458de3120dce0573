"""The dashboard's pure parts: figures from histories, signatures taken apart, attempts read, waits explained."""

import base64
import math

from hypothesis import given
from hypothesis import strategies as st

from emulator.broker.message import LogEntry, State
from emulator.http.dashboard.statistics import overview, percentiles
from emulator.store.attempts import pair_attempts
from emulator.store.dashboard_queries import HistoryStep
from emulator.wire.backoff import default_backoff_ms, explain_wait, retry_wait_ms
from emulator.wire.retry_delay import RetryDelay
from emulator.wire.signature import sign
from emulator.wire.signature_check import check_signature

KEYS = {"current": "sig_current", "next": "sig_next"}
URL = "https://example.com/hook"
BODY = b'{"a": 1}'


def _step(state: State, time_at: int, message_seq: int = 1, **fields: object) -> HistoryStep:
    values: dict[str, object] = {
        "seq": time_at, "time_at": time_at, "state": state, "retried": 0, "next_delivery_at": None, "status": None,
        "error": None, "message_seq": message_seq, "message_id": f"msg_{message_seq}", "url": URL, "method": "POST",
        "created_at": 0, "not_before_at": 0, "max_retries": 3, "queue_name": None, "schedule_id": None, "labels": (),
    }  # fmt: skip
    return HistoryStep(**{**values, **fields})  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 10**9), min_size=1))
def test_percentiles_are_values_that_occurred_in_order(values) -> None:
    found = percentiles(values)
    assert found is not None
    assert set(found.values()) <= set(values)
    assert found["p50"] <= found["p95"] <= found["p99"] <= found["max"] == max(values)
    assert sum(value <= found["p95"] for value in values) >= math.ceil(0.95 * len(values))


def test_without_attempts_there_are_no_figures_and_no_error() -> None:
    figures = overview([], now_at=1_000_000, window_ms=60_000)
    assert figures["latencyMs"] is None
    assert figures["successRate"] is None
    assert len(figures["buckets"]) == 60


def test_latency_and_lateness_are_counted_from_what_the_history_promised() -> None:
    steps = [
        _step(State.CREATED, 0),
        _step(State.ACTIVE, 5),
        _step(State.ERROR, 105, error="broken", next_delivery_at=1_105),
        _step(State.RETRY, 105, next_delivery_at=1_105),
        _step(State.ACTIVE, 1_125, retried=1),
        _step(State.DELIVERED, 1_325, retried=1),
        # An attempt that began before the window: it has no beginning, and no latency.
        _step(State.DELIVERED, 1_400, message_seq=2),
    ]
    figures = overview(steps, now_at=6_000, window_ms=6_000)
    assert figures["latencyMs"] == {"p50": 100, "p95": 200, "p99": 200, "max": 200}
    assert figures["latenessMs"]["max"] == 20
    assert figures["attemptSuccessRate"] == 0.5
    assert (figures["accepted"], figures["delivered"]) == (1, 2)
    assert figures["failing"][0]["lastError"] == "broken"


@given(st.lists(st.tuples(st.sampled_from(list(State)), st.integers(0, 10_000), st.integers(1, 5))))
def test_any_part_of_any_history_gives_figures_that_add_up(parts) -> None:
    steps = [_step(state, at, seq) for state, at, seq in sorted(parts, key=lambda part: part[1])]
    figures = overview(steps, now_at=10_000, window_ms=5_000)
    for name, state in (
        ("accepted", State.CREATED),
        ("delivered", State.DELIVERED),
        ("failed", State.FAILED),
    ):
        assert figures[name] == sum(step.state is state for step in steps)
        assert sum(bucket[name] for bucket in figures["buckets"]) == figures[name]


def _signature(key: str = "sig_current") -> str:
    return sign(key=key, url=URL, body=BODY, issued_at_seconds=1_000, jwt_id="jwt_1")


def test_a_signature_is_told_by_its_key_and_each_check_by_itself() -> None:
    for name, key in KEYS.items():
        report = check_signature(_signature(key), keys=KEYS, url=URL, body=BODY)
        assert report is not None
        assert (report.key_name, report.verifies, report.expires_at) == (name, True, 1_300_000)
    strange = check_signature(_signature("sig_other"), keys=KEYS, url=URL, body=BODY)
    assert strange is not None
    assert (strange.key_name, strange.is_url_right, strange.is_body_right, strange.verifies) == (
        None,
        True,
        True,
        False,
    )
    elsewhere = check_signature(_signature(), keys=KEYS, url=f"{URL}/", body=BODY + b" ")
    assert elsewhere is not None
    assert (elsewhere.key_name, elsewhere.is_url_right, elsewhere.is_body_right) == ("current", False, False)


@given(st.text("aZ0-_.=é", max_size=80))
def test_whatever_is_not_a_signature_is_none_and_no_error(text) -> None:
    assert check_signature(text, keys=KEYS, url=URL, body=BODY) is None


def test_claims_that_are_no_object_are_no_signature() -> None:
    part = base64.urlsafe_b64encode(b"[1]").decode().rstrip("=")
    assert check_signature(f"{part}.{part}.{part}", keys=KEYS, url=URL, body=BODY) is None


@given(
    st.integers(0, 20),
    st.sampled_from([None, "1000 * (1 + retried)", "5000 / 0"]),
    st.sampled_from(
        [(), (("Retry-After", "7"),), (("retry-after", "nonsense"),), (("X-RateLimit-Reset", "3"),)]
    ),
)
def test_the_rule_that_is_named_is_the_one_that_decided(retried, expression, headers) -> None:
    words = explain_wait(retried=retried, expression=expression, response_headers=headers, now_at=0)
    wait_ms = retry_wait_ms(retried=retried, expression=expression, response_headers=headers, now_at=0)
    if words.startswith("as the response's"):
        assert wait_ms in (7_000, 3_000)
    elif words.startswith("Upstash-Retry-Delay"):
        assert expression is not None
        assert wait_ms == RetryDelay.parse(expression).after(retried)
    else:
        assert words.startswith("default backoff")
        assert wait_ms == default_backoff_ms(retried)


def test_a_cancelled_attempt_ends_and_an_attempt_under_way_does_not() -> None:
    def entry(state: State, time_at: int, retried: int = 0, next_at: int | None = None) -> LogEntry:
        return LogEntry(
            message_seq=1, time_at=time_at, state=state, retried=retried, next_delivery_at=next_at
        )

    history = [
        entry(State.CREATED, 0, next_at=10), entry(State.ACTIVE, 10), entry(State.ERROR, 20, next_at=50),
        entry(State.RETRY, 20, next_at=50), entry(State.ACTIVE, 30, 1), entry(State.CANCEL_REQUESTED, 31, 1),
    ]  # fmt: skip
    first, second = pair_attempts(history, {1: 10})
    assert (first.due_at, first.started_at, first.next_at) == (10, 10, 50)
    assert (second.due_at, second.started_at, second.end) == (50, 30, None)
    [_, ended] = pair_attempts([*history, entry(State.CANCELED, 40, 1)], {1: 10})
    assert ended.end is not None
    assert ended.end.state is State.CANCELED
