"""A client of the simulated emulator: calls the API in the process, and records the calls."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.types import ASGIApp, Message

from emulator.testing.recorder import ClientCall
from tests.simulation.simulator.events import EventLog
from tests.simulation.simulator.history import History
from tests.simulation.simulator.timeline import Timeline


class Client:
    """Calls one process of the emulator with the default user's token."""

    def __init__(
        self, app: ASGIApp, token: str, *, timeline: Timeline, events: EventLog, history: History
    ) -> None:
        self._app = app
        self._token = token
        self._timeline = timeline
        self._events = events
        self.history = history

    def now_at(self) -> int:
        """Return the time of the emulator's clock, in unix milliseconds."""
        return self._timeline.now_at()

    async def call(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        value: Any = None,
        about: str = "",
        is_quiet: bool = False,
        is_anonymous: bool = False,
    ) -> ClientCall:
        """Make a call and return it with its answer. Never raise: a call that a crash cuts off has no status.

        ``value`` is sent as JSON. ``about`` is the label that the event log files the call under.
        ``is_anonymous`` sends no token.
        """
        if value is not None:
            content = json.dumps(value).encode()
        exchange = _Exchange(content)
        sent_at = self.now_at()
        status: int | None
        try:
            token = {} if is_anonymous else {"authorization": f"Bearer {self._token}"}
            scope = self._scope(method, target, {**token, **(headers or {})})
            await self._app(scope, exchange.receive, exchange.send)
            status = exchange.status
        except asyncio.CancelledError:
            # The emulator died during the call: only the call is recorded.
            status = None
        path, _, query = target.partition("?")
        call = ClientCall(
            method=method,
            target=path,
            query=query,
            lines=list((headers or {}).items()),
            body=content,
            status=status,
            answer=exchange.content,
            sent_at=sent_at,
            done_at=self.now_at(),
        )
        self._note(f"{method} {target}", call, about, is_quiet=is_quiet)
        self.history.recorder.note_call(call)
        return call

    def _note(self, asked: str, call: ClientCall, about: str, *, is_quiet: bool) -> None:
        is_broken = call.content is None and call.answer not in (b"", b"null") and call.status is not None
        if is_broken or (call.status is not None and call.status >= 500 and call.status != 503):
            self.history.faults.append(f"{asked} was answered {call.status}: {call.answer!r}")
        if not is_quiet:
            text = "cut off" if call.status is None else f"{call.status} {_brief(call.content)}"
            self._events.note(f"call      {asked}: {text}", *([about] if about else []))

    def _scope(self, method: str, target: str, headers: Mapping[str, str]) -> dict[str, Any]:
        path, _, query = target.partition("?")
        lines = {name.lower(): value for name, value in headers.items()}
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": quote(query, safe="=&?/:%+,-_.~").encode(),
            "headers": [(name.encode(), text.encode()) for name, text in lines.items()],
            "client": ("127.0.0.1", 50_000),
            "server": ("localhost", 8080),
            "root_path": "",
        }


class _Exchange:
    """The two halves of an ASGI call."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._parts: list[bytes] = []
        self.status: int | None = None

    async def receive(self) -> Message:
        return {"type": "http.request", "body": self._content, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self._parts.append(message.get("body", b""))

    @property
    def content(self) -> bytes:
        return b"".join(self._parts)


def _brief(content: Any) -> str:
    text = json.dumps(content, separators=(",", ":"))
    return text if len(text) <= 200 else f"{text[:200]}…"
