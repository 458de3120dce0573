"""The wait before a retry (contract 4.3, 4.4 and 4.6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.wire.backoff import MAX_BACKOFF_MS, default_backoff_ms, retry_wait_ms
from emulator.wire.retry_after import parse_wait, wait_from_response

# 2024-06-27 12:16:00 UTC
NOW_AT = 1_719_490_560_000


@pytest.mark.parametrize(
    ("retried", "seconds"),
    [(0, 12), (1, 2 * 60 + 28), (2, 30 * 60 + 8), (3, 6 * 3600 + 7 * 60 + 6), (4, 86_400), (10_000, 86_400)],
)
def test_default_backoff_is_the_published_table(retried: int, seconds: int) -> None:
    assert default_backoff_ms(retried) // 1000 == seconds


def test_default_backoff_to_the_hundredth_of_a_second() -> None:
    assert [default_backoff_ms(0), default_backoff_ms(1)] == [12_182, 148_413]


@given(st.integers(min_value=0, max_value=10**6))
def test_default_backoff_never_falls_and_never_passes_a_day(retried: int) -> None:
    assert default_backoff_ms(retried) <= default_backoff_ms(retried + 1) <= MAX_BACKOFF_MS


@pytest.mark.parametrize(
    ("text", "wait_ms"),
    [
        ("10", 10_000),
        ("0", 0),
        # The day name is wrong in the vendor's own sample and is not checked.
        ("Sun, 27 Jun 2024 12:16:24 GMT", 24_000),
        ("Thu, 27 Jun 2024 12:00:00 GMT", 0),
        ("6m5s", 365_000),
        ("300ms", 300),
        ("100us", 1),
        ("soon", None),
        ("-5", None),
        ("Sun, 31 Feb 2024 12:16:24 GMT", None),
        ("Sun, 27 Jun 0000 12:16:24 GMT", None),
    ],
)
def test_wait_header_values(text: str, wait_ms: int | None) -> None:
    assert parse_wait(text, now_at=NOW_AT) == wait_ms


def test_the_largest_usable_wait_counts_and_more_than_a_day_is_ignored() -> None:
    headers = [("Retry-After", "5"), ("x-ratelimit-reset", "90000"), ("X-RateLimit-Reset-Tokens", "1m")]
    assert wait_from_response(headers, now_at=NOW_AT) == 60_000


def test_a_wait_header_beats_the_expression_which_beats_the_default() -> None:
    headers = (("Retry-After", "5"),)
    assert retry_wait_ms(retried=0, expression="1000", response_headers=headers, now_at=NOW_AT) == 5_000
    assert retry_wait_ms(retried=0, expression="1000", response_headers=(), now_at=NOW_AT) == 1_000
    assert retry_wait_ms(retried=0, expression=None, response_headers=(), now_at=NOW_AT) == 12_182
    assert retry_wait_ms(retried=0, expression="1/retried", response_headers=(), now_at=NOW_AT) == 12_182


@given(st.text(max_size=40))
def test_no_header_value_breaks_the_reader(text: str) -> None:
    wait_ms = parse_wait(text, now_at=NOW_AT)
    assert wait_ms is None or wait_ms >= 0
