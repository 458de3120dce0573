"""Wait headers in a destination's response: ``Retry-After`` and similar ones (contract 4.6)."""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from emulator.wire.durations import parse_go_duration

WAIT_HEADERS = frozenset(
    {"retry-after", "x-ratelimit-reset", "x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"}
)

# A longer wait is ignored rather than clamped. Source: the vendor's page features/retry.
MAX_WAIT_MS = 86_400_000

_SECONDS = re.compile(r"[0-9]{1,15}")
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}
# The weekday is not checked against the date: the vendor's own sample has a wrong one.
_RFC1123 = re.compile(
    r"[A-Z][a-z]{2}, (?P<day>\d{2}) (?P<month>[A-Z][a-z]{2}) (?P<year>\d{4}) "
    r"(?P<hour>\d{2}):(?P<minute>\d{2}):(?P<second>\d{2}) (?:GMT|UTC)"
)


def wait_from_response(headers: Sequence[tuple[str, str]], *, now_at: int) -> int | None:
    """Return the longest usable wait of the response in milliseconds, or ``None`` without one."""
    waits = (
        parse_wait(value.strip(), now_at=now_at) for name, value in headers if name.lower() in WAIT_HEADERS
    )
    usable = [wait for wait in waits if wait is not None and wait <= MAX_WAIT_MS]
    return max(usable, default=None)


def parse_wait(text: str, *, now_at: int) -> int | None:
    """Return the ms of a header value: whole seconds, an RFC 1123 date, or a Go duration; else ``None``."""
    if _SECONDS.fullmatch(text):
        return int(text) * 1000
    until_at = _parse_date(text)
    if until_at is not None:
        return max(0, until_at - now_at)
    span = parse_go_duration(text)
    return None if span is None else math.ceil(span)


def _parse_date(text: str) -> int | None:
    match = _RFC1123.fullmatch(text)
    if match is None or match["month"] not in _MONTHS:
        return None
    try:
        moment = datetime(
            int(match["year"]),
            _MONTHS[match["month"]],
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            int(match["second"]),
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return int(moment.timestamp()) * 1000
