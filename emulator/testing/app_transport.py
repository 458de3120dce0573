"""Deliveries to apps in the same process: no socket, no port, the app's real code.

An ASGI app is called in the emulator's loop, or in the one it was mounted from if that is another that runs. A
WSGI app blocks, so it is called where that does no harm: in the test's own thread while a plain test waits for
the emulator, on a worker thread in an async test.
"""

import asyncio
import inspect
import io
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import unquote, unquote_to_bytes, urlsplit

import httpx

from emulator.broker.message import AttemptResult
from emulator.delivery import connection_errors
from emulator.delivery.connection_errors import is_loopback
from emulator.delivery.request import OutboundRequest
from emulator.delivery.response_reader import ResponseReader
from emulator.delivery.sockets import SocketTransport, raw_request
from emulator.delivery.transport import Transport
from emulator.errors import InvalidInput
from emulator.testing.asgi import AppResponse, call_asgi, http_scope
from emulator.testing.event_loops import running_loop
from emulator.wire.destination import check_url, origin_of
from emulator.wire.headers import header_text
from emulator.wire.limits import LENIENT

log: logging.Logger = logging.getLogger(__name__)

Interface = Literal["asgi", "wsgi"]
Send = Callable[[OutboundRequest], Awaitable[AttemptResult]]
RunBlocking = Callable[[Callable[[], AppResponse]], Awaitable[AppResponse]]


class AppTransport:
    """Calls the app that is mounted at a request's origin; servers on this machine are reached over sockets.

    Everything else goes to ``fallback``, if there is one: by default nothing leaves the machine.
    """

    def __init__(
        self,
        fallback: Transport | None = None,
        *,
        run_blocking: RunBlocking | None = None,
        max_response_bytes: int = LENIENT.max_body_bytes,
    ) -> None:
        """``run_blocking`` runs a WSGI app's call; by default on a worker thread.

        Response bodies are cut off at ``max_response_bytes``, as over a socket.
        """
        self._max_response_bytes = max_response_bytes
        self._fallback = fallback
        self._run_blocking = run_blocking or asyncio.to_thread
        self._mounted: dict[str, Send] = {}
        self._opened: list[Transport] = []
        self._sockets: Transport | None = None

    def is_mounted(self, origin: str) -> bool:
        """Return whether an app is mounted at ``origin``."""
        return origin in self._mounted

    def mount(self, origin: str, app: object, interface: Interface | None = None) -> None:
        """Have ``app`` answer requests to ``origin``, such as ``https://example.com``.

        ``app`` is an ASGI app, a WSGI app, or the URL of a server to call instead; its parameters tell the
        first two apart unless ``interface`` does. Raise InvalidInput for an invalid origin, and for an app of
        another kind.
        """
        check_url(origin, what="origin to mount at")
        self._mounted[origin_of(origin)] = self._way_to(origin, app, interface)

    async def send(self, request: OutboundRequest) -> AttemptResult:
        way = self._mounted.get(origin_of(request.url))
        if way is not None:
            return await way(request)
        if self._fallback is not None:
            return await self._fallback.send(request)
        if is_loopback(urlsplit(request.url).hostname or ""):
            self._sockets = self._sockets or self._open_sockets()
            return await self._sockets.send(request)
        known = ", ".join(self._mounted) or "none"
        return AttemptResult(
            status=0, error=f"no app is mounted for {origin_of(request.url)} (mounted: {known})"
        )

    async def close(self) -> None:
        for transport in (*self._opened, *((self._fallback,) if self._fallback else ())):
            await transport.close()

    def _way_to(self, origin: str, app: object, interface: Interface | None) -> Send:
        if isinstance(app, str):
            check_url(app, what=f"URL to mount at {origin}")
            return self._open_sockets({origin: app}).send
        if (interface or _interface_of(app)) == "asgi":
            return _asgi_way(app, running_loop(), self._max_response_bytes)
        return self._wsgi_way(app)

    def _wsgi_way(self, app: Any) -> Send:
        async def send(request: OutboundRequest) -> AttemptResult:
            answer = await self._run_blocking(lambda: _call_wsgi(app, request))
            return _result(request, answer, self._max_response_bytes)

        return send

    def _open_sockets(self, connect_to: Mapping[str, str] | None = None) -> Transport:
        sockets = SocketTransport(max_response_bytes=self._max_response_bytes, connect_to=connect_to)
        self._opened.append(sockets)
        return sockets


