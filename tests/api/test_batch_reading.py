"""An array that is read some items at a time is what the standard library reads in one go."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from emulator.errors import InvalidInput
from emulator.http import batch_reading

_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(autouse=True)
def in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is long."""
    monkeypatch.setattr(batch_reading, "_ONE_GO_BYTES", 0)
    monkeypatch.setattr(batch_reading, "_SHORT_CHARACTERS", 6)
    monkeypatch.setattr(batch_reading, "_MARKS_AT_A_TIME", 2)


def _parsed(body: bytes) -> Any:
    return asyncio.run(batch_reading.parse_items(body, what="batch", most=1_000))


@pytest.mark.parametrize("at", range(12))
def test_a_name_is_found_in_any_case_wherever_a_piece_ends(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    monkeypatch.setattr(batch_reading, "_SEARCHED_BYTES", 4)
    body = b"x" * at + b"X-nAMe" + b"y" * 9
    assert asyncio.run(batch_reading.mentions(body, "X-Name"))
    assert not asyncio.run(batch_reading.mentions(body.replace(b"M", b"n"), "X-Name"))


@settings(max_examples=100)
@given(items=st.lists(_JSON, max_size=6), indent=st.none() | st.integers(0, 2), is_ascii=st.booleans())
def test_any_array(items: list[Any], indent: int | None, is_ascii: bool) -> None:
    assert _parsed(json.dumps(items, indent=indent, ensure_ascii=is_ascii).encode()) == items


@pytest.mark.parametrize(
    "number", ["11000.0", "1100.25", "110000e1", "11000e1", "1100e+1", "-1100.5", "110000"]
)
def test_a_number_that_a_piece_cuts_in_its_middle(number: str) -> None:
    assert _parsed(f"[{number}, 1]".encode()) == [float(number), 1]


@settings(max_examples=100)
@given(items=st.lists(_JSON, max_size=4), at=st.integers(0, 200), put=st.sampled_from(list('[]{},:"\\ 1ex')))
def test_what_is_no_array_is_refused_by_both(items: list[Any], at: int, put: str) -> None:
    text = json.dumps(items, ensure_ascii=False)
    at = min(at, len(text))
    text = text[:at] + put + text[at:]
    assume("\\ud" not in text.lower())  # lone surrogates become U+FFFD
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(InvalidInput):
            _parsed(text.encode())
    else:
        assert _parsed(text.encode()) == expected
