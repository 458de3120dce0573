"""Addresses of both families, fragments, and access to the server."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from emulator.testing import ServerProcess
from tests.bounds import HANG_SECONDS
from tests.wire.raw import RawAnswer, exchange


@pytest.fixture(scope="module")
def everywhere() -> Iterator[ServerProcess]:
    """A server on all addresses of both families."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("NOT TESTED: this machine has no IPv6")
    with ServerProcess("--host", "::") as server:
        yield server


def _ask(server: ServerProcess, host: str, request: bytes, body: bytes = b"") -> RawAnswer:
    port = server.url.rpartition(":")[2]
    token = server.environment["QSTASH_TOKEN"].encode()
    head = b"%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n" % (request, token)
    lines = b"Upstash-Delay: 1h\r\nContent-Length: %d\r\n\r\n" % len(body)
    return exchange(f"http://{host}:{port}", head + lines + body)


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")])
def test_a_publishers_address_has_one_form(everywhere: ServerProcess, host: str, shown: str) -> None:
    """IPv4 over an IPv6 socket is ``::ffff:127.0.0.1`` to the system (RFC 4291, 2.5.5.2)."""
    published = _ask(everywhere, host, b"POST /v2/publish/https://example.com")
    message_id = json.loads(published.body)["messageId"]
    message = json.loads(_ask(everywhere, host, b"GET /v2/messages/" + message_id.encode()).body)
    assert message["callerIP"] == shown


@pytest.mark.parametrize("spelled", ["127.0.0.1", "::ffff:127.0.0.1", "::FFFF:7f00:1"])
def test_a_filter_finds_it_however_it_is_spelled(everywhere: ServerProcess, spelled: str) -> None:
    _ask(everywhere, "127.0.0.1", b"POST /v2/publish/https://example.com")
    _ask(everywhere, "[::1]", b"POST /v2/publish/https://example.com")
    found = json.loads(_ask(everywhere, "[::1]", b"GET /v2/logs?callerIp=" + spelled.encode()).body)["events"]
    assert {event["callerIP"] for event in found} == {"127.0.0.1"}


def _words_at_start(host: str) -> str:
    command = [
        sys.executable,
        "-m",
        "emulator",
        "dev",
        "--memory",
        "--port",
        "0",
        "--host",
        host,
        "--stop-with-stdin",
    ]
    ran = subprocess.run(command, input="", capture_output=True, text=True, timeout=HANG_SECONDS, check=True)
    return ran.stderr


def test_a_server_that_others_reach_says_so() -> None:
    assert "warning: listening on 0.0.0.0, so other machines can reach this server" in _words_at_start(
        "0.0.0.0"
    )
    assert "warning" not in _words_at_start("127.0.0.1")


FRAGMENTS = {
    "a fragment": ("/a#frag", "", b"/a"),
    "a query": ("/a#frag", "?x=1", b"/a?x=1"),
    "a query of its own before it": ("/a?b=2#frag", "?x=1", b"/a?b=2&x=1"),
    "a fragment that looks like a query": ("/a#f?g=3", "?x=1", b"/a?x=1"),
}


@pytest.mark.parametrize("name", FRAGMENTS)
def test_a_groups_endpoint_with_a_fragment_gets_the_query_of_the_publish(
    server: ServerProcess, name: str
) -> None:
    endpoint, query, target = FRAGMENTS[name]
    tenant = server.new_tenant()
    head = b"Host: x\r\nAuthorization: Bearer %s\r\n" % tenant["QSTASH_TOKEN"].encode()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(HANG_SECONDS)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}{endpoint}"
        made = json.dumps({"endpoints": [{"url": url}]}).encode()
        length = b"Content-Length: %d\r\n\r\n" % len(made)
        assert (
            exchange(server.url, b"POST /v2/topics/g/endpoints HTTP/1.1\r\n" + head + length + made).status
            == 200
        )
        line = f"POST /v2/publish/g{query} HTTP/1.1\r\n".encode()
        answer = exchange(server.url, line + head + b"Content-Length: 0\r\n\r\n")
        assert answer.status == 201
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as stream:
            connection.settimeout(HANG_SECONDS)
            assert stream.readline().split()[1] == target
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
