"""``Upstash-Flow-Control-Value``: a rate, a parallelism, or both (contract 3.7)."""

from dataclasses import dataclass

from emulator.errors import InvalidInput
from emulator.wire.durations import parse_duration

MAX_PERIOD_SECONDS = 7 * 86_400
DEFAULT_PERIOD_SECONDS = 1

_KNOWN = ("parallelism", "rate", "period")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowControl:
    """The limits that a message sets for its key. ``rate`` counts attempts started in one period."""

    key: str
    parallelism: int | None = None
    rate: int | None = None
    period_seconds: int = DEFAULT_PERIOD_SECONDS


def parse_flow_control(key: str | None, value: str | None, *, prefix: str = "Upstash-") -> FlowControl | None:
    """Return the limits of the two headers, or ``None`` if neither is given; ``prefix`` names them in errors."""
    key_field, value_field = f"{prefix}Flow-Control-Key", f"{prefix}Flow-Control-Value"
    if key is None and value is None:
        return None
    if value is None:
        raise InvalidInput(f"{key_field} {key!r} needs {value_field}, such as parallelism=3 or rate=5")
    if key is None:
        raise InvalidInput(f"{value_field} {value!r} needs {key_field}")
    given = _parse_fields(value, value_field)
    if "parallelism" not in given and "rate" not in given:
        raise InvalidInput(
            f"{value_field} should be either rate=X or parallelism=Y, or both as comma-separated values"
        )
    return FlowControl(
        key=key,
        parallelism=given.get("parallelism"),
        rate=given.get("rate"),
        period_seconds=given.get("period", DEFAULT_PERIOD_SECONDS),
    )


def _parse_fields(value: str, field: str) -> dict[str, int]:
    given: dict[str, int] = {}
    for item in value.split(","):
        name, equals, text = (part.strip() for part in item.partition("="))
        if name not in _KNOWN or not equals:
            raise InvalidInput(
                f"{field} should be either rate=X or parallelism=Y, or both as comma-separated values",
                hint=f"{item.strip()!r} is not one of {', '.join(_KNOWN)}",
            )
        given[name] = _parse_period(text, field) if name == "period" else _parse_limit(name, text, field)
    return given


def _parse_limit(name: str, text: str, field: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) >= 1):
        raise InvalidInput(f"invalid {field}: {name}={text!r} is not a whole number of at least 1")
    return int(text)


def _parse_period(text: str, field: str) -> int:
    seconds = parse_duration(text, field=f"{field} period") // 1000
    if not 1 <= seconds <= MAX_PERIOD_SECONDS:
        raise InvalidInput(f"invalid {field}: period={text!r} is not between 1s and 7d")
    return seconds
