"""Interception of clients in the code under test: they find the running test's emulator with no change in the app.

Environment variables name it, under an address that stays the same for the whole process. Clients built on httpx
(the official SDK's both, ``jobs_core``'s) are answered in-process, without a socket. For every other client a
listener waits on that address; it starts to serve when the first connection comes.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
from starlette.types import Receive, Scope, Send

from emulator.testing import address
from emulator.testing.address import ELSEWHERE
from emulator.testing.asgi import AppResponse, NeverAnswered, http_scope
from emulator.testing.event_loops import LoopUnavailable, background_loop

if TYPE_CHECKING:
    from emulator.testing.harness import Harness

# A client that was made without QSTASH_URL talks to the real service: in a test that would leave the machine.
REAL_SERVICE_HOSTS = frozenset(
    {"qstash.upstash.io", "qstash-eu-central-1.upstash.io", "qstash-us-east-1.upstash.io"}
)
_LONGEST_ANSWER_SECONDS = 10.0

_reachable: "list[Harness]" = []


@contextlib.contextmanager
def reachable(harness: "Harness") -> Iterator[None]:
    """Have every client in this process reach ``harness``, and set the variables of the environment."""
    variables = {**harness.environment, **ELSEWHERE}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    _reachable.append(harness)
    try:
        with _answering_httpx():
            yield
    finally:
        _reachable.remove(harness)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _answering_httpx() -> Iterator[None]:
    send, send_async = httpx.HTTPTransport.handle_request, httpx.AsyncHTTPTransport.handle_async_request

    def handle_request(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        harness = _addressed(request)
        if harness is None:
            return send(self, request)
        request.read()
        return httpx_response(request, harness.answer_blocking(_scope_of(request), request.content))

    async def handle_async_request(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        harness = _addressed(request)
        if harness is None:
            return await send_async(self, request)
        return await answer_httpx(harness, request)

    httpx.HTTPTransport.handle_request = handle_request  # type: ignore[method-assign]
    httpx.AsyncHTTPTransport.handle_async_request = handle_async_request  # type: ignore[method-assign]
    try:
        yield
    finally:
        httpx.HTTPTransport.handle_request = send  # type: ignore[method-assign]
        httpx.AsyncHTTPTransport.handle_async_request = send_async  # type: ignore[method-assign]


class InProcessTransport(httpx.AsyncBaseTransport):
    """Carries the requests of an httpx client to ``harness``, without a socket."""

    def __init__(self, harness: "Harness") -> None:
        self._harness = harness

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response of the harness's emulator."""
        return await answer_httpx(self._harness, request)


async def answer_httpx(harness: "Harness", request: httpx.Request) -> httpx.Response:
    """Return the response of ``harness`` to an httpx client in any event loop."""
    await request.aread()
    return httpx_response(request, await harness.answer(_scope_of(request), request.content))


def httpx_response(request: httpx.Request, answer: AppResponse) -> httpx.Response:
    """Return an app's response as httpx's. Raise what the app raised; httpx's timeout if it never answers."""
    if isinstance(answer.error, NeverAnswered):
        raise httpx.ReadTimeout("the publish API did not answer (a fault says so)", request=request)
    if answer.error is not None:
        raise answer.error
    return httpx.Response(answer.status, headers=answer.headers, content=answer.body, request=request)


def _scope_of(request: httpx.Request) -> Scope:
    return http_scope(request.method, request.url, request.headers.raw)


def _addressed(request: httpx.Request) -> "Harness | None":
    """Return the running test's emulator, if the request is for it."""
    if not _reachable:
        return None
    url = request.url
    is_ours = url.host in REAL_SERVICE_HOSTS or (url.host, url.port) in (
        ("127.0.0.1", _port()),
        ("localhost", _port()),
    )
    return _reachable[-1] if is_ours else None


class _Loopback:
    """The process's listener: bound at once, so that the address is known; it serves from the first connection on."""

    def __init__(self) -> None:
        self._socket = address.reserve()
        self._socket.listen(128)
        self._socket.setblocking(False)
        self._server: Any = None
        self._serving: asyncio.Task[None] | None = None
        self._loop = background_loop()
        self._loop.call_soon_threadsafe(self._loop.add_reader, self._socket, self._serve)

    def _serve(self) -> None:
        import uvicorn

        from emulator.http.server_protocol import RequestProtocol

        class Server(uvicorn.Server):
            """Leaves the process's signals to pytest."""

            def capture_signals(self) -> Any:
                return contextlib.nullcontext()

        self._loop.remove_reader(self._socket)
        self._server = Server(
            uvicorn.Config(
                _pass_on,
                http=RequestProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
            )
        )
        self._serving = self._loop.create_task(self._server.serve(sockets=[self._socket]))

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(timeout=10)

    async def _close(self) -> None:
        if self._serving is None:
            self._loop.remove_reader(self._socket)
        else:
            self._server.should_exit = self._server.force_exit = True
            await self._serving


_loopback: _Loopback | None = None


def _port() -> int:
    global _loopback  # noqa: PLW0603  one for the process: its address must not change between tests
    if _loopback is None:
        _loopback = _Loopback()
    return address.port()


def loopback_url() -> str:
    """Return the address of the running test's emulator, the same in every test of this process."""
    return f"http://127.0.0.1:{_port()}"


def close_loopback() -> None:
    """Release the address."""
    global _loopback  # noqa: PLW0603  see above
    if _loopback is not None:
        _loopback.close()
        _loopback = None
        address.release()


async def _pass_on(scope: Scope, receive: Receive, send: Send) -> None:
    """Pass a request on to the running test's emulator, in whichever event loop that is."""
    body = await _read(receive)
    if not _reachable:
        await _send(send, _refusal("no test that uses the fixture qstash is running"))
        return
    try:
        async with asyncio.timeout(_LONGEST_ANSWER_SECONDS):
            answer = await _reachable[-1].answer(scope, body)
    except (TimeoutError, LoopUnavailable):
        answer = _refusal(
            "the event loop of the test is blocked, and the emulator lives in it: call blocking clients from a "
            "thread (asyncio.to_thread), use an async client, or let the app run as a process with qstash_server"
        )
    if isinstance(answer.error, NeverAnswered):
        # As the emulator itself does: until the client disconnects.
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    await _send(send, answer)


async def _read(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


async def _send(send: Send, answer: AppResponse) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body})


def _refusal(words: str) -> AppResponse:
    return AppResponse(503, [(b"content-type", b"application/json")], json.dumps({"error": words}).encode())
