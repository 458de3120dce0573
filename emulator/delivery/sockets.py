"""Deliveries over TCP by HTTP/1.1.

This is a client of its own because no library reads all responses that destinations really send: see
``response_reader``; ``connections`` chooses the connection of a request.
"""

import asyncio
import base64
import errno
import logging
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes, urlsplit

import idna

from emulator.broker.message import AttemptResult
from emulator.delivery import connection_errors
from emulator.delivery.connections import Connections, CutOff, Peer
from emulator.delivery.request import OutboundRequest
from emulator.delivery.response_reader import ResponseReader
from emulator.wire.destination import origin_of
from emulator.wire.headers import Headers, header_bytes, header_text

log: logging.Logger = logging.getLogger(__name__)

_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
# Methods whose requests have a Content-Length even without a body (RFC 9110, 8.6).
_WITH_LENGTH = frozenset({"POST", "PUT", "PATCH"})
# Errors for resources that this machine has run out of, and may have again later.
_OUR_OWN = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL, errno.EAGAIN}
)
_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 1.0
_IN_A_CONTAINER = (Path("/.dockerenv"), Path("/run/.containerenv"))


class SocketTransport:
    """HTTP/1.1 over TCP. Redirects are not followed; response bodies are cut off at ``max_response_bytes``."""

    def __init__(self, *, max_response_bytes: int, connect_to: Mapping[str, str] | None = None) -> None:
        """``connect_to`` maps an origin to the one that is called; ``Host`` and ``sub`` stay as published."""
        self._max_response_bytes = max_response_bytes
        self._connect_to = {
            origin_of(origin): target.rstrip("/") for origin, target in (connect_to or {}).items()
        }
        self._is_in_container = any(path.exists() for path in _IN_A_CONTAINER)
        self._connections = Connections()
        self._route = lru_cache(maxsize=1024)(self._find_route)

    async def send(self, request: OutboundRequest) -> AttemptResult:
        reader = ResponseReader(
            is_head_request=request.method == "HEAD", most_body_bytes=self._max_response_bytes
        )
        try:
            async with asyncio.timeout(request.timeout_ms / 1000):
                await self._exchange(request, reader)
        except TimeoutError:
            if not reader.has_head:
                return _no_response(connection_errors.TIMED_OUT)
            reader.give_up("the rest of the response did not arrive in time")
        except (socket.gaierror, UnicodeError):
            # A host with an empty or overlong label is invalid, and is not looked up.
            return _no_response(connection_errors.not_resolved(request.url))
        except ssl.SSLError as error:
            return _no_response(connection_errors.tls_failed(request.url, error))
        except CutOff as error:
            return _no_response(connection_errors.went_wrong(request.url, str(error)))
        except OSError as error:
            words = connection_errors.not_connected(request.url, error, is_in_container=self._is_in_container)
            return _no_response(words)
        return _result(reader)

    async def close(self) -> None:
        self._connections.close()

    async def _exchange(self, request: OutboundRequest, reader: ResponseReader) -> None:
        route = self._route(request.url)
        head = _head(request, route)
        wait_seconds = _FIRST_WAIT_SECONDS
        while True:
            try:
                await self._connections.exchange(route.place, head, request.body, reader)
            except OSError as error:
                if reader.has_begun or not _is_our_own(error):
                    raise
                # Nothing was sent, and the destination is not the cause, so this does not count as an attempt.
                if wait_seconds == _FIRST_WAIT_SECONDS:
                    log.warning("cannot connect for now, trying again: %s", error)
            else:
                return
            await asyncio.sleep(wait_seconds)
            wait_seconds = min(2 * wait_seconds, _LONGEST_WAIT_SECONDS)

    def _find_route(self, url: str) -> "_Route":
        called = url
        if self._connect_to:
            target = self._connect_to.get(origin_of(url))
            called = url if target is None else f"{target}{_behind_authority(url)}"
        parts = urlsplit(called)
        published = urlsplit(url)
        host = _in_ascii(parts.hostname or "")
        is_tls = parts.scheme.lower() == "https"
        place = Peer(host, parts.port or (443 if is_tls else 80), host if is_tls else None)
        return _Route(
            place, _authority(published.netloc), _target(called), published.netloc.rpartition("@")[0]
        )


