"""A schedule in the form of ``qstash.yaml`` (docs/account.md, "The file")."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_TEXTS = {"Upstash-Timeout": "timeout", "Upstash-Failure-Callback": "failureCallback"}
_NUMBERS = {"Upstash-Retries": "retries", "Upstash-Failure-Callback-Retries": "failureCallbackRetries"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedSchedule:
    """A schedule as QStash is asked for it; ``headers`` are the publish options and the forwarded headers."""

    url: str
    cron: str
    body: str
    headers: Mapping[str, str]


def form_of(schedule: ComposedSchedule) -> dict[str, Any]:
    """Return one entry of ``schedules``, with everything that QStash is asked for.

    A declared schedule has no delivery options, so only the headers of a job type are known. Raise ValueError for
    others.
    """
    headers = dict(schedule.headers)
    form: dict[str, Any] = {"cron": schedule.cron, "destination": schedule.url}
    form |= {field: headers.pop(name) for name, field in _TEXTS.items() if name in headers}
    form |= {field: int(headers.pop(name)) for name, field in _NUMBERS.items() if name in headers}
    form["labels"] = [headers.pop("Upstash-Label")]
    if unknown := [name for name in headers if name.startswith("Upstash-")]:
        raise ValueError(f"the form has no field for {unknown}")
    return form | {"headers": headers, "body": schedule.body}
