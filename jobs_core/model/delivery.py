"""The reason why a job does not go on: an undelivered message, by QStash's log, or a lost worker. Pure."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from jobs_core.model.records import JobRecord
from jobs_core.model.states import JobStatus

_MOST_CHARACTERS = 300
_OPEN = frozenset({"CREATED", "ACTIVE", "RETRY"})


@dataclass(frozen=True, slots=True)
class DeliveryTrouble:
    """Why QStash has not delivered a message. ``next_at`` is the time of its next attempt, ``None`` if there
    is none.
    """

    text: str
    is_final: bool = False
    next_at: datetime | None = None

    @property
    def sentence(self) -> str:
        """Return the trouble in one line, with the time of the next attempt."""
        if self.next_at is not None:
            return f"{self.text}; QStash tries again at {self.next_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"{self.text}; QStash has given up" if self.is_final else self.text


def read_trouble(entries: Sequence[Mapping[str, Any]]) -> DeliveryTrouble | None:
    """Return why a message is not delivered, from its log entries, the newest first; ``None`` if nothing went
    wrong yet.

    Fields are those of the vendor's API: ``time`` (unix ms), ``state``, ``error``, ``responseStatus``,
    ``responseBody`` (base64), ``nextDeliveryTime`` (unix ms), ``url``. Entries of another shape are ignored.
    """
    lines = [entry for entry in entries if isinstance(entry.get("time"), int)]
    # The API gives the newest first; those of one millisecond keep their order.
    lines.reverse()
    lines.sort(key=lambda entry: int(entry["time"]))
    failed = [entry for entry in lines if entry.get("state") == "ERROR"]
    if not lines or lines[-1].get("state") == "DELIVERED":
        return None
    state = lines[-1].get("state")
    if state in ("CANCELED", "CANCEL_REQUESTED"):
        return DeliveryTrouble("its message was cancelled at QStash", is_final=True)
    if not failed:
        return None
    next_at = lines[-1].get("nextDeliveryTime")
    return DeliveryTrouble(
        _why(failed[-1]),
        is_final=state not in _OPEN and state != "ERROR",
        next_at=datetime.fromtimestamp(next_at / 1000, UTC)
        if isinstance(next_at, int) and state == "RETRY"
        else None,
    )


def expired_lease(record: JobRecord, now: datetime) -> str | None:
    """Return in one sentence that the lease of a job's attempt ran out; ``None`` if it did not."""
    until = record.lease_until
    if record.status is not JobStatus.PROCESSING or until is None or until > now:
        return None
    return (
        f"the lease of attempt {record.attempt_count} ran out at {until:%Y-%m-%d %H:%M:%S} UTC and its worker has not "
        "ended it: was the worker killed, or is it stuck? The next delivery or sweep takes the job over"
    )


def _why(entry: Mapping[str, Any]) -> str:
    status, url = entry.get("responseStatus"), str(entry.get("url", ""))
    if not isinstance(status, int) or status <= 0:
        return f"QStash could not deliver it: {_line(str(entry.get('error') or 'there was no answer'))}"
    said = _said(entry.get("responseBody"))
    answered = f"{url} answered {status}{_phrase(status)}" + (f": {said}" if said else "")
    return f"{answered}; {hint}" if (hint := _HINTS.get(status)) else answered


_KEYS = (
    "does the worker have the signing keys of this QStash, and the public address in BASE_URL? jobs-core check "
    "compares the keys"
)
_HINTS = {
    401: _KEYS,
    403: _KEYS,
    404: "there is no such route: is BASE_URL the worker's address, and does it know this job type?",
    405: "the address is taken by something that is not the worker: is BASE_URL right?",
}


def _said(encoded: Any) -> str:
    """Return the text of a response: the error of a JSON object, else the whole."""
    if not isinstance(encoded, str) or not encoded:
        return ""
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        text = encoded
    try:
        value = json.loads(text)
    except ValueError:
        return _line(text)
    if isinstance(value, dict):
        found = [value[name] for name in ("error", "message", "detail") if isinstance(value.get(name), str)]
        text = ": ".join(found[:2]) or text
    return _line(text)


def _line(text: str) -> str:
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return line if len(line) <= _MOST_CHARACTERS else f"{line[: _MOST_CHARACTERS - 1]}…"


def _phrase(status: int) -> str:
    try:
        return f" ({HTTPStatus(status).phrase})"
    except ValueError:
        return ""
