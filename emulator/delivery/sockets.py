"""Deliveries over kept-alive connections.

aiohttp's client rather than httpx's default transport: the latter spends several times the CPU on a request, and
more with every further concurrent one, and that is most of what an emulator under load spends.
"""

import asyncio
import io
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from emulator.broker.message import AttemptResult
from emulator.delivery import connection_errors
from emulator.delivery.request import OutboundRequest
from emulator.wire.destination import origin_of
from emulator.wire.headers import header_text

# Shorter than the five seconds after which uvicorn and Node close an idle connection: reusing one at that very
# moment looks like a failed attempt.
_KEEP_ALIVE_SECONDS = 4.0
_CHUNK_BYTES = 65_536
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_LARGE_BYTES = 1_000_000


class SocketTransport:
    """HTTP/1.1 over TCP. Redirects are not followed; response bodies are cut at ``max_response_bytes``."""

    def __init__(self, *, max_response_bytes: int, connect_to: Mapping[str, str] | None = None) -> None:
        """``connect_to`` maps an origin to the one that is really called; ``Host`` and ``sub`` stay as published."""
        self._max_response_bytes = max_response_bytes
        self._connect_to = {
            origin_of(origin): target.rstrip("/") for origin, target in (connect_to or {}).items()
        }
        self._is_in_container = Path("/.dockerenv").exists()
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: OutboundRequest) -> AttemptResult:
        try:
            async with asyncio.timeout(request.timeout_ms / 1000):
                return await self._exchange(request)
        except TimeoutError:
            return _no_response(connection_errors.TIMED_OUT)
        except (aiohttp.ClientConnectorDNSError, UnicodeError):
            # A host with an empty or overlong label is none, and is not even asked for.
            return _no_response(connection_errors.not_resolved(request.url))
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            return _no_response(connection_errors.tls_failed(request.url, error))
        except aiohttp.ClientConnectorError as error:
            words = connection_errors.not_connected(
                request.url, error.os_error, is_in_container=self._is_in_container
            )
            return _no_response(words)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _no_response(connection_errors.cut_off(request.url, error))

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _exchange(self, request: OutboundRequest) -> AttemptResult:
        url, headers = self._resolve(request)
        async with self._open_session().request(
            request.method,
            URL(url, encoded=True),
            data=_data(request.body),
            headers=headers,
            allow_redirects=False,
        ) as response:
            body = await self._read(response)
            return AttemptResult(
                status=response.status,
                # aiohttp's own decoding leaves surrogates, which nothing can store, where bytes are not UTF-8.
                headers=tuple(
                    (header_text(name), header_text(value)) for name, value in response.raw_headers
                ),
                body=body,
            )

    def _resolve(self, request: OutboundRequest) -> tuple[str, CIMultiDict[str]]:
        """The URL to call, and the header lines."""
        headers = CIMultiDict(request.headers)
        target = self._connect_to.get(origin_of(request.url)) if self._connect_to else None
        if target is None:
            return request.url if request.url.isascii() else _in_ascii(request.url), headers
        headers["Host"] = urlsplit(request.url).netloc.rpartition("@")[2]
        return f"{target}{_quoted(_behind_authority(request.url))}", headers

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            parts.append(chunk)
            size += len(chunk)
            if size >= self._max_response_bytes:
                response.close()
                break
        return b"".join(parts)[: self._max_response_bytes]

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS, ttl_dns_cache=10
                ),
                timeout=aiohttp.ClientTimeout(total=None, connect=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Accept", "Content-Type", "User-Agent"),
                max_line_size=65_536,
                max_field_size=65_536,
            )
        return self._session


def _behind_authority(url: str) -> str:
    """Path and query of ``url`` as they are."""
    parts = urlsplit(url)
    return url[url.index(parts.netloc, len(parts.scheme) + 3) + len(parts.netloc) :]


def _in_ascii(url: str) -> str:
    """``url`` as it can travel: the host by IDNA, other characters percent-encoded, what is ASCII untouched."""
    parts = urlsplit(url)
    return f"{str(URL(f'{parts.scheme}://{parts.netloc}')).rstrip('/')}{_quoted(_behind_authority(url))}"


def _quoted(text: str) -> str:
    return quote(text, safe=_PRINTABLE)


def _data(body: bytes) -> bytes | io.BytesIO:
    """A large body as a file, which aiohttp sends in pieces; as one piece it would hold up the event loop."""
    return io.BytesIO(body) if len(body) > _LARGE_BYTES else body


def _no_response(words: str) -> AttemptResult:
    return AttemptResult(status=0, error=words)
