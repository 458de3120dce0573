"""Which results of a handler can be recorded: JSON that both databases accept. Pure.

An outcome is always recorded. A result without a JSON form, or with one that PostgreSQL refuses, is recorded
as a note that says so; the job is completed all the same, for its work was done.
"""

import json
import math
from typing import Any

from pydantic_core import to_jsonable_python

# PostgreSQL and other readers parse JSON by recursion, which deep nesting would exhaust.
DEEPEST = 100
_LONGEST_NOTE = 300


def recordable(result: Any) -> Any:
    """Return ``result`` as JSON, or ``{"notRecorded": why, "type": its type}`` where it has no such form.

    NaN and infinities are recorded as the texts ``NaN``, ``Infinity`` and ``-Infinity``, which JSON has no numbers
    for; bytes that are not UTF-8 as base64; a whole number of more than 64 bits that is all of the result, as text,
    for SQLite would keep it as a float. Half a surrogate pair in a text is replaced by a question mark.
    """
    try:
        value = to_jsonable_python(result, by_alias=True, bytes_mode="utf8", fallback=_spelled)
    except UnicodeDecodeError:
        return _in_base64(result)
    except BaseException as error:  # noqa: BLE001 -- whatever a foreign object's methods raise
        return _in_base64(result) if "utf-8" in text_of(error) else not_recorded(result, error)
    return _checked(result, value)


def not_recorded(result: Any, why: BaseException) -> dict[str, str]:
    """Return the note that is recorded in the place of a result that cannot be."""
    reason = storable(f"{type(why).__name__}: {text_of(why)}")[:_LONGEST_NOTE]
    return {"notRecorded": reason, "type": type(result).__qualname__}


def text_of(error: BaseException) -> str:
    """Return what an error says; its own ``__str__`` may fail."""
    try:
        return str(error)
    except BaseException as broken:  # noqa: BLE001 -- whatever it raises
        return f"(its text cannot be read: {type(broken).__name__})"


def storable(text: str) -> str:
    """Return ``text`` without what PostgreSQL does not take: NUL, and half a surrogate pair."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _whole(text: str) -> str:
    return text.encode(errors="replace").decode()


def _in_base64(result: Any) -> Any:
    try:
        value = to_jsonable_python(result, by_alias=True, bytes_mode="base64", fallback=_spelled)
    except BaseException as error:  # noqa: BLE001 -- as above
        return not_recorded(result, error)
    return _checked(result, value)


def _spelled(value: Any) -> Any:
    """Return the JSON form of a value that pydantic does not know: numbers and arrays of numpy and the like."""
    if callable(listed := getattr(value, "tolist", None)):
        return listed()
    return {
        "notRecorded": "it has no form in JSON",
        "type": type(value).__qualname__,
        "text": storable(repr(value))[:_LONGEST_NOTE],
    }


def _checked(result: Any, value: Any) -> Any:
    try:
        cleaned = str(value) if _is_huge(value) else _cleaned(value, DEEPEST)
        json.dumps(cleaned, allow_nan=False)
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        return not_recorded(result, error)
    return cleaned


def _is_huge(value: Any) -> bool:
    return isinstance(value, int) and value.bit_length() > 63 and value != -(2**63)


def _cleaned(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _whole(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if not isinstance(value, dict | list):
        return value
    if not depth:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep")
    if isinstance(value, list):
        return [_cleaned(each, depth - 1) for each in value]
    return {_whole(str(name)): _cleaned(each, depth - 1) for name, each in value.items()}
