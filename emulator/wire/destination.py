"""Read a message's destination from the raw request target (contract 1.1 and 2.1).

The destination follows a fixed prefix verbatim: ``/v2/publish/https://example.com/a//b%2Fc?x=1``. It is never
decoded, normalised or re-encoded.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from urllib.parse import unquote_plus, urlsplit

from emulator.errors import InvalidInput

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_HTTP = re.compile(r"https?://", re.IGNORECASE)
_BLANK_OR_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_TOKEN_PARAMETER = "qstash_token"  # noqa: S105  a name, not a secret
_OPTION_PREFIX = "upstash-"


class DestinationKind(Enum):
    """The kind of a destination."""

    URL = "url"
    URL_GROUP = "url group"
    LLM = "api/llm"


@dataclass(frozen=True, slots=True)
class Destination:
    """``value`` is the whole URL, or the URL group's name; ``query`` is the query given with a group's name."""

    kind: DestinationKind
    value: str
    query: str = ""


def parse_destination(raw: str, query: str = "") -> Destination:
    """Return the destination that a publisher gave; ``query`` is the remaining query string, without "?".

    Raises InvalidInput with the real service's text (contract 1.3) for an empty destination, and for one that looks
    like a URL without an http or https scheme.
    """
    if not raw:
        raise InvalidInput("a non-empty destination must be provided")
    if raw.lower() == "api/llm":
        return Destination(DestinationKind.LLM, "api/llm")
    if _HTTP.match(raw):
        check_url(raw, what="destination url")
        return Destination(DestinationKind.URL, f"{raw}?{query}" if query else raw)
    if any(mark in raw for mark in ":/%"):
        raise InvalidInput("invalid destination url: endpoint has invalid scheme, add http:// or https://")
    return Destination(DestinationKind.URL_GROUP, check_name(raw, what="URL group name"), query)


def check_url(url: str, *, what: str) -> str:
    """Return ``url`` if it is an absolute http(s) URL with a host; ``what`` names it in the error."""
    problem = _problem_of(url)
    if problem is not None:
        raise InvalidInput(f"invalid {what}{problem}")
    return url


@lru_cache(maxsize=4096)
def _problem_of(url: str) -> str | None:
    """Return what is wrong with ``url``, or ``None``. Cached, as few destinations get most messages."""
    if not _HTTP.match(url):
        return ": endpoint has invalid scheme, add http:// or https://"
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        return f" {url!r}: {error}"
    if not host:
        return f" {url!r}: it has no host"
    if _BLANK_OR_CONTROL.search(url):
        return f" {url!r}: blanks and control characters must be percent-encoded"
    return None


def check_name(name: str, *, what: str) -> str:
    """Return ``name`` if it is a valid name of a queue, URL group or schedule (contract 1.4)."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"invalid {what} {name!r}: only letters, digits, '_', '-' and '.' are accepted")
    return name


def check_text(text: str, *, what: str) -> str:
    """Return ``text`` if databases can store it, that is, without the character U+0000."""
    if "\0" in text:
        raise InvalidInput(f"invalid {what}: it must not contain the character U+0000")
    return text


def check_line(text: str, *, what: str) -> str:
    """Return ``text`` if it is valid as a header's value: on one line, and without the character U+0000."""
    if "\n" in text or "\r" in text:
        raise InvalidInput(f"invalid {what} {text!r}: it must be on one line")
    return check_text(text, what=what)


def split_target(remainder: str, query: str) -> tuple[str, str, list[tuple[str, str]]]:
    """Split the raw remainder of a target into destination, destination's query, and configuration.

    Returns ``(destination, query, parameters)``: the query keeps the order and spelling of every pair that is
    not configuration; ``parameters`` are the decoded ``upstash-*`` pairs, names in lower case. The token parameter
    is dropped, as it is the publisher's secret (contract 1.2). Raises InvalidInput for a value that is invalid in a
    header.
    """
    kept: list[str] = []
    parameters: list[tuple[str, str]] = []
    for pair, name, value in _pairs(query):
        lowered = name.lower()
        if lowered.startswith(_OPTION_PREFIX):
            parameters.append((lowered, check_line(value, what=lowered)))
        elif lowered != _TOKEN_PARAMETER:
            kept.append(pair)
    return remainder, "&".join(kept), parameters


def token_parameter(query: str) -> str | None:
    """Return the decoded ``qstash_token`` of a raw query string, or ``None``."""
    if _TOKEN_PARAMETER not in query.lower():
        return None
    return next((value for _, name, value in _pairs(query) if name.lower() == _TOKEN_PARAMETER), None)


def _pairs(query: str) -> Iterator[tuple[str, str, str]]:
    """Yield each pair as written, with its decoded name and value."""
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        yield pair, unquote_plus(name), unquote_plus(value)


@lru_cache(maxsize=4096)
def origin_of(url: str) -> str:
    """Return ``scheme://host:port`` in lower case with an explicit port; deliveries to one origin share connections."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme.lower() == "https" else 80)
    return f"{parts.scheme.lower()}://{(parts.hostname or '').lower()}:{port}"
