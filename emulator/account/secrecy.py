"""Which values may be shown: a publisher's header values and bodies may be secrets, unless known to be harmless."""

import re
from collections.abc import Collection
from dataclasses import replace
from types import MappingProxyType

from emulator.account.values import (
    EMPTY,
    WITHHELD,
    AccountSchedule,
    AccountState,
    AccountUrlGroup,
    Lines,
    Value,
)

_HARMLESS = frozenset(
    {"accept", "accept-language", "cache-control", "content-encoding", "content-type", "user-agent"}
)
_FORWARDING = re.compile(r"upstash-(?:failure-callback-|callback-)?forward-", re.IGNORECASE)
# Up to the last "@" of the authority (RFC 3986, 3.2.1), anywhere in a text.
_PASSWORD = re.compile(r"(://[^/?#:]*):[^/?#]*@")
_SECRET_PARAMETER = re.compile(
    r"([?&][^=&]*(?:token|secret|key|sig|pass|auth|code)[^=&]*=)[^&#]*", re.IGNORECASE
)


def is_harmless(header: str) -> bool:
    """Return whether a header only says how to read or publish a message, so that its value is no secret."""
    lowered = header.lower()
    return lowered in _HARMLESS or (lowered.startswith("upstash-") and not _FORWARDING.match(lowered))


def shown_url(url: str) -> str:
    """Return a URL for the terminal, without its password and the values of parameters with a secret's name."""
    return _SECRET_PARAMETER.sub(r"\1***", without_passwords(url))


def without_passwords(text: str) -> str:
    """Return a text without the passwords of the URLs in it, such as a request target with a URL in its path."""
    return _PASSWORD.sub(r"\1:***@", text)


def withhold(state: AccountState, *, shown: Collection[str]) -> AccountState:
    """Return the state with possible secrets withheld, except those that ``shown`` names: headers, ``body``."""
    names = frozenset(name.lower() for name in shown)
    schedules, groups = state.schedules, state.url_groups
    return replace(
        state,
        schedules=None
        if schedules is None
        else MappingProxyType({key: _schedule(one, names) for key, one in schedules.items()}),
        url_groups=None
        if groups is None
        else MappingProxyType({key: _group(one, names) for key, one in groups.items()}),
    )


def _schedule(schedule: AccountSchedule, names: frozenset[str]) -> AccountSchedule:
    return replace(
        schedule,
        body=_value(schedule.body, is_shown=schedule.body == EMPTY or "body" in names),
        headers=_lines(schedule.headers, names),
        callback_headers=_lines(schedule.callback_headers, names),
        failure_callback_headers=_lines(schedule.failure_callback_headers, names),
    )


def _group(group: AccountUrlGroup, names: frozenset[str]) -> AccountUrlGroup:
    return replace(group, headers=_lines(group.headers, names))


def _lines(lines: Lines, names: frozenset[str]) -> Lines:
    return tuple(
        (name, tuple(_value(one, is_shown=is_harmless(name) or _plain(name) in names) for one in values))
        for name, values in lines
    )


def _plain(name: str) -> str:
    return _FORWARDING.sub("", name).lower()


def _value(value: Value, *, is_shown: bool) -> Value:
    # A digest of a short value can be guessed.
    return value if is_shown and value.data is not None else WITHHELD
