"""The two duration grammars (contract 1.6 and 4.6)."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import InvalidInput
from emulator.wire.durations import format_duration, parse_duration, parse_go_duration


@pytest.mark.parametrize(
    ("text", "span_ms"),
    [
        ("0s", 0),
        ("10s", 10_000),
        ("1h30m3s", 5_403_000),
        ("1d10h30m", 124_200_000),
        ("1d", 86_400_000),
        ("5m5m", 600_000),
    ],
)
def test_known_durations(text: str, span_ms: int) -> None:
    assert parse_duration(text, field="Upstash-Delay") == span_ms


@pytest.mark.parametrize(
    "text", ["", "5", "-5s", "1.5h", "1 h", "1H", "1w", "s", "10s ", "１s", "9" * 80 + "s"]
)
def test_anything_else_is_refused_with_the_header_and_the_value(text: str) -> None:
    with pytest.raises(InvalidInput, match="Upstash-Delay"):
        parse_duration(text, field="Upstash-Delay")


@given(st.integers(min_value=0, max_value=10**9))
def test_format_and_parse_are_inverse_on_whole_seconds(seconds: int) -> None:
    assert parse_duration(format_duration(seconds * 1000), field="x") == seconds * 1000


@given(st.text(max_size=80))
def test_parsing_never_fails_in_another_way(text: str) -> None:
    with suppress(InvalidInput):
        assert parse_duration(text, field="x") >= 0


@pytest.mark.parametrize(
    ("text", "span_ms"),
    [
        ("6m5s", 365_000),
        ("1.5h", 5_400_000),
        ("300ms", 300),
        ("100us", 0.1),
        ("100µs", 0.1),
        ("5ns", 5e-6),
        (".5s", 500),
    ],
)
def test_known_go_durations(text: str, span_ms: float) -> None:
    assert parse_go_duration(text) == pytest.approx(span_ms)


@pytest.mark.parametrize("text", ["", "1d", "5", "-1s", "1.5.5s", "abc"])
def test_what_is_no_go_duration(text: str) -> None:
    assert parse_go_duration(text) is None
