"""A mounted app gets the requests that it gets behind a server, and its answers are read as over a socket."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

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
    "a doubled slash at the front": ("http://h//a//b", ()),
    "blanks around a value": ("http://h/", (("X", " \ta  b \t"),)),
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


# Flask's server takes a slash from the front.
_OTHERWISE = ("a doubled slash at the front",)
WSGI_REQUESTS = {
    **{name: asked for name, asked in REQUESTS.items() if name not in _OTHERWISE},
    "any bytes": ("http://h/", (("X", kept_text(bytes(range(0x80, 0x100)))),)),
    "an empty value": ("http://h/", (("X", ""),)),
    "marks in a value": ("http://h/", (("X", 'a,b;c="d" (e) <f>'),)),
    "a long value": ("http://h/", (("X", "x" * 8_000),)),
    "a type": ("http://h/", (("Content-Type", "text/plain; charset=\u00fc"),)),
    "a name with digits and a dash": ("http://h/", (("X-9-a", "1"),)),
    "an empty query": ("http://h/a?", ()),
    "a plus and a percent sign": ("http://h/a+b%2Bc%25?d+e=%2B", ()),
}
WSGI_ANSWERS = {
    "UTF-8": "Jos\u00e9".encode().decode("latin-1"),
    "Latin-1": "Jos\u00e9",
    "any bytes": bytes(range(0xA0, 0x100)).decode("latin-1"),
    "a tab": "a\tb",
}


class SeeingWsgi:
    """A WSGI app that keeps what it sees of a request, and answers with one header line more."""

    def __init__(self, value: str = "") -> None:
        self.seen: list[dict[str, Any]] = []
        self._value = value

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        kept = (
            "REQUEST_METHOD",
            "SCRIPT_NAME",
            "PATH_INFO",
            "QUERY_STRING",
            "CONTENT_TYPE",
            "CONTENT_LENGTH",
        )
        lines = {name: value for name, value in environ.items() if name.startswith("HTTP_")}
        lines.pop("HTTP_HOST")
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        self.seen.append({**lines, **{name: environ.get(name) or "" for name in kept}, "body": body})
        start_response("200 OK", [("X-Answer", self._value)] if self._value else [])
        return [b"ok"]


@contextmanager
def _by_flasks_server(app: Any) -> Iterator[str]:
    """The URL of ``app`` behind the server that Flask brings."""
    server = make_server("127.0.0.1", 0, app, request_handler=_Silent)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Silent(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        """Nothing."""


async def both_wsgi(app: SeeingWsgi, url: str, headers: Any = ()) -> list[AttemptResult]:
    """The result behind a server, and in this process."""
    request = OutboundRequest(method="POST", url=url, headers=headers, body=b"{}", timeout_ms=60_000)
    results = []
    with _by_flasks_server(app) as served:
        for mounted in (served, app):
            transport = AppTransport()
            transport.mount("http://h", mounted)
            results.append(await transport.send(request))
            await transport.close()
    return results


@pytest.mark.parametrize("name", WSGI_REQUESTS)
async def test_a_wsgi_app_sees_the_same_bytes(name: str) -> None:
    app = SeeingWsgi()
    results = await both_wsgi(app, *WSGI_REQUESTS[name])
    assert [one.status for one in results] == [200, 200]
    assert app.seen[0] == app.seen[1]
    assert app.seen[0]["body"] == b"{}"


@pytest.mark.parametrize("name", WSGI_ANSWERS)
async def test_a_wsgi_apps_header_values_are_read_alike(name: str) -> None:
    results = await both_wsgi(SeeingWsgi(WSGI_ANSWERS[name]), "http://h/")
    there, here = ([value for key, value in one.headers if key.lower() == "x-answer"] for one in results)
    assert there == here != []
