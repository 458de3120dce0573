"""HTTP/1.1 as the server reads it: uvicorn's httptools protocol, which loses the body of an offered upgrade."""

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class RequestProtocol(HttpToolsProtocol):
    """Ignores every offer to upgrade, which a server may (RFC 9110, 7.8), and reads the request and its body.

    httptools ends a request at such an offer (``Upgrade: h2c`` of Java's client and of ``curl --http2``), and takes
    its body for the other protocol's. So the head is read again without the offer.
    """

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offered:
            self._read_without_offer(data[offered.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def on_headers_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _read_without_offer(self, rest: bytes) -> None:
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.send_400_response("CONNECT is not served.")
            return
        kept = _connection_tokens(self.headers) - _OF_THE_OFFER
        lines = [
            b"%s %s HTTP/%s" % (method, self.url, self.parser.get_http_version().encode()),
            *(b"%s: %s" % line for line in self.headers if line[0] not in _OF_THE_OFFER | {b"connection"}),
            *([b"connection: " + b", ".join(kept)] if kept else []),
        ]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)


_OF_THE_OFFER = {b"upgrade", b"http2-settings"}


def _connection_tokens(lines: list[tuple[bytes, bytes]]) -> set[bytes]:
    values = [value for name, value in lines if name == b"connection"]
    return {token.strip().lower() for value in values for token in value.split(b",")}
