"""A client that sends bytes as they are, and reads one answer."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.bounds import HANG_SECONDS

# What Java's HttpClient and ``curl --http2`` send with every first request of a plain connection.
H2C_OFFER = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
)


@dataclass(frozen=True)
class RawAnswer:
    """One answer: its status, its header lines by name in lower case, its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def exchange(url: str, *parts: bytes) -> RawAnswer:
    """Send ``parts`` one after the other on a connection to ``url``, and read what is answered first."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=HANG_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            connection.sendall(part)
        return read_answer(connection)


def read_answer(connection: socket.socket) -> RawAnswer:
    """The next answer that comes; its body as long as Content-Length says, or up to the end of the connection."""
    with connection.makefile("rb") as stream:
        status = int(stream.readline().split()[1])
        headers: dict[str, str] = {}
        while (line := stream.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        length = headers.get("content-length")
        body = stream.read() if length is None else stream.read(int(length))
    return RawAnswer(status, headers, body)


def chunked(body: bytes, size: int = 7) -> bytes:
    """``body`` in chunks of ``size`` bytes."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))
