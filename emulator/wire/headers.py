"""Header lines: canonical names, the JSON form of a header map, and which lines may be forwarded.

A set of header lines is a tuple of ``(name, value)`` pairs in the order received; names compare without case.
"""

import re
from collections.abc import Iterable

Headers = tuple[tuple[str, str], ...]
HeaderMap = dict[str, list[str]]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# RFC 9110, 7.6.1, and the headers that the sending client computes itself (contract 3.3).
_HOP_BY_HOP = frozenset(
    {
        "host", "content-length", "connection", "transfer-encoding", "keep-alive", "te", "trailer", "upgrade",
        "expect", "http2-settings",
    }
)  # fmt: skip

# Only the server sets these headers of a delivery; forwarded lines of these names are dropped (contract 4.1).
SERVER_OWNED = frozenset(
    {
        "accept-encoding", "upstash-signature", "upstash-message-id", "upstash-retried", "upstash-caller-ip",
        "upstash-topic-name", "upstash-schedule-id", "upstash-region", "upstash-max-retries", "upstash-retries",
        "upstash-retry-delay", "upstash-flow-control-key", "upstash-flow-control-value",
    }
)  # fmt: skip


def is_header_name(name: str) -> bool:
    """Return whether ``name`` is a valid header name, that is, a token (RFC 9110, 5.1)."""
    return _TOKEN.fullmatch(name) is not None


def canonical_name(name: str) -> str:
    """Return ``test-header`` as ``Test-Header``, as Go's net/http writes it (contract 1.11)."""
    return "-".join(part[:1].upper() + part[1:].lower() for part in name.split("-"))


def header_text(value: bytes) -> str:
    """Return a header's bytes as text: UTF-8 if they are valid UTF-8, else Latin-1 (RFC 9110, 5.5)."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


# Bytes that are not UTF-8 are stored as characters of this private range, and so are the bytes of the range's own
# characters. Every value then has one text, every text one value, and databases can store it.
_KEPT_BYTES = 0xF700
_KEPT = re.compile("[\uf780-\uf7ff]")


def kept_text(value: bytes) -> str:
    """Return a publisher's header value as text that ``header_bytes`` turns back into the same bytes."""
    if value.isascii():
        return value.decode("ascii")
    text = value.decode("utf-8", "surrogateescape")
    text = _KEPT.sub(lambda found: found[0].encode().decode("ascii", "surrogateescape"), text)
    return "".join(
        chr(ord(one) - 0xDC00 + _KEPT_BYTES) if "\udc80" <= one <= "\udcff" else one for one in text
    )


def header_bytes(text: str) -> bytes:
    """Return the bytes of a header value on the wire: the received bytes of a kept text, else UTF-8."""
    if text.isascii():
        return text.encode("ascii")
    surrogates = _KEPT.sub(lambda found: chr(ord(found[0]) - _KEPT_BYTES + 0xDC00), text)
    return surrogates.encode("utf-8", "surrogateescape")


def shown_text(text: str) -> str:
    """Return a header value for display: Latin-1 if its bytes are not UTF-8 (RFC 9110, 5.5)."""
    return text if text.isascii() or not _KEPT.search(text) else header_text(header_bytes(text))


def header_map(headers: Iterable[tuple[str, str]]) -> HeaderMap:
    """Return ``{"Canonical-Name": ["v1", "v2"]}``, with an array even for a single value (contract 1.11)."""
    result: HeaderMap = {}
    for name, value in headers:
        result.setdefault(canonical_name(name), []).append(shown_text(value))
    return result


def is_hop_by_hop(name: str) -> bool:
    """Return whether the header belongs to one connection and is never forwarded."""
    lowered = name.lower()
    return lowered in _HOP_BY_HOP or lowered.startswith("proxy-")


def first_value(headers: Iterable[tuple[str, str]], name: str) -> str | None:
    """Return the value of the first line called ``name``, or ``None``."""
    wanted = name.lower()
    return next((value for key, value in headers if key.lower() == wanted), None)