@dataclass(frozen=True, slots=True)
class _Route:
    """The peer of a request's connection, and the header lines that depend on it."""

    place: Peer
    authority: str
    target: str
    userinfo: str


def _head(request: OutboundRequest, route: _Route) -> bytes:
    lines = _lines(request, route.authority, route.userinfo)
    first = f"{request.method} {route.target} HTTP/1.1\r\n"
    text = "".join([f"{name}: {value}\r\n" for name, value in lines])
    if text.isascii():
        # The fast path for nearly all requests.
        return f"{first}{text}\r\n".encode("ascii")
    written = [b"%s: %s\r\n" % line for line in _raw(lines)]
    return b"".join((first.encode("ascii"), *written, b"\r\n"))


def _lines(request: OutboundRequest, authority: str, userinfo: str) -> Headers:
    lines: Headers = (("Host", authority), *request.headers)
    if userinfo and not any(name.lower() == "authorization" for name, _ in request.headers):
        lines = (*lines, ("Authorization", basic_authorization(userinfo)))
    if request.body or request.method in _WITH_LENGTH:
        lines = (*lines, ("Content-Length", str(len(request.body))))
    return lines


def _raw(lines: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), header_bytes(value)) for name, value in lines]


def raw_request(request: OutboundRequest) -> tuple[str, list[tuple[bytes, bytes]]]:
    """Return a request's target and header lines as servers read them: without blanks before a value."""
    userinfo, _, _ = urlsplit(request.url).netloc.rpartition("@")
    lines = _raw(_lines(request, _authority(urlsplit(request.url).netloc), userinfo))
    return _target(request.url), [(name, value.lstrip(b" \t")) for name, value in lines]


def basic_authorization(userinfo: str) -> str:
    """Return the Authorization value of a URL's ``user:password`` (RFC 7617)."""
    user, _, password = userinfo.partition(":")
    return f"Basic {base64.b64encode(unquote_to_bytes(user) + b':' + unquote_to_bytes(password)).decode()}"


def _result(reader: ResponseReader) -> AttemptResult:
    body = reader.body()
    return AttemptResult(
        status=reader.status,
        # Databases cannot store U+0000 in text.
        headers=tuple(
            (header_text(name), header_text(value).replace("\0", "\N{REPLACEMENT CHARACTER}"))
            for name, value in reader.lines
        ),
        body=body,
        note=reader.problem,
    )


def _is_our_own(error: OSError) -> bool:
    if isinstance(error, socket.gaierror):
        # Resolving a name takes a descriptor, and the resolver's error does not say when none is left.
        try:
            socket.socket().close()
        except OSError as own:
            return own.errno in _OUR_OWN
        return False
    return error.errno in _OUR_OWN


def _behind_authority(url: str) -> str:
    """Return path, query and fragment of ``url`` unchanged."""
    parts = urlsplit(url)
    return url[url.index(parts.netloc, len(parts.scheme) + 3) + len(parts.netloc) :]


def _target(url: str) -> str:
    """Return the request's target: path and query, non-ASCII characters percent-encoded, the rest unchanged."""
    behind = _behind_authority(url).partition("#")[0]
    target = behind if behind.startswith("/") else f"/{behind}"
    return (
        target
        if target.isascii() and target.isprintable() and " " not in target
        else quote(target, safe=_PRINTABLE)
    )


def _authority(netloc: str) -> str:
    """Return host and port as published, the host by IDNA where needed."""
    authority = netloc.rpartition("@")[2]
    if authority.isascii():
        return authority
    host, colon, port = authority.partition(":")
    return f"{_in_ascii(host)}{colon}{port}"


def _in_ascii(host: str) -> str:
    """Return the name in ASCII. Raises UnicodeError if it is not a valid name."""
    return host if host.isascii() else idna.encode(host, uts46=True).decode()


def _no_response(words: str) -> AttemptResult:
    return AttemptResult(status=0, error=words)
