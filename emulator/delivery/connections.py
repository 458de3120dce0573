"""Kept-alive HTTP/1.1 connections of asyncio, with one exchange at a time on each.

A kept connection that the peer has closed while it was idle is never used, and a request of which nothing
could be written is sent again on a new one, as Go's net/http does: neither counts as an attempt. A request
that was written and then cut off counts, because its receiver may have begun its work.
"""

import asyncio
import select
import socket
import ssl
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from emulator.delivery.response_reader import BadHead, ResponseReader

# Shorter than the five seconds after which uvicorn and Node close an idle connection.
_KEEP_ALIVE_SECONDS = 4.0
_NAMES_SECONDS = 10.0
# One unreachable address of several must not use up the whole timeout.
_ONE_ADDRESS_SECONDS = 10.0
# The size that one send takes at least: of fewer bytes, all or none were written.
_ONE_WRITE_BYTES = 65_536

Addresses = Sequence[tuple[socket.AddressFamily, tuple[str, int]]]


class NothingWritten(Exception):
    """A kept connection was closed before anything of the request was written."""


class CutOff(Exception):
    """The connection ended, or sent no HTTP, before a complete head of a response. The text says how."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The end of a connection: ``tls_name`` is the name that the certificate must have, ``None`` for plain text."""

    host: str
    port: int
    tls_name: str | None


class Connection(asyncio.Protocol):
    """One connection, idle or in one exchange."""

    def __init__(self) -> None:
        self.idle_since: float = 0.0
        self.is_reused = False
        self.is_lost: bool = False
        self._transport: asyncio.Transport | None = None
        self._poll: select.poll | None = None
        self._reader: ResponseReader | None = None
        self._ended: asyncio.Future[None] | None = None
        self._request_bytes = 0

    async def exchange(self, head: bytes, body: bytes, reader: ResponseReader) -> None:
        """Send a request and have ``reader`` read the response. Raise NothingWritten or CutOff."""
        assert self._transport is not None
        self._reader = reader
        self._request_bytes = len(head) + len(body)
        self._ended = asyncio.get_running_loop().create_future()
        if len(body) <= _ONE_WRITE_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        try:
            await self._ended
        finally:
            self._reader = self._ended = None

    def is_usable(self, now: float) -> bool:
        """Return whether an idle connection is open and silent: any bytes on it could only be its end."""
        if self.is_lost or now - self.idle_since > _KEEP_ALIVE_SECONDS:
            return False
        return self._poll is None or not self._poll.poll(0)

    def close(self) -> None:
        """Close the connection."""
        self.is_lost = True
        if self._transport is not None:
            self._transport.abort()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport does not derive from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        made = transport.get_extra_info("socket")
        if made is not None and hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(made.fileno(), select.POLLIN | select.POLLHUP)

    def data_received(self, data: bytes) -> None:
        if self._reader is None:
            # Bytes without a request: the connection cannot be used any more.
            self.close()
            return
        try:
            self._reader.feed(data)
        except BadHead as error:
            self.close()
            self._end(CutOff(str(error)))
            return
        if self._reader.is_complete:
            self._end(None)

    def eof_received(self) -> bool:
        if self._reader is not None:
            self._read_end(None)
        self.is_lost = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if self._reader is not None:
            self._read_end(exc)

    def _read_end(self, error: Exception | None) -> None:
        reader = self._reader
        assert reader is not None
        if self.is_reused and not reader.has_begun and self._wrote_nothing(error):
            self._end(NothingWritten())
            return
        try:
            reader.end()
        except BadHead as wrong:
            self._end(CutOff(f"{wrong} ({error})" if error else str(wrong)))
        else:
            self._end(None)

    def _wrote_nothing(self, error: Exception | None) -> bool:
        return isinstance(error, BrokenPipeError) and self._request_bytes <= _ONE_WRITE_BYTES

    def _end(self, error: Exception | None) -> None:
        if self._ended is None or self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)


class Connections:
    """Makes connections, and keeps reusable ones."""

    def __init__(self) -> None:
        self._idle: defaultdict[Peer, list[Connection]] = defaultdict(list)
        self._addresses: dict[tuple[str, int], tuple[float, Addresses]] = {}
        self._tls: ssl.SSLContext | None = None
        self._sweep: asyncio.TimerHandle | None = None

    async def exchange(self, place: Peer, head: bytes, body: bytes, reader: ResponseReader) -> None:
        """Send a request to ``place`` and read the response. Raise CutOff, OSError, ssl.SSLError or
        socket.gaierror.
        """
        while True:
            connection = self._take(place) or await self._open(place)
            try:
                await connection.exchange(head, body, reader)
            except NothingWritten:
                continue
            except BaseException:
                connection.close()
                raise
            self._give_back(place, connection, reader)
            return

    def close(self) -> None:
        """Close all idle connections."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connections in self._idle.values():
            for one in connections:
                one.close()
        self._idle.clear()

    def _take(self, place: Peer) -> Connection | None:
        idle = self._idle.get(place)
        now = asyncio.get_running_loop().time()
        while idle:
            connection = idle.pop()
            if connection.is_usable(now):
                connection.is_reused = True
                return connection
            connection.close()
        return None

    def _give_back(self, place: Peer, connection: Connection, reader: ResponseReader) -> None:
        if not reader.can_be_kept or connection.is_lost:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle[place].append(connection)
        if self._sweep is None:
            self._sweep = loop.call_later(_KEEP_ALIVE_SECONDS, self._close_old)

    def _close_old(self) -> None:
        self._sweep = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for place in list(self._idle):
            kept = []
            for one in self._idle[place]:
                if one.is_usable(now):
                    kept.append(one)
                else:
                    one.close()
            if kept:
                self._idle[place] = kept
            else:
                del self._idle[place]
        if self._idle:
            self._sweep = loop.call_later(_KEEP_ALIVE_SECONDS / 4, self._close_old)

    async def _open(self, place: Peer) -> Connection:
        addresses = await self._resolve(place.host, place.port)
        for index, (family, address) in enumerate(addresses):
            is_last = index == len(addresses) - 1
            try:
                async with asyncio.timeout(None if is_last else _ONE_ADDRESS_SECONDS):
                    return await self._connect(place, family, address)
            except (OSError, TimeoutError) as error:
                if is_last or isinstance(error, ssl.SSLError):
                    self._addresses.pop((place.host, place.port), None)
                    raise
        raise AssertionError("a name resolves to an address, or an error is raised")

    async def _connect(
        self, place: Peer, family: socket.AddressFamily, address: tuple[str, int]
    ) -> Connection:
        tls = None if place.tls_name is None else self._tls_context()
        _, connection = await asyncio.get_running_loop().create_connection(
            Connection, address[0], address[1], family=family, ssl=tls, server_hostname=place.tls_name
        )
        return connection

    async def _resolve(self, host: str, port: int) -> Addresses:
        loop = asyncio.get_running_loop()
        known = self._addresses.get((host, port))
        if known is not None and known[0] > loop.time():
            return known[1]
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        addresses = [(family, (str(address[0]), int(address[1]))) for family, _, _, _, address in found]
        if len(self._addresses) > 1_000:
            self._addresses.clear()
        self._addresses[host, port] = loop.time() + _NAMES_SECONDS, addresses
        return addresses

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls
