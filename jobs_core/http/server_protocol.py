"""HTTP/1.1 as a server reads it: uvicorn's httptools protocol, with what it lacks (RFC 9110 and 9112).

The two packages meet only over HTTP, so each has this module; a test holds the copies to be the same.
"""

import asyncio
import json

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

_MOST_HEAD_BYTES = 1_048_576
_OF_THE_OFFER = frozenset({b"upgrade", b"http2-settings"})


class RequestProtocol(HttpToolsProtocol):
    """Keeps the body of a request that offers an upgrade, and answers in JSON what it cannot read.

    httptools ends a request at such an offer (``Upgrade: h2c`` of Java's client and of ``curl --http2``), and takes
    its body for the other protocol's. A server may ignore the offer (RFC 9110, 7.8): the head is read again
    without it. Who takes longer than ``header_timeout_seconds`` for a head is let go.
    """

    header_timeout_seconds: float = 30.0

    _header_timer: asyncio.TimerHandle | None = None
    _is_in_head = True
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_header_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _MOST_HEAD_BYTES:
                self._refuse(431, f"the request's head is over the limit of {_MOST_HEAD_BYTES} bytes")
                return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offered:
            self._read_without_offer(data[offered.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(400, _non_ascii_target(data) or f"this is no HTTP/1.1 request: {error}")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._start_header_timer()

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._stop_header_timer()
        self._is_in_head = False
        super().on_headers_complete()
        # What follows are trailers, which are no headers (RFC 9110, 6.5.1).
        self.headers: list[tuple[bytes, bytes]] = []

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._is_in_head, self._head_bytes = True, 0
        super().on_message_complete()

    def _read_without_offer(self, rest: bytes) -> None:
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(405, "CONNECT is not served: this is no proxy")
            return
        kept = _connection_tokens(self.headers) - _OF_THE_OFFER
        lines = [
            b"%s %s HTTP/%s" % (method, self.url, self.parser.get_http_version().encode()),
            *(b"%s: %s" % line for line in self.headers if line[0] not in _OF_THE_OFFER | {b"connection"}),
            *([b"connection: " + b", ".join(kept)] if kept else []),
        ]
        self.parser: httptools.HttpRequestParser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._head_bytes = 0
        self.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    def _start_header_timer(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(self.header_timeout_seconds, self._give_up)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _give_up(self) -> None:
        self._header_timer = None
        if not self._head_bytes:
            self.transport.close()
            return
        self._refuse(408, f"no complete head came within {self.header_timeout_seconds:g} seconds")

    def _refuse(self, status: int, words: str) -> None:
        """Answer in the API's form, and close."""
        self._stop_header_timer()
        if self.transport.is_closing():
            return
        body = json.dumps({"error": words}).encode()
        self.transport.write(
            b"%scontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
            % (STATUS_LINE[status], len(body), body)
        )
        self.transport.close()


def _non_ascii_target(data: bytes) -> str | None:
    """Words for a target of other bytes than ASCII's, if that is what the parser met in ``data``."""
    target = data.partition(b"\r\n")[0]
    if not (b" HTTP/1." in target and target[:3].isalpha()):
        return None
    found = next((index for index, byte in enumerate(target) if byte >= 0x80), None)
    if found is None:
        return None
    encoded = "".join(f"%{byte:02X}" if byte >= 0x80 else chr(byte) for byte in target[found : found + 8])
    return (
        f"the target has a byte that is not ASCII (0x{target[found]:02x}): percent-encode it "
        f"(RFC 3986, 2.1), here as {encoded}"
    )


def _connection_tokens(lines: list[tuple[bytes, bytes]]) -> set[bytes]:
    values = [value for name, value in lines if name == b"connection"]
    return {token.strip().lower() for value in values for token in value.split(b",")}
