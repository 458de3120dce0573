"""The worker as a view, under WSGI and ASGI: it runs on the project's own event loop, and the view waits for it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, MutableMapping
from typing import Any, TypeVar

from django.core.handlers.asgi import ASGIRequest
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.http.request import UnreadablePostError
from django.views.decorators.csrf import csrf_exempt
from starlette.applications import Starlette

from jobs_core.blocking.loop_thread import BackgroundLoop
from jobs_core.django import project

log: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")
View = TypeVar("View", bound=Callable[..., Any])
Event = MutableMapping[str, Any]

_PIECES_AHEAD = 4


def _outside_transactions(view: View) -> View:
    """Return the view outside of any transaction, even with ATOMIC_REQUESTS: an async view cannot have one."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


@csrf_exempt
@_outside_transactions
async def worker(request: HttpRequest, endpoint: str) -> HttpResponseBase:
    """Pass the request to the worker, and return its response."""
    current = project.current()
    try:
        # Not request.body, which has a limit of its own. One byte more than is accepted says that it is too large.
        body = request.read(current.settings.max_body_bytes + 1)
    except UnreadablePostError as error:
        return HttpResponse(f"the body could not be read: {error}", status=400, content_type="text/plain")
    reply = _Reply(current.worker, _scope(request, f"/{endpoint}"), body, current.jobs.background)
    start, first = await reply.begin()
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]}
    if not first.get("more_body", False):
        return HttpResponse(first.get("body", b""), status=start["status"], headers=headers)
    rest = reply.pieces(first) if isinstance(request, ASGIRequest) else reply.blocking_pieces(first)
    return StreamingHttpResponse(rest, status=start["status"], headers=headers)


def _scope(request: HttpRequest, endpoint: str) -> dict[str, Any]:
    path = request.path
    client = request.META.get("REMOTE_ADDR")
    headers = [(name.lower(), value) for name, value in request.headers.items() if value != ""]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.scheme,
        "path": path,
        "raw_path": path.encode(),
        "root_path": path.removesuffix(endpoint),
        "query_string": request.META.get("QUERY_STRING", "").encode("latin-1"),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "client": (client, 0) if client else None,
        "server": (request.META.get("SERVER_NAME", ""), int(request.META.get("SERVER_PORT") or 0)),
    }


class _Reply:
    """The response of an ASGI app to one request, read piece by piece from another thread."""

    def __init__(
        self, app: Starlette, scope: dict[str, Any], body: bytes, background: BackgroundLoop
    ) -> None:
        self._app = app
        self._scope = scope
        self._body: bytes | None = body
        self._background = background
        self._events: asyncio.Queue[Event | None] = asyncio.Queue(_PIECES_AHEAD)
        self._task: asyncio.Task[None] | None = None
        self._error: BaseException | None = None

    async def begin(self) -> tuple[Event, Event]:
        """Return the start of the response and its first piece. Raise what the app raised instead."""
        return await self._over_there(self._begin())

    async def pieces(self, first: Event) -> AsyncIterator[bytes]:
        """Yield the body, from its first piece on, for a server that awaits."""
        event: Event | None = first
        try:
            while event is not None:
                yield event.get("body", b"")
                event = await self._over_there(self._next()) if event.get("more_body") else None
        finally:
            self._background.loop.call_soon_threadsafe(self._stop)

    def blocking_pieces(self, first: Event) -> Iterator[bytes]:
        """Yield the body, for a server that blocks."""
        event: Event | None = first
        try:
            while event is not None:
                yield event.get("body", b"")
                event = self._background.run(self._next()) if event.get("more_body") else None
        finally:
            self._background.loop.call_soon_threadsafe(self._stop)

    async def _over_there(self, call: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self._background.loop))

    async def _begin(self) -> tuple[Event, Event]:
        self._task = asyncio.create_task(self._run())
        start = await self._next()
        first = await self._next() if start is not None else None
        if start is None or first is None:
            raise self._error or RuntimeError("the worker answered nothing")
        return start, first

    async def _next(self) -> Event | None:
        return await self._events.get()

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._receive, self._events.put)
        except Exception as error:
            log.exception("the worker failed", extra={"event": "worker_failed"})
            self._error = error
        await self._events.put(None)

    async def _receive(self) -> Event:
        body, self._body = self._body, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]  # nobody hangs up here

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
