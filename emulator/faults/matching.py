"""Match faults with deliveries and calls. All functions are pure."""

import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from emulator.faults.fault import Fault
from emulator.wire.headers import Headers, first_value


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts that conditions are matched with. ``url`` is empty if a call has several destinations (a batch)."""

    url: str
    headers: Headers
    body: bytes
    queue: str | None = None
    labels: tuple[str, ...] = ()
    step: str | None = None


def matches(fault: Fault, facts: Facts) -> bool:
    """Return whether all conditions of ``fault`` hold, without its count, skip and probability."""
    return (
        (fault.destination is None or url_matches(fault.destination, facts.url))
        and (fault.queue is None or fault.queue == facts.queue)
        and (fault.label is None or fault.label in facts.labels)
        and (fault.header is None or headers_match(fault.header, facts.headers))
        and (fault.body is None or body_matches(fault.body, facts.body))
        and (fault.step is None or fault.step == facts.step)
    )


def url_matches(pattern: str, url: str) -> bool:
    """Return whether ``url`` is ``pattern``, or begins with it up to a slash or a query; ``*`` matches any
    characters.
    """
    if "*" in pattern:
        return fnmatchcase(url, pattern.replace("[", "[[]").replace("?", "[?]"))
    return url == pattern or url.startswith((f"{pattern.rstrip('/')}/", f"{pattern}?"))


def headers_match(wanted: str | dict[str, str], headers: Headers) -> bool:
    """Return whether a header is present, or all of ``wanted`` with their values. Names compare without case."""
    if isinstance(wanted, str):
        return first_value(headers, wanted) is not None
    return all(first_value(headers, name) == value for name, value in wanted.items())


def body_matches(wanted: str | dict[str, Any], body: bytes) -> bool:
    """Return whether the body contains a text, or is a JSON object with all of ``wanted``."""
    if isinstance(wanted, str):
        return wanted.encode() in body
    try:
        return is_within(wanted, json.loads(body))
    except ValueError:
        return False


def is_within(wanted: Any, found: Any) -> bool:
    """Return whether ``found`` has everything of ``wanted``: objects may have more members, at any depth;
    lists may not.
    """
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            name in found and is_within(value, found[name]) for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(is_within, wanted, found))
    return bool(wanted == found) and isinstance(wanted, bool) == isinstance(found, bool)
