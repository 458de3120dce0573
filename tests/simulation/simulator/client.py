"""A client of the simulated emulator: calls the API in the process, and records the calls."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.types import ASGIApp, Message

from emulator.testing.recorder import Call
from tests.simulation.simulator.events import EventLog
from tests.simulation.simulator.history import Answer, History
from tests.simulation.simulator.timeline import Timeline


class Client:
    """Speaks HTTP to one life of the emulator with the default user's token."""

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
    ) -> Answer:
        """Make a call and return its answer. Never raise: a call that a crash cuts off has no status.

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
        answer = Answer(status=status, content=exchange.decoded(), sent_at=sent_at, done_at=self.now_at())
        self._note(f"{method} {target}", answer, about, is_quiet=is_quiet)
        path, _, query = target.partition("?")
        self.history.recorder.note_call(
            Call(
                method=method,
                target=path,
                query=query,
                lines=list((headers or {}).items()),
                body=content,
                status=status,
                answer=exchange.content,
                sent_at=sent_at,
                done_at=answer.done_at,
            )
        )
        return answer

    def _note(self, call: str, answer: Answer, about: str, *, is_quiet: bool) -> None:
        if answer.status is not None and answer.status >= 500 and answer.status != 503:
            self.history.faults.append(f"{call} was answered {answer.status}: {answer.content}")
        if not is_quiet:
            text = "cut off" if answer.status is None else f"{answer.status} {_brief(answer.content)}"
            self._events.note(f"call      {call}: {text}", *([about] if about else []))

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

    def decoded(self) -> Any:
        return json.loads(self.content) if self.content else None


def _brief(content: Any) -> str:
    text = json.dumps(content, separators=(",", ":"))
    return text if len(text) <= 200 else f"{text[:200]}…"
