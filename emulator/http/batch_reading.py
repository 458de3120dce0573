"""Read batches from JSON arrays of any length, some items at a time, so that others do not wait for a long one.

A batch is bounded by its bytes, its items, and its values: a byte of JSON can take a hundred bytes of memory.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

from emulator.errors import InvalidInput
from emulator.http.request_parsing import parse_json

T = TypeVar("T")

# Shorter bodies are read at once; between slices of longer ones, other tasks run.
_ONE_GO_BYTES = 262_144
_SLICE = 200
_SEARCHED_BYTES = 262_144
# An item of up to this many characters is decoded at once; the values of a longer one are counted first.
_SHORT_CHARACTERS = 4_096
_MARKS_AT_A_TIME = 5_000
_VALUES_OF_AN_ITEM = 20

# What may stand behind a whole item; nothing, where it was cut, may not.
_AFTER_ITEM = tuple(",] \t\r\n")

_decode = json.JSONDecoder().raw_decode
_SPACE = re.compile(r"[ \t\n\r]*")
# A whole string, or what makes or parts values outside of one.
_MARKS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},]', re.DOTALL)


async def in_slices(items: Sequence[T]) -> AsyncIterator[Sequence[T]]:
    """Yield ``items`` in slices, between which other tasks run."""
    for start in range(0, len(items), _SLICE):
        if start:
            await asyncio.sleep(0)
        yield items[start : start + _SLICE]


async def mentions(body: bytes, name: str) -> bool:
    """Return whether ``body`` contains ``name``, in any case."""
    wanted = name.lower().encode("ascii")
    for start in range(0, len(body), _SEARCHED_BYTES):
        if start:
            await asyncio.sleep(0)
        if wanted in body[start : start + _SEARCHED_BYTES + len(wanted)].lower():
            return True
    return False


async def parse_items(body: bytes, *, what: str, most: int, allows_nul: bool = False) -> list[Any]:
    """Return the items of a JSON array.

    Raises InvalidInput as ``parse_json`` does, for what is no array, for more than ``most`` items, for one item of more
    than ``most`` values, and for more than twenty times as many values in all.
    """
    if len(body) <= _ONE_GO_BYTES:
        items = parse_json(body, what=what, allows_nul=allows_nul)
        if not isinstance(items, list):
            raise _no_array(what)
    else:
        items = await _parse_long(body, what=what, most=most, allows_nul=allows_nul)
    if len(items) > most:
        raise InvalidInput(f"invalid {what}: it has more than {most} items, which is the limit; send several")
    return items


def _no_array(what: str) -> InvalidInput:
    return InvalidInput(f"invalid {what}: expected a JSON array of objects with a destination")


async def _parse_long(body: bytes, *, what: str, most: int, allows_nul: bool) -> list[Any]:
    # Each of these takes about ten milliseconds for a hundred megabytes; other tasks run in between.
    await asyncio.sleep(0)
    try:
        text = body.decode(json.detect_encoding(body), "surrogatepass")
        await asyncio.sleep(0)
        needs_care = re.search(rb"\\u(0000|d)", body, re.IGNORECASE) is not None
        await asyncio.sleep(0)
        position = _skip(text, 0)
        if text[position : position + 1] != "[":
            raise _no_array(what)
        items: list[Any] = []
        values = 0
        position = _skip(text, position + 1)
        while text[position : position + 1] != "]" or items:
            item, end = _decode_short(text, position) or await _decode_long(text, position, what, most)
            if needs_care:
                source = text[position:end].encode("utf-8", "surrogatepass")
                item = parse_json(source, what=what, allows_nul=allows_nul)
            items.append(item)
            values += _count_values(item)
            if values > _VALUES_OF_AN_ITEM * most:
                raise _too_many_values(what, _VALUES_OF_AN_ITEM * most)
            position = _skip(text, end)
            mark = text[position : position + 1]
            if mark == "]" or len(items) > most:
                break
            if mark != ",":
                raise json.JSONDecodeError("Expecting ',' delimiter", text, position)
            position = _skip(text, position + 1)
            if len(items) % _SLICE == 0:
                await asyncio.sleep(0)
        if len(items) <= most and _skip(text, position + 1) != len(text):
            raise json.JSONDecodeError("Extra data", text, position + 1)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"invalid {what}: the body is not JSON: {error}") from None
    return items


def _decode_short(text: str, position: int) -> tuple[Any, int] | None:
    """Return the item that begins at ``position`` and where it ends, or ``None`` for one that is not short."""
    near = text[position : position + _SHORT_CHARACTERS]
    try:
        item, end = _decode(near, 0)
    except (ValueError, RecursionError):
        return None
    # A number could go on behind what was looked at: "1.", "1e" and "1e+" are cut in the middle of one.
    return (item, position + end) if near[end : end + 1] in _AFTER_ITEM else None


async def _decode_long(text: str, position: int, what: str, most: int) -> tuple[Any, int]:
    depth = values = 0
    for number, found in enumerate(_MARKS.finditer(text, position), 1):
        match text[found.start()]:
            case "[" | "{":
                depth += 1
                values += 1
            case "]" | "}":
                depth -= 1
            case ",":
                values += 1
        if depth <= 0:
            break
        if values > most:
            raise _too_many_values(f"{what} item", most)
        if number % _MARKS_AT_A_TIME == 0:
            await asyncio.sleep(0)
    return _decode(text, position)


def _count_values(item: Any) -> int:
    """Return how many values ``item`` holds, itself included."""
    count, left = 1, [item]
    while left:
        one = left.pop()
        if isinstance(one, dict | list):
            count += len(one)
            left += one.values() if isinstance(one, dict) else one
    return count


def _too_many_values(what: str, most: int) -> InvalidInput:
    return InvalidInput(f"invalid {what}: it has more than {most} values, which is the limit")


def _skip(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position