def _interface_of(app: object) -> Interface:
    if not callable(app):
        raise InvalidInput(f"cannot mount {app!r}: expected an ASGI app, a WSGI app, or a URL")
    parameters = inspect.signature(app).parameters.values()
    required = [one for one in parameters if one.kind in _POSITIONAL and one.default is one.empty]
    if len(required) == 3 or inspect.iscoroutinefunction(app):
        return "asgi"
    if len(required) == 2:
        return "wsgi"
    raise InvalidInput(
        f"cannot tell whether {app!r} is an ASGI or a WSGI app: it takes {len(required)} arguments, not 3 or 2; "
        f"say interface='asgi' or interface='wsgi'"
    )


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _asgi_way(app: Any, loop: asyncio.AbstractEventLoop | None, most: int) -> Send:
    async def send(request: OutboundRequest) -> AttemptResult:
        call = _call_asgi(app, request, most)
        if loop is None or loop is asyncio.get_running_loop() or not loop.is_running():
            return await call
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, loop))

    return send


@lru_cache(maxsize=256)
def _root_of(origin: str) -> httpx.URL:
    """Return the URL of an origin's root: to read one takes a tenth of a delivery's time."""
    return httpx.URL(f"{origin}/")


async def _call_asgi(app: Any, request: OutboundRequest, most: int) -> AttemptResult:
    target, lines = raw_request(request)
    path, _, query = target.partition("?")
    scope = http_scope(request.method, _root_of(origin_of(request.url)), lines)
    scope["path"], scope["raw_path"] = unquote(path), path.encode("ascii")
    scope["query_string"] = query.encode("ascii")
    try:
        async with asyncio.timeout(request.timeout_ms / 1000):
            return _result(request, await call_asgi(app, scope, request.body), most)
    except TimeoutError:
        return AttemptResult(status=0, error=connection_errors.TIMED_OUT)


def _call_wsgi(app: Any, request: OutboundRequest) -> AppResponse:
    started: list[Any] = []
    written: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Any:
        started[:] = [status, headers]
        return written.append

    try:
        parts = app(_environ(request), start_response)
        try:
            written += parts
        finally:
            if hasattr(parts, "close"):
                parts.close()
        status, headers = started
        lines = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return AppResponse(int(status.split(" ")[0]), lines, b"".join(written))
    except Exception as error:  # noqa: BLE001  an app's failure is an answer, as behind a server
        return AppResponse(500, [], b"", error)


def _environ(request: OutboundRequest) -> dict[str, Any]:
    """Return a WSGI server's environment of a request (PEP 3333): bytes as Latin-1, the path decoded once."""
    target, lines = raw_request(request)
    path, _, query = target.partition("?")
    parts = urlsplit(origin_of(request.url))
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "REQUEST_URI": target,
        "SERVER_NAME": parts.hostname,
        "SERVER_PORT": str(parts.port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": parts.scheme,
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in lines:
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ


def _result(request: OutboundRequest, answer: AppResponse, most: int) -> AttemptResult:
    """Return the response, its body read as over a socket."""
    if answer.error is not None:
        log.error("the app at %s raised", origin_of(request.url), exc_info=answer.error)
    headers = tuple((header_text(name), header_text(value)) for name, value in answer.headers)
    encodings = [line for line in answer.headers if line[0].lower() == b"content-encoding"]
    if not encodings and len(answer.body) <= most:
        return AttemptResult(status=answer.status, headers=headers, body=answer.body)
    reader = ResponseReader(is_head_request=request.method == "HEAD", most_body_bytes=most)
    head = [b"HTTP/1.1 200 OK", *(b"%s: %s" % line for line in encodings)]
    reader.feed(b"\r\n".join(head) + b"\r\n\r\n" + answer.body)
    reader.end()
    return AttemptResult(
        status=answer.status,
        headers=headers,
        body=reader.body(),
        note=reader.problem,
    )
