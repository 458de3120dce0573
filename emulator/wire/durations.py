"""Two similar but different grammars for time spans.

Request headers (``Upstash-Delay: 1d10h30m``) use whole numbers with the units s, m, h, d (contract 1.6).
Response headers (``Retry-After: 1.5h``) use Go's durations: fractions, and units from ns to h, but no days
(contract 4.6).
"""

import re

from emulator.errors import InvalidInput

_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PART = re.compile(r"([0-9]+)([smhd])")
_DURATION = re.compile(r"(?:[0-9]+[smhd])+")

# Twelve digits of days are three billion years; the bound keeps numbers small.
_MAX_LENGTH = 64

_GO_UNIT_MS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1.0, "s": 1e3, "m": 60e3, "h": 3600e3}
_GO_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_GO_PART = re.compile(rf"({_GO_NUMBER})(ns|us|µs|μs|ms|s|m|h)")
_GO_DURATION = re.compile(rf"(?:{_GO_NUMBER}(?:ns|us|µs|μs|ms|s|m|h))+")


def parse_duration(text: str, *, field: str) -> int:
    """Return the ms of a request header's duration such as ``10s`` or ``1d10h30m``; ``field`` names it in errors.

    Raises InvalidInput for anything else: a bare number, a sign, a fraction, a blank, an unknown unit.
    Source: contract 1.6.
    """
    if len(text) > _MAX_LENGTH or not _DURATION.fullmatch(text):
        raise InvalidInput(
            f"invalid {field} {text[:_MAX_LENGTH]!r}: "
            "expected whole numbers with a unit s, m, h or d, such as 10s or 1d10h30m"
        )
    return sum(int(number) * _UNIT_MS[unit] for number, unit in _PART.findall(text))


def format_duration(span_ms: int) -> str:
    """Return the shortest text for the whole seconds of ``span_ms``: ``1h30m3s`` for 5403000, ``0s`` for 0."""
    parts: list[str] = []
    rest = span_ms
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, _UNIT_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_go_duration(text: str) -> float | None:
    """Return the ms of a Go duration such as ``6m5s``, ``1.5h`` or ``100µs``, or ``None`` if it is not one.

    Source: contract 4.6.
    """
    if len(text) > _MAX_LENGTH or not _GO_DURATION.fullmatch(text):
        return None
    return sum(float(number) * _GO_UNIT_MS[unit] for number, unit in _GO_PART.findall(text))
