"""The checker's own readers of clients' and destinations' values: spans, dates, expressions, limits.

They are deliberately a second implementation. For a value that they cannot read they return ``None``, and then nothing
is expected.
"""

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import unquote_plus

from emulator.testing.invariants import Rate

_DAY_MS: Final = 86_400_000

# Contract 1.6: the durations of request headers, in milliseconds.
_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
# Contract 4.6: Go's durations, which responses use, in nanoseconds.
_GO_UNITS_NS: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_WAIT_HEADERS: Final = (
    "retry-after", "x-ratelimit-reset", "x-ratelimit-reset-requests", "x-ratelimit-reset-tokens",
)  # fmt: skip
_DATE: Final = re.compile(r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} (GMT|UTC)")

_OPERATORS: Final[dict[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_FUNCTIONS: Final[dict[str, Callable[..., float]]] = {
    "pow": math.pow,
    "sqrt": math.sqrt,
    "abs": math.fabs,
    "exp": math.exp,
    "floor": math.floor,
    "ceil": math.ceil,
    "round": lambda value: math.copysign(math.floor(math.fabs(value) + 0.5), value),
    "min": min,
    "max": max,
}

Lines = Sequence[tuple[str, str]]


def options_of(lines: Lines, query: str) -> dict[str, str]:
    """Return a publish's options, by lower-case name without ``upstash-``; headers win over the query
    (contract 3.1).
    """
    found: dict[str, str] = {}
    for name, value in lines:
        lowered = name.lower()
        if lowered.startswith("upstash-") and value.strip():
            key = lowered.removeprefix("upstash-")
            found[key] = f"{found[key]}, {value.strip()}" if key in found else value.strip()
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        key = unquote_plus(name).lower()
        if key.startswith("upstash-") and unquote_plus(value).strip():
            found.setdefault(key.removeprefix("upstash-"), unquote_plus(value).strip())
    return found


def span_ms(text: str | None) -> int | None:
    """Return the milliseconds of a request header's duration, such as ``1d10h``."""
    if text is None or not re.fullmatch(r"(\d+[smhd])+", text):
        return None
    return sum(int(part[:-1]) * _UNITS_MS[part[-1]] for part in re.findall(r"\d+[smhd]", text))


def whole(text: str | None) -> int | None:
    """Return a whole number."""
    return int(text) if text is not None and re.fullmatch(r"\d+", text) else None


def wait_ms(lines: Lines, now_at: int) -> int | None:
    """Return the longest wait of at most a day that a response received at ``now_at`` asks for (contract 4.6)."""
    waits = [_wait_ms(value.strip(), now_at) for name, value in lines if name.lower() in _WAIT_HEADERS]
    return max((wait for wait in waits if wait is not None and wait <= _DAY_MS), default=None)


def _wait_ms(text: str, now_at: int) -> int | None:
    if re.fullmatch(r"[0-9]{1,15}", text):
        return int(text) * 1_000
    if _DATE.fullmatch(text):
        try:
            until_at = round(parsedate_to_datetime(text.replace("UTC", "GMT")).timestamp() * 1_000)
        except ValueError:
            return None
        return max(0, until_at - now_at)
    part = r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)"
    if not re.fullmatch(f"({part})+", text):
        return None
    # Rounded down to the millisecond, so that an emulator that rounds up is not too early.
    return math.floor(sum(float(many) * _GO_UNITS_NS[unit] for many, unit in re.findall(part, text)) / 10**6)


def retry_waits_ms(expression: str, most: int) -> tuple[int, ...] | None:
    """Return the waits of a retry-delay expression after ``retried`` 0, 1, … ``most`` - 1 (contract 4.5)."""
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
        return tuple(_one_wait_ms(tree, retried) for retried in range(max(1, most)))
    except (SyntaxError, KeyError, TypeError, AttributeError):
        return None


def _one_wait_ms(tree: ast.expr, retried: int) -> int:
    try:
        value = _value_of(tree, float(retried))
    except (ArithmeticError, ValueError):
        # No value: the default backoff, in whole seconds.
        return min(_DAY_MS, math.floor(math.exp(2.5 * min(retried + 1, 5))) * 1_000)
    return 0 if math.isnan(value) or value <= 0 else math.trunc(min(value, _DAY_MS))


def _value_of(node: ast.expr, retried: float) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id="retried"):
            return retried
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value_of(operand, retried)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value_of(operand, retried)
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_value_of(left, retried), _value_of(right, retried))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return float(_FUNCTIONS[name](*(_value_of(one, retried) for one in arguments)))
        case _:
            raise TypeError(f"no part of the language: {ast.dump(node)}")


def flow_limits(value: str) -> tuple[int | None, Rate] | None:
    """Return the parallelism and the rate in ``Upstash-Flow-Control-Value`` (contract 3.7)."""
    given = {
        name.strip(): text.strip() for name, _, text in (item.partition("=") for item in value.split(","))
    }
    return limits_of(given, period_ms=span_ms(given.get("period", "1s")))


def limits_of(given: Mapping[str, str], *, period_ms: int | None) -> tuple[int | None, Rate] | None:
    """Return the parallelism and the rate in a pin's parameters, whose period is in seconds."""
    if period_ms is None:
        return None
    return whole(given.get("parallelism")), Rate(
        rate=whole(given.get("rate")), period_seconds=period_ms // 1_000
    )
