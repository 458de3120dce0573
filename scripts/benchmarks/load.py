"""The load generator: keep-alive HTTP/1.1 over asyncio, light enough that the server is the limit."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import cast
from urllib.parse import urlsplit

CONCURRENCY = 50


class Connection(asyncio.Protocol):
    """One connection with one request under way at a time; answers must carry a Content-Length."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, url: str) -> "Connection":
        parts = urlsplit(url)
        _, connection = await asyncio.get_running_loop().create_connection(
            cls, parts.hostname or "127.0.0.1", parts.port or 80
        )
        return connection

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a whole request. Return the status and the body of its answer."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        _, found, rest = head.partition(b"content-length:")
        length = int(rest.split(b"\r\n", 1)[0]) if found else 0
        if len(self._buffer) < end + 4 + length:
            return
        body = bytes(self._buffer[end + 4 : end + 4 + length])
        self._buffer.clear()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionError("the server closed the connection"))


def request_bytes(url: str, headers: Mapping[str, str], body: bytes, method: str = "POST") -> bytes:
    """Return the bytes of a request. Its target is everything behind the authority, unchanged."""
    parts = urlsplit(url)
    target = url[url.index(parts.netloc) + len(parts.netloc) :] or "/"
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}", "Accept: */*", "User-Agent: bench"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


async def send_all(url: str, requests: Iterator[bytes], concurrency: int = CONCURRENCY) -> float:
    """Send all requests over ``concurrency`` connections. Return the seconds until the last answer.

    Raises RuntimeError for an answer other than 2xx.
    """
    connections = await asyncio.gather(*(Connection.open(url) for _ in range(concurrency)))

    async def work(connection: Connection) -> None:
        for request in requests:
            status, body = await connection.ask(request)
            if not 200 <= status <= 299:
                raise RuntimeError(f"{url} answered {status}: {body.decode(errors='replace')}")

    try:
        started = time.perf_counter()
        await asyncio.gather(*(work(connection) for connection in connections))
        return time.perf_counter() - started
    finally:
        for connection in connections:
            connection.close()


async def get(url: str, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the body of the answer to one GET."""
    connection = await Connection.open(url)
    try:
        _, body = await connection.ask(request_bytes(url, headers or {}, b"", "GET"))
        return body
    finally:
        connection.close()
