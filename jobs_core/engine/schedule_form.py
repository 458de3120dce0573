"""A schedule in the form of ``qstash.yaml`` (docs/account.md, "The file")."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_FORWARD = "Upstash-Forward-"
_TEXTS = {
    "Upstash-Timeout": "timeout",
    "Upstash-Retry-Delay": "retryDelay",
    "Upstash-Callback": "callback",
    "Upstash-Failure-Callback": "failureCallback",
    "Upstash-Queue-Name": "queue",
}
_NUMBERS = {"Upstash-Retries": "retries", "Upstash-Failure-Callback-Retries": "failureCallbackRetries"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedSchedule:
    """A schedule as QStash is asked for it; ``headers`` are the publish options and the forwarded headers."""

    url: str
    cron: str
    body: str
    headers: Mapping[str, str]


def form_of(schedule: ComposedSchedule) -> dict[str, Any]:
    """Return one entry of ``schedules``, with everything that QStash is asked for."""
    headers = dict(schedule.headers)
    form: dict[str, Any] = {"cron": schedule.cron, "destination": schedule.url}
    form |= {field: headers.pop(name) for name, field in _TEXTS.items() if name in headers}
    form |= {field: int(headers.pop(name)) for name, field in _NUMBERS.items() if name in headers}
    if label := headers.pop("Upstash-Label", ""):
        form["labels"] = [part.strip() for part in label.split(",") if part.strip()]
    if key := headers.pop("Upstash-Flow-Control-Key", ""):
        form["flowControl"] = {"key": key, **_limits(headers.pop("Upstash-Flow-Control-Value"))}
    form["headers"] = {name.removeprefix(_FORWARD): value for name, value in headers.items()}
    unknown = [name for name in form["headers"] if name.startswith("Upstash-")]
    assert not unknown, f"the form has no field for {unknown}"
    return form | {"body": schedule.body}


def _limits(value: str) -> dict[str, Any]:
    """Return the parts of ``parallelism=3, rate=5, period=60s`` by name."""
    pairs = (part.strip().partition("=") for part in value.split(","))
    return {name: int(number) if number.isdecimal() else number for name, _, number in pairs}
