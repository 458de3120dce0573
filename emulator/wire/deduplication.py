"""The keys by which two publishes count as the same message (contract 3.5)."""

import hashlib
from collections.abc import Iterable

from emulator.wire.headers import Headers

WINDOW_MS = 10 * 60 * 1000


def explicit_key(deduplication_id: str) -> str:
    """Return the key of a publisher's id. Neither destination nor queue is part of it."""
    return f"id:{deduplication_id}"


def content_key(*, destination: str, body: bytes, headers: Headers) -> str:
    """Return the key with a hash over destination, body, content type and forwarded headers.

    Every part is prefixed by its length, so that different messages have different texts; header names are
    lower-cased and sorted. Method, delay, labels and callbacks are not part of it.
    """
    digest = hashlib.sha256()
    for part in _parts(destination, body, headers):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return f"content:{digest.hexdigest()}"


def endpoint_key(key: str, url: str) -> str:
    """Return the key for one endpoint of a URL group, as every endpoint gets a message of its own."""
    return f"{key}@{url}"


def _parts(destination: str, body: bytes, headers: Headers) -> Iterable[bytes]:
    yield destination.encode()
    yield body
    for name, value in sorted((name.lower(), value) for name, value in headers):
        yield name.encode()
        yield value.encode()
