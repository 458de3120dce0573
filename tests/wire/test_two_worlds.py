"""What a mounted app sees is what it sees behind a server, and what it answers is read as over a socket."""

import gzip
from typing import Any

import pytest

from emulator.broker.message import AttemptResult
from emulator.delivery.request import OutboundRequest
from emulator.testing import Listener
from emulator.testing.app_transport import AppTransport
from emulator.wire.headers import kept_text

REQUESTS = {
    "a path of other characters": ("http://h/gr%C3%BCn?%E2%9C%93=%20", ()),
    "a check mark": ("http://h/%E2%9C%93", ()),
    "dots": ("http://h/a/../b/./c//d", ()),
    "no path": ("http://h?a=1", ()),
    "a value in UTF-8": ("http://h/", (("X", "José ł"),)),
    "a value in Latin-1": ("http://h/", (("X", kept_text(b"Jos\xe9")),)),
    "a name twice": ("http://h/", (("X", "1"), ("X", "2"))),
    "a user": ("http://bob:p%40w@h/", ()),
}
ANSWERS = {
    "plain": ([(b"x", b"1")], b"hello"),
    "gzip": ([(b"content-encoding", b"gzip")], gzip.compress(b"hello")),
    "no gzip": ([(b"content-encoding", b"gzip")], b"hello"),
    "br": ([(b"content-encoding", b"br")], b"\x8b"),
}


class Seeing:
    """An app that keeps what it sees."""

    def __init__(self, headers: list[tuple[bytes, bytes]] | None = None, body: bytes = b"") -> None:
        self.seen: list[Any] = []
        self._headers = headers or []
        self._body = body

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        lines = sorted((name, value) for name, value in scope["headers"] if name != b"host")
        self.seen.append(
            (scope["path"], scope["raw_path"], scope["query_string"], lines, message.get("body", b""))
        )
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})

    def wsgi(self, environ: Any, start_response: Any) -> list[bytes]:
        self.seen.append((environ["PATH_INFO"], environ.get("HTTP_X"), environ["wsgi.input"].read()))
        start_response("200 OK", [(name.decode(), value.decode()) for name, value in self._headers])
        return [self._body]


async def both(app: Seeing, url: str, headers: Any = ()) -> tuple[AttemptResult, AttemptResult]:
    """The result behind a server, and in this process."""
    request = OutboundRequest(method="POST", url=url, headers=headers, body=b"{}", timeout_ms=60_000)
    results = []

    async def served(scope: Any, receive: Any, send: Any) -> None:
        await app.asgi(scope, receive, send)

    with Listener(served) as listener:
        for mounted in (listener.url, served):
            transport = AppTransport()
            transport.mount("http://h", mounted)
            results.append(await transport.send(request))
            await transport.close()
    return results[0], results[1]


@pytest.mark.parametrize("name", REQUESTS)
async def test_the_same_request_arrives(name: str) -> None:
    app = Seeing()
    await both(app, *REQUESTS[name])
    assert app.seen[0] == app.seen[1]


@pytest.mark.parametrize("name", ANSWERS)
async def test_the_same_answer_is_read(name: str) -> None:
    there, here = await both(Seeing(*ANSWERS[name]), "http://h/")
    assert (there.status, there.body, there.note) == (here.status, here.body, here.note)


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_wsgi_app_is_called_with_the_bytes_that_were_sent(name: str) -> None:
    url, headers = REQUESTS[name]
    app = Seeing()
    transport = AppTransport()
    transport.mount("http://h", app.wsgi)
    result = await transport.send(
        OutboundRequest(method="POST", url=url, headers=headers, body=b"{}", timeout_ms=60_000)
    )
    assert result.is_success
    [(path, _, body)] = app.seen
    assert body == b"{}"
    assert path.encode("latin-1").decode().startswith("/")
