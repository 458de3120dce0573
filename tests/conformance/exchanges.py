"""The requests of a test and a service's answers, recorded and compared by status and shape."""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qsl

import httpx

# Ids as the two services make them: of messages, schedules, workflow runs, and dead letters.
_IDS = re.compile(r"\b(?:msg|scd|wfr)_\w+|\b\d{13}-\w+")
_SHOWN_CHARACTERS = 1_000


@dataclass(frozen=True)
class Exchange:
    """``request`` is method, path and the names in the query, without what differs in every run."""

    request: str
    status: int
    body: str

    @property
    def shape(self) -> Any:
        """The body with types in place of values."""
        try:
            return shape_of(json.loads(self.body))
        except ValueError:
            return "text" if self.body else "nothing"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        body = self.body if len(self.body) <= _SHOWN_CHARACTERS else f"{self.body[:_SHOWN_CHARACTERS]}…"
        return f"{self.status} {body}".rstrip()


class Recorder:
    """A response hook of httpx: keeps exchanges, and the ids that the answers to a POST name."""

    def __init__(self, suffix: str) -> None:
        self.exchanges: list[Exchange] = []
        self.message_ids: set[str] = set()
        self.schedule_ids: set[str] = set()
        self._suffix = suffix

    def __call__(self, response: httpx.Response) -> None:
        response.read()
        if response.request.url.path.startswith("/emulator/"):
            return
        self._keep(response)
        if response.request.method == "POST":
            self._remember(response)

    def _keep(self, response: httpx.Response) -> None:
        url = response.request.url
        path = _IDS.sub("<id>", url.path).replace(f"-{self._suffix}", "")
        names = sorted({name for name, _ in parse_qsl(url.query.decode())})
        request = f"{response.request.method} {path}" + ("?" + "&".join(names) if names else "")
        if self.exchanges and self.exchanges[-1].request == request:
            self.exchanges.pop()  # asked again until the answer came
        self.exchanges.append(Exchange(request, response.status_code, response.text))

    def _remember(self, response: httpx.Response) -> None:
        try:
            answer = response.json()
        except ValueError:
            return
        self.message_ids |= set(_members(answer, "messageId"))
        self.schedule_ids |= set(_members(answer, "scheduleId"))


def shape_of(value: Any) -> Any:
    """Types in place of values: a dict of shapes, a list of at most one (its elements' merged), or a type's name."""
    if isinstance(value, dict):
        return {name: shape_of(one) for name, one in value.items()}
    if isinstance(value, list):
        merged: Any = None
        for one in value:
            merged = shape_of(one) if merged is None else _merged(merged, shape_of(one))
        return [] if merged is None else [merged]
    return "number" if type(value) in (int, float) else type(value).__name__


def shape_differences(emulator: Any, real: Any, at: str = "") -> list[str]:
    """Return in words where two shapes differ. A list that is empty on one side says nothing of its elements."""
    if isinstance(emulator, dict) and isinstance(real, dict):
        return [
            difference
            for name in sorted({*emulator, *real})
            for difference in _member_differences(name, emulator, real, at)
        ]
    if isinstance(emulator, list) and isinstance(real, list):
        return shape_differences(emulator[0], real[0], f"{at}[]") if emulator and real else []
    if emulator == real:
        return []
    return [f"{at or 'the body'}: {_kind(emulator)} from the emulator, {_kind(real)} from the real service"]


def _member_differences(name: str, emulator: dict[str, Any], real: dict[str, Any], at: str) -> list[str]:
    path = f"{at}.{name}" if at else name
    if name not in real:
        return [f"{path}: from the emulator only"]
    if name not in emulator:
        return [f"{path}: from the real service only"]
    return shape_differences(emulator[name], real[name], path)


def _merged(one: Any, other: Any) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        shared = {name: _merged(one[name], other[name]) for name in one.keys() & other.keys()}
        return {**one, **other, **shared}
    return one or other


def _kind(shape: Any) -> str:
    if isinstance(shape, dict):
        return "an object"
    return "a list" if isinstance(shape, list) else str(shape)


def _members(value: Any, name: str) -> list[str]:
    if isinstance(value, list):
        return [found for one in value for found in _members(one, name)]
    if isinstance(value, dict):
        here = [value[name]] if isinstance(value.get(name), str) else []
        return here + [found for one in value.values() for found in _members(one, name)]
    return []
