"""A client that offers HTTP/2 or a WebSocket beside its request keeps its body (RFC 9110, 7.8)."""

import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from emulator.testing import Listener
from jobs_core import Settings, create_app
from jobs_core.database import migrations
from tests.bounds import HANG_SECONDS
from tests.wire.raw import H2C_OFFER, RawAnswer, chunked, exchange

_ROOT = Path(__file__).parent.parent.parent
_SECRET = "It's a Secret to Everybody"
_BODY = b'{"zen": "Keep it logically awesome."}'

OFFERS = {
    "h2c": H2C_OFFER,
    "h2c without settings": b"Connection: upgrade\r\nUpgrade: h2c\r\n",
    "a websocket": b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
    "two lines and two protocols": b"Connection: keep-alive\r\nConnection: UPGRADE\r\nUpgrade: h2c, TLS/1.2\r\n",
}
FRAMINGS: dict[str, Callable[[bytes], bytes]] = {
    "a length": lambda body: b"Content-Length: %d\r\n\r\n%s" % (len(body), body),
    "chunks": lambda body: b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body),
}


@pytest.fixture(params=OFFERS)
def offer(request: pytest.FixtureRequest) -> bytes:
    return OFFERS[request.param]


@pytest.fixture(params=FRAMINGS)
def framed(request: pytest.FixtureRequest) -> Callable[[bytes], bytes]:
    return FRAMINGS[request.param]


def send(tenant: dict[str, str], head: bytes, rest: bytes) -> RawAnswer:
    token = tenant["QSTASH_TOKEN"].encode()
    return exchange(
        tenant["QSTASH_URL"], b"%s\r\nHost: x\r\nAuthorization: Bearer %s\r\n" % (head, token) + rest
    )


def test_a_published_body_is_delivered(tenant, inbox, offer, framed) -> None:
    target = f"{inbox.url}/hook".encode()
    answer = send(tenant, b"POST /v2/publish/%s HTTP/1.1" % target, offer + framed(_BODY))
    assert answer.status in (200, 201)
    [delivery] = inbox.wait_for(1)
    assert delivery.body == _BODY


def test_a_batch_is_read(tenant, inbox, offer, framed) -> None:
    items = [{"destination": f"{inbox.url}/{index}", "body": "x" * index} for index in range(3)]
    answer = send(tenant, b"POST /v2/batch HTTP/1.1", offer + framed(json.dumps(items).encode()))
    assert answer.status in (200, 201)
    assert {delivery.body for delivery in inbox.wait_for(3)} == {b"", b"x", b"xx"}


def test_a_bulk_cancel_takes_only_the_ids_it_names(tenant, offer, framed) -> None:
    for _ in range(2):
        send(
            tenant,
            b"POST /v2/publish/https://example.com HTTP/1.1",
            b"Upstash-Delay: 1h\r\nContent-Length: 0\r\n\r\n",
        )
    body = b'{"messageIds": ["msg_none"]}'
    answer = send(tenant, b"DELETE /v2/messages HTTP/1.1", offer + framed(body))
    assert json.loads(answer.body) == {"cancelled": 0}


@pytest.mark.parametrize("cut", range(0, 400, 40))
def test_it_does_not_matter_where_the_bytes_are_cut(tenant, inbox, cut: int) -> None:
    request = (
        b"POST /v2/publish/%s/hook HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
        % (inbox.url.encode(), tenant["QSTASH_TOKEN"].encode())
        + H2C_OFFER
        + b"Content-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
    )
    # The first part alone is no request: the server waits for the second.
    assert exchange(tenant["QSTASH_URL"], request[:cut], request[cut:]).status == 201
    assert inbox.wait_for(1)[0].body == _BODY


def test_the_next_request_of_the_connection_is_read_as_well(tenant) -> None:
    token = tenant["QSTASH_TOKEN"].encode()
    first = (
        b"POST /v2/publish/https://example.com HTTP/1.1\r\nHost: x\r\n"
        b"Upstash-Delay: 1h\r\nAuthorization: Bearer %s\r\n"
    )
    second = b"GET /v2/keys HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n"
    with socket.create_connection(
        ("127.0.0.1", int(tenant["QSTASH_URL"].rpartition(":")[2])), timeout=HANG_SECONDS
    ) as connection:
        connection.sendall(first % token + H2C_OFFER + b"Content-Length: 3\r\n\r\nabc" + second % token)
        answers = b""
        while part := connection.recv(65_536):
            answers += part
    assert answers.count(b"HTTP/1.1 20") == 2
    assert answers.index(b"messageId") < answers.index(b'"current"')


def test_the_tests_own_receiver_reads_it(inbox, offer, framed) -> None:
    exchange(inbox.url, b"POST /hook HTTP/1.1\r\nHost: x\r\n" + offer + framed(_BODY))
    assert inbox.wait_for(1)[0].body == _BODY


# The job system's worker


def webhook(url: str, body: bytes, rest: bytes) -> RawAnswer:
    digest = hmac.new(_SECRET.encode(), body, hashlib.sha256).hexdigest()
    head = (
        "POST /api/webhooks/github HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"X-GitHub-Event: ping\r\nX-GitHub-Delivery: {os.urandom(8).hex()}\r\nX-Hub-Signature-256: sha256={digest}\r\n"
    )
    return exchange(url, head.encode() + rest)


@pytest.fixture(scope="module")
def worker_settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    url = f"sqlite:///{tmp_path_factory.mktemp('worker') / 'jobs.db'}"
    migrations.upgrade(url, "head")
    return {"DATABASE_URL": url, "GITHUB_WEBHOOK_SECRET": _SECRET, "QSTASH_URL": "http://127.0.0.1:9"}


@pytest.fixture(scope="module")
def worker_url(worker_settings: dict[str, str]) -> Iterator[str]:
    """``jobs-core serve`` in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).parent / "jobs-core"), "serve", "--port", str(port)]
    with subprocess.Popen(
        command, env=os.environ | worker_settings, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        while "running on" not in (line := process.stderr.readline()):
            assert line, "the worker did not start"
        yield f"http://127.0.0.1:{port}"
        process.terminate()
        process.stderr.read()


def test_the_worker_takes_a_genuine_webhook(worker_url: str, offer, framed) -> None:
    # GitHub signs no id, so a body is taken once.
    body = json.dumps({"zen": os.urandom(8).hex()}).encode()
    answer = webhook(worker_url, body, offer + framed(body))
    assert (answer.status, json.loads(answer.body)["status"]) == (202, "accepted")


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_worker_under_another_server_says_that_the_body_was_lost(
    worker_settings: dict[str, str], monkeypatch: pytest.MonkeyPatch, framing: str
) -> None:
    for name, value in worker_settings.items():
        monkeypatch.setenv(name, value)
    listener = Listener(create_app(Settings.load()))
    config = listener._server.config
    listener._server = uvicorn.Server(
        uvicorn.Config(config.app, http=HttpToolsProtocol, lifespan="off", log_level="error")
    )
    with listener:
        answer = webhook(listener.url, _BODY, H2C_OFFER + FRAMINGS[framing](_BODY))
        assert answer.status == 400
        assert "uvicorn's httptools protocol drops the body" in json.loads(answer.body)["error"]


def test_the_two_packages_read_alike() -> None:
    """They meet only over HTTP, so each has its own copy."""
    copies = {
        (_ROOT / name / "http" / "server_protocol.py").read_text() for name in ("emulator", "jobs_core")
    }
    assert len(copies) == 1
