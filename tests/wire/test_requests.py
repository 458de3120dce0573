"""Bytes as clients really send them, and what is made of them: one table, over a real socket."""

import json
import socket

import pytest

from emulator.http.server_protocol import RequestProtocol
from emulator.testing import Listener, ServerProcess
from tests.bounds import HANG_SECONDS
from tests.wire.raw import RawAnswer, exchange, read_answer

# Each: what the request's head and body are (%s is the destination), and a word of the refusal.
REFUSED = {
    "a target in raw UTF-8": (
        "POST /v2/publish/https://example.com/grün HTTP/1.1\r\nHost: x\r\n\r\n".encode(), 400, "%C3%BC"
    ),
    "a target in Latin-1": (b"GET /v2/messages/\xfc HTTP/1.1\r\nHost: x\r\n\r\n", 400, "%FC"),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "no HTTP/1.1 request"),
    "HTTP/2 with prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "no HTTP/1.1 request"),
    "a space before the colon": (b"GET /v2/keys HTTP/1.1\r\nHost : x\r\n\r\n", 400, "no HTTP/1.1 request"),
    "a length that is no number": (
        b"POST /v2/batch HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, "no HTTP/1.1 request"
    ),
    "two lengths": (
        b"POST /v2/batch HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "no HTTP/1.1 request"
    ),
    "a length and chunks": (
        b"POST /v2/batch HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "no HTTP/1.1 request",
    ),
    "a chunk of no size": (
        b"POST /v2/batch HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "no HTTP/1.1 request"
    ),
    "a proxy's CONNECT": (b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", 405, "no proxy"),
    "a head without end": (b"GET /v2/keys HTTP/1.1\r\nX: " + b"x" * 1_100_000, 431, "over the limit"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_answered_in_json(server: ServerProcess, name: str) -> None:
    request, status, words = REFUSED[name]
    answer = exchange(server.url, request)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert words in json.loads(answer.body)["error"]


def publish(tenant: dict[str, str], url: str, lines: bytes) -> RawAnswer:
    head = f"POST /v2/publish/{url} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tenant['QSTASH_TOKEN']}\r\n"
    return exchange(tenant["QSTASH_URL"], head.encode() + lines + b"Content-Length: 2\r\n\r\n{}")


VALUES = {
    "UTF-8": "José ł ✓".encode(),
    "Latin-1, as JavaScript's fetch sends it": b"Jos\xe9",
    "both in one": b"\xc3\xa9 \xe9",
    "any bytes": bytes(byte for byte in range(0x21, 0x100) if byte != 0x7F),
    "characters of the private range that stands for bytes": "a\uf7e9b\uf780".encode(),
    "a tab": b"a\tb",
}


@pytest.mark.parametrize("name", VALUES)
def test_the_bytes_of_a_value_arrive_as_they_were_sent(tenant, inbox, name: str) -> None:
    value = VALUES[name]
    lines = b"Upstash-Forward-X-Name: %s\r\n" % value
    assert publish(tenant, f"{inbox.url}/hook", lines).status == 201
    [delivery] = inbox.wait_for(1)
    received = delivery.headers["x-name"].encode("latin-1")
    assert received == value


CONNECTION_LINES = {
    "Expect": (b"Upstash-Forward-Expect: 100-continue\r\n", "expect"),
    "HTTP2-Settings": (b"Upstash-Forward-HTTP2-Settings: AAMA\r\n", "http2-settings"),
    "Upgrade": (b"Upstash-Forward-Upgrade: h2c\r\n", "upgrade"),
    "what Connection names": (b"X-Hop: 1\r\nConnection: close, X-Hop\r\n", "x-hop"),
    "what Connection names in another line": (
        b"X-Hop: 1\r\nConnection: keep-alive\r\nConnection: x-HOP\r\n", "x-hop"
    ),
    "Proxy-Authorization": (b"Proxy-Authorization: Basic eDp4\r\n", "proxy-authorization"),
    "TE": (b"TE: trailers\r\n", "te"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONNECTION_LINES)
def test_what_belongs_to_the_connection_does_not_travel(tenant, inbox, name: str) -> None:
    lines, absent = CONNECTION_LINES[name]
    assert (
        publish(tenant, f"{inbox.url}/hook", b"Upstash-Header-Forward: true\r\nX-Mine: 1\r\n" + lines).status
        == 201
    )
    [delivery] = inbox.wait_for(1)
    assert absent not in delivery.headers
    assert delivery.headers["x-mine"] == "1"


def test_trailers_are_no_headers(tenant, inbox) -> None:
    head = (
        f"POST /v2/publish/{inbox.url}/hook HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tenant['QSTASH_TOKEN']}\r\n"
        "Upstash-Header-Forward: true\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n"
        "2\r\n{}\r\n0\r\nX-Late: 1\r\n\r\n"
    )
    assert exchange(tenant["QSTASH_URL"], head.encode()).status == 201
    [delivery] = inbox.wait_for(1)
    assert delivery.body == b"{}"
    assert "x-late" not in delivery.headers


class Impatient(RequestProtocol):
    header_timeout_seconds = 0.05


async def _answers_nothing(scope, receive, send) -> None:
    raise AssertionError("no request is complete")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHos"])
def test_half_a_head_does_not_keep_a_connection(sent: bytes) -> None:
    with Listener(_answers_nothing, protocol=Impatient) as listener:
        port = int(listener.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=HANG_SECONDS) as connection:
            connection.sendall(sent)
            if sent:
                assert read_answer(connection).status == 408
            assert connection.recv(1) == b""
