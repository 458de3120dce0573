"""Header lines: names in canonical form, the JSON shape of a header map, and which lines may travel on.

A set of header lines is a tuple of ``(name, value)`` pairs in the order received; names compare without case.
"""

import re
from collections.abc import Iterable

Headers = tuple[tuple[str, str], ...]
HeaderMap = dict[str, list[str]]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# RFC 9110, 7.6.1, and what the client that sends the request computes itself (contract 3.3).
_HOP_BY_HOP = frozenset(
    {
        "host", "content-length", "connection", "transfer-encoding", "keep-alive", "te", "trailer", "upgrade",
        "expect", "http2-settings",
    }
)  # fmt: skip

# What only the server may say about a delivery; a forwarded line of the same name gives way (contract 4.1).
SERVER_OWNED = frozenset(
    {
        "accept-encoding", "upstash-signature", "upstash-message-id", "upstash-retried", "upstash-caller-ip",
        "upstash-topic-name", "upstash-schedule-id", "upstash-region", "upstash-max-retries", "upstash-retries",
        "upstash-retry-delay", "upstash-flow-control-key", "upstash-flow-control-value",
    }
)  # fmt: skip


def is_header_name(name: str) -> bool:
    """Whether a header may be called that: a token (RFC 9110, 5.1)."""
    return _TOKEN.fullmatch(name) is not None


def canonical_name(name: str) -> str:
    """``test-header`` as ``Test-Header``, as Go's net/http writes it (contract 1.11)."""
    return "-".join(part[:1].upper() + part[1:].lower() for part in name.split("-"))


def header_text(value: bytes) -> str:
    """A header's bytes as text: UTF-8 where they are that, else Latin-1, which RFC 9110 (5.5) knows from history."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


# Bytes of a value that are no UTF-8 are kept as characters of this private range, and its own characters byte by
# byte, so that every value has one text, every text one value, and a database can keep it.
_KEPT_BYTES = 0xF700
_KEPT = re.compile("[\uf780-\uf7ff]")


def kept_text(value: bytes) -> str:
    """A publisher's header value as text that ``header_bytes`` turns back into the same bytes."""
    if value.isascii():
        return value.decode("ascii")
    text = value.decode("utf-8", "surrogateescape")
    text = _KEPT.sub(lambda found: found[0].encode().decode("ascii", "surrogateescape"), text)
    return "".join(
        chr(ord(one) - 0xDC00 + _KEPT_BYTES) if "\udc80" <= one <= "\udcff" else one for one in text
    )


def header_bytes(text: str) -> bytes:
    """The bytes that a header value has on the wire: those that came, else UTF-8."""
    if text.isascii():
        return text.encode("ascii")
    surrogates = _KEPT.sub(lambda found: chr(ord(found[0]) - _KEPT_BYTES + 0xDC00), text)
    return surrogates.encode("utf-8", "surrogateescape")


def shown_text(text: str) -> str:
    """A header value as people read it: Latin-1 where its bytes are no UTF-8 (RFC 9110, 5.5)."""
    return text if text.isascii() or not _KEPT.search(text) else header_text(header_bytes(text))


def header_map(headers: Iterable[tuple[str, str]]) -> HeaderMap:
    """``{"Canonical-Name": ["v1", "v2"]}``: arrays always, also for a single value (contract 1.11)."""
    result: HeaderMap = {}
    for name, value in headers:
        result.setdefault(canonical_name(name), []).append(shown_text(value))
    return result


def is_hop_by_hop(name: str) -> bool:
    """Whether the line belongs to one connection alone and is never forwarded."""
    lowered = name.lower()
    return lowered in _HOP_BY_HOP or lowered.startswith("proxy-")


def first_value(headers: Iterable[tuple[str, str]], name: str) -> str | None:
    """The value of the first line called ``name``, or ``None``."""
    wanted = name.lower()
    return next((value for key, value in headers if key.lower() == wanted), None)
