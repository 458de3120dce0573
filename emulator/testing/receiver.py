"""A destination for tests: answers as configured, and records its requests."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send


@dataclass
class Delivery:
    """One request as the destination received it; ``at`` is the emulator's time, in unix milliseconds."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    at: int

    @property
    def retried(self) -> int:
        """Return how many retries came before: 0 for the first attempt."""
        return int(self.headers["upstash-retried"])

    @property
    def claims(self) -> dict[str, Any]:
        """Return the signature's claims, not verified."""
        payload = self.headers["upstash-signature"].split(".")[1]
        decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return decoded


def _first_of_each(lines: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in lines:
        found.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return found


Answer = int | tuple[int, dict[str, str]] | tuple[int, dict[str, str], bytes]


@dataclass
class Receiver:
    """An ASGI app that answers from ``answers`` (then 200), and records every request."""

    now: Callable[[], int]
    answers: list[Answer] = field(default_factory=list)
    always: Answer = 200
    got: list[Delivery] = field(default_factory=list)
    gate: asyncio.Event | None = None
    in_flight: int = 0
    most_in_flight: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.got.append(
            Delivery(
                method=request.method,
                url=f"{scope['scheme']}://{request.headers['host']}{scope['raw_path'].decode()}"
                + (f"?{scope['query_string'].decode()}" if scope["query_string"] else ""),
                headers=_first_of_each(scope["headers"]),
                body=await request.body(),
                at=self.now(),
            )
        )
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        if self.gate is not None:
            await self.gate.wait()
        self.in_flight -= 1
        await self._answer()(scope, receive, send)

    def _answer(self) -> Response:
        answer = self.answers.pop(0) if self.answers else self.always
        status, headers, body = (
            (answer, {}, b"") if isinstance(answer, int) else (answer if len(answer) == 3 else (*answer, b""))
        )
        return Response(body, status_code=status, headers=headers)
