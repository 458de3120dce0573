"""One call of an ASGI app, without a socket and without the header lines that a client adds."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.types import ASGIApp, Message, Scope

RawHeaders = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class AppResponse:
    """An app's response; ``error`` is the exception that the app raised, if any."""

    status: int
    headers: RawHeaders
    body: bytes
    error: Exception | None = None


def http_scope(method: str, url: httpx.URL, headers: Iterable[tuple[bytes, bytes]]) -> Scope:
    """Return the connection scope of one request; the path also raw, as destinations need it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "headers": [(name.lower(), value) for name, value in headers],
        "scheme": url.scheme,
        "path": url.path,
        "raw_path": url.raw_path.split(b"?")[0],
        "query_string": url.query,
        "server": (url.host, url.port or (443 if url.scheme == "https" else 80)),
        "client": ("127.0.0.1", 123),
        "root_path": "",
    }


class NeverAnswered(Exception):
    """The app waits for the client to disconnect, and does not answer."""


async def call_asgi(app: ASGIApp, scope: Scope, body: bytes, *, is_patient: bool = True) -> AppResponse:
    """Return the whole response; 500 if the app raised before it began one.

    A client that is not patient disconnects as soon as the app waits for that; ``error`` is ``NeverAnswered`` then.
    """
    answer = AppResponse(500, [], b"")
    has_begun = False
    parts: list[bytes] = []
    ended = asyncio.Event()
    is_read = False

    async def receive() -> Message:
        nonlocal is_read
        if not is_read:
            is_read = True
            return {"type": "http.request", "body": body, "more_body": False}
        if is_patient or has_begun:
            await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal has_begun
        if message["type"] == "http.response.start":
            has_begun = True
            answer.status, answer.headers = message["status"], list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            parts.append(bytes(message.get("body", b"")))
            if not message.get("more_body", False):
                ended.set()

    try:
        await app(scope, receive, send)
    except Exception as error:  # noqa: BLE001  an app's failure is an answer, as behind a server
        answer.error = error
    if not has_begun and answer.error is None:
        answer.error = NeverAnswered()
    answer.body = b"" if scope["method"] == "HEAD" else b"".join(parts)
    return answer
