"""Values of cells. Pure.

A spreadsheet takes text that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line break for a formula, and
a formula can send the content of other cells elsewhere. In CSV such text gets an apostrophe in front, which
makes it text everywhere; in Excel files cells have types, so there it is unchanged. Numbers are not text.
Source: OWASP, CSV injection (read 2026-11).
"""

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

# With their full-width forms, which some spreadsheets take for the same.
_DANGEROUS = tuple("=+-@\t\r\n＝＋－＠")

Plain = str | int | float | Decimal | bool | datetime | date | time | timedelta | None


def is_dangerous(text: str) -> bool:
    """Return whether a spreadsheet might take the text for a formula, also behind spaces."""
    return text.lstrip(" ").startswith(_DANGEROUS)


def neutralised(text: str) -> str:
    """Text that no spreadsheet takes for a formula.

    >>> neutralised("=HYPERLINK(1)"), neutralised("a=1"), neutralised("-5")
    ("'=HYPERLINK(1)", 'a=1', "'-5")
    """
    return f"'{text}" if is_dangerous(text) else text


def plain(value: Any) -> Plain:
    """Return a value of a kind that a cell may hold; instants in UTC, structures as JSON, anything else as text."""
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, datetime):
        return _in_utc(value)
    if value is None or isinstance(value, str | int | float | Decimal | bool | date | time | timedelta):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return _text_of(bytes(value))
    if isinstance(value, dict | list | tuple | set | frozenset):
        structure = list(value) if isinstance(value, set | frozenset) else value
        return json.dumps(structure, ensure_ascii=False, default=str)
    return str(value)


def _in_utc(value: datetime) -> Plain:
    if value.tzinfo is None:
        return value
    try:
        return value.astimezone(UTC)
    except OverflowError:  # the first and the last day of the calendar have no instant in UTC everywhere
        return value.isoformat()


def _text_of(value: bytes) -> str:
    """Return bytes as UTF-8, or in hexadecimal where they are none."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def csv_text(value: Any) -> str:
    """Return the cell as CSV spells it: empty for ``None``, ISO 8601 for instants."""
    cell = plain(value)
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return cell.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(cell, date | time):
        return cell.isoformat()
    if isinstance(cell, timedelta):
        return _elapsed(cell)
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return neutralised(cell) if isinstance(cell, str) else str(cell)


def _elapsed(value: timedelta) -> str:
    """Return hours, minutes and seconds, as spreadsheets read and write a duration: ``-1:30:00``, ``49:00:00.5``."""
    seconds = abs(value)
    hours, rest = divmod(seconds, timedelta(hours=1))
    minutes, rest = divmod(rest, timedelta(minutes=1))
    shown = f"{hours}:{minutes:02}:{rest.seconds:02}"
    fraction = f".{rest.microseconds:06}".rstrip("0") if rest.microseconds else ""
    return f"{'-' if value < timedelta(0) else ''}{shown}{fraction}"
