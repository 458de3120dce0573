"""Faults of the publish API, as ASGI middleware, so that they strike clients in any language."""

import json
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from urllib.parse import unquote

from starlette.datastructures import Headers as RequestHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulator.clock import wall_now_at
from emulator.faults.fault import Fault, Kind
from emulator.faults.fault_set import FaultSet
from emulator.faults.matching import Facts

FindFaults = Callable[[Scope], FaultSet | None]

_FORWARDED = "upstash-forward-"


class PublishFaults:
    """Strikes publish, enqueue and batch; costs nothing while no tenant has such a fault."""

    def __init__(self, app: ASGIApp, *, disturbed: AbstractSet[FaultSet], find: FindFaults) -> None:
        """``disturbed`` holds the fault sets with such faults; ``find`` returns the set of a request's token, or
        ``None``.
        """
        self._app = app
        self._disturbed = disturbed
        self._find = find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        faults = self._find(scope) if self._disturbed and _is_publish(scope) else None
        if faults is None or faults not in self._disturbed:
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            return
        fault = faults.for_publish(_facts(scope, body))
        if fault is None:
            await self._app(scope, _replay(body, receive), send)
            return
        if fault.accepted:
            await self._app(scope, _replay(body, receive), _discard)
        if fault.kind is Kind.PUBLISH_ANSWER:
            await _answer(fault, send)
        else:
            await _until_gone(receive)


def _is_publish(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "POST":
        return False
    path: str = scope["path"].lstrip("/").lower()
    return path.startswith(("v2/publish/", "v2/enqueue/")) or path.rstrip("/") == "v2/batch"


def _facts(scope: Scope, body: bytes) -> Facts:
    """Return the facts of the call; the headers are those that would be forwarded."""
    raw = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").lstrip("/")
    _, what, *rest = raw.split("/", 2)
    queue, url = None, rest[0] if rest else ""
    if what.lower() == "enqueue":
        queue, _, url = url.partition("/")
    headers = RequestHeaders(scope=scope)
    return Facts(
        url=url,
        queue=unquote(queue) if queue else headers.get("upstash-queue-name"),
        labels=tuple(label.strip() for label in headers.get("upstash-label", "").split(",") if label.strip()),
        headers=tuple(
            (name.removeprefix(_FORWARDED), value)
            for name, value in headers.items()
            if name.startswith(_FORWARDED) or name == "content-type"
        ),
        body=body,
    )


async def _read(receive: Receive) -> bytes | None:
    """Return the whole body, or ``None`` if the client disconnected before its end."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    is_sent = False

    async def replaying() -> Message:
        nonlocal is_sent
        if is_sent:
            return await receive()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replaying


async def _discard(message: Message) -> None:
    """Drop the response."""


async def _answer(fault: Fault, send: Send) -> None:
    status = fault.status or 429
    headers = {"content-type": "application/json", **_rate_limit(status), **fault.response_headers}
    body = fault.response_body or json.dumps({"error": f"rate limit exceeded (fault {fault.id})"})
    if status != 429 and not fault.response_body:
        body = json.dumps({"error": f"internal error (fault {fault.id})"})
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": body.encode()})


def _rate_limit(status: int) -> dict[str, str]:
    """Return the headers of a burst limit, by which SDKs tell its kind (contract 1.9)."""
    if status != 429:
        return {}
    return {
        "burst-ratelimit-limit": "100",
        "burst-ratelimit-remaining": "0",
        "burst-ratelimit-reset": str(wall_now_at() // 1000 + 1),
    }


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
