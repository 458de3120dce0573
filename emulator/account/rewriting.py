"""Replaces the origins of an account's destinations by local ones, as ``--connect-to`` does."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import urlsplit

from emulator.account.errors import FormError
from emulator.account.values import AccountSchedule, AccountState, AccountUrlGroup, Lines, Value
from emulator.errors import InvalidInput
from emulator.wire.destination import check_url, origin_of

Named = TypeVar("Named")
_CALLBACKS = frozenset({"Upstash-Callback", "Upstash-Failure-Callback"})


@dataclass(frozen=True, slots=True)
class Rules:
    """Origins (``scheme://host:port``) and their replacements, without a trailing slash."""

    targets: Mapping[str, str]

    @staticmethod
    def parse(pairs: Iterable[str]) -> "Rules":
        """Read ``ORIGIN=ORIGIN`` of each. Raise FormError naming the pair."""
        targets = {}
        for pair in pairs:
            origin, _, target = pair.partition("=")
            for one in (origin, target):
                if problem := _problem(one):
                    raise FormError(f"--rewrite {pair!r}: expected ORIGIN=ORIGIN: {problem}")
            targets[origin_of(origin)] = target.rstrip("/")
        return Rules(MappingProxyType(targets))

    def url(self, url: str) -> str:
        """Return the URL with its origin replaced where a rule names it. Path and query stay."""
        if not _is_url(url) or (target := self.targets.get(origin_of(url))) is None:
            return url
        parts = urlsplit(url)
        return target + url[len(parts.scheme) + len("://") + len(parts.netloc) :]

    def state(self, state: AccountState) -> AccountState:
        """Return the state with every destination rewritten."""
        return replace(
            state,
            schedules=_each(state.schedules, self.schedule),
            url_groups=_each(state.url_groups, self._group),
        )

    def schedule(self, one: AccountSchedule) -> AccountSchedule:
        """Return the schedule with its destination and callbacks rewritten."""
        return replace(
            one,
            destination=self.url(one.destination),
            callback=one.callback and self.url(one.callback),
            failure_callback=one.failure_callback and self.url(one.failure_callback),
        )

    def _group(self, one: AccountUrlGroup) -> AccountUrlGroup:
        endpoints = frozenset(replace(endpoint, url=self.url(endpoint.url)) for endpoint in one.endpoints)
        return replace(one, endpoints=endpoints, headers=self._lines(one.headers))

    def _lines(self, lines: Lines) -> Lines:
        return tuple(
            (name, tuple(map(self._value, values)) if name in _CALLBACKS else values)
            for name, values in lines
        )

    def _value(self, value: Value) -> Value:
        return value if value.data is None else Value(self.url(value.data.decode(errors="replace")).encode())


def origins(state: AccountState) -> list[str]:
    """Return the origins that a state's schedules and groups call, each once."""
    return sorted({origin_of(url) for url in _urls(state) if _is_url(url)})


def _urls(state: AccountState) -> Iterator[str]:
    for schedule in (state.schedules or {}).values():
        yield from filter(None, (schedule.destination, schedule.callback, schedule.failure_callback))
    for group in (state.url_groups or {}).values():
        yield from (endpoint.url for endpoint in group.endpoints)
        for name, values in group.headers:
            if name in _CALLBACKS:
                yield from (value.data.decode(errors="replace") for value in values if value.data)


def _problem(origin: str) -> str | None:
    try:
        parts = urlsplit(check_url(origin, what="origin"))
    except InvalidInput as error:
        return str(error)
    return f"{origin!r} is more than an origin" if parts.path not in ("", "/") or parts.query else None


def _is_url(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def _each(part: Mapping[str, Named] | None, change: Callable[[Named], Named]) -> Mapping[str, Named] | None:
    return None if part is None else MappingProxyType({name: change(one) for name, one in part.items()})
