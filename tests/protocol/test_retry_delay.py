"""The retry-delay expression (contract 4.5)."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import InvalidInput
from emulator.wire.retry_delay import MAX_DELAY_MS, MAX_LENGTH, RetryDelay


@pytest.mark.parametrize(
    ("text", "waits"),
    [
        ("1000", [1000, 1000, 1000]),
        ("1000 * (1 + retried)", [1000, 2000, 3000]),
        ("pow(2, retried) * 1000", [1000, 2000, 4000]),
        ("7000 * retried", [0, 7000, 14000]),
        ("max(1000, min(5000, 2000 * retried))", [1000, 2000, 4000]),
        ("floor(1.9) + ceil(1.1) + round(2.5) + abs(-4) + sqrt(9)", [13, 13, 13]),
        ("10 - 2 - 3", [5, 5, 5]),
        ("100 / 5 / 2", [10, 10, 10]),
        ("2 + 3 * 4", [14, 14, 14]),
        ("-5", [0, 0, 0]),
        ("exp(100)", [MAX_DELAY_MS] * 3),
        ("1.9", [1, 1, 1]),
    ],
)
def test_known_answers(text: str, waits: list[int]) -> None:
    expression = RetryDelay.parse(text)
    assert [expression.after(retried) for retried in range(3)] == waits


@pytest.mark.parametrize(
    "text",
    [
        "", "1 +", "(1", "1)", "retries", "pow(2)", "sqrt(1, 2)", "min(1)", "1000 ms", "2 ** 3", "a.b",
        "__import__('os')",
        "1;2", "lambda: 1", "((" * 40 + "1" + "))" * 40, "1" * (MAX_LENGTH + 1), "pow", "1e3",
    ],
)  # fmt: skip
def test_what_is_refused_when_published(text: str) -> None:
    with pytest.raises(InvalidInput, match="Upstash-Retry-Delay"):
        RetryDelay.parse(text)


@pytest.mark.parametrize("text", ["1 / retried", "pow(10, 400) * 1", "sqrt(0 - 1)", "exp(1000)"])
def test_an_expression_without_a_value_leaves_it_to_the_default_backoff(text: str) -> None:
    assert RetryDelay.parse(text).after(0) is None


_NUMBERS = st.integers(min_value=0, max_value=10_000).map(str)
_EXPRESSIONS = st.recursive(
    _NUMBERS | st.just("retried"),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda parts: f"({' '.join(parts)})"),
        st.tuples(st.sampled_from(["sqrt", "abs", "floor", "ceil", "round", "exp"]), inner).map(
            lambda parts: f"{parts[0]}({parts[1]})"
        ),
        st.tuples(st.sampled_from(["pow", "min", "max"]), inner, inner).map(
            lambda parts: f"{parts[0]}({parts[1]}, {parts[2]})"
        ),
    ),
    max_leaves=8,
)


@given(_EXPRESSIONS, st.integers(min_value=0, max_value=10_000))
def test_every_well_formed_expression_waits_between_nothing_and_a_day(text: str, retried: int) -> None:
    wait_ms = RetryDelay.parse(text).after(retried)
    assert wait_ms is None or 0 <= wait_ms <= MAX_DELAY_MS


@given(st.text(alphabet="0123456789.+-*/(), retidpowmnax", max_size=60))
def test_parsing_ends_in_a_value_or_a_clear_refusal(text: str) -> None:
    try:
        wait_ms = RetryDelay.parse(text).after(3)
    except InvalidInput as error:
        assert "Upstash-Retry-Delay" in str(error)
    else:
        assert wait_ms is None or (wait_ms >= 0 and not math.isnan(wait_ms))
