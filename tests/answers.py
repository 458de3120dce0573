"""Holds every answer of the API that a test sees to the type that its route declares."""

from typing import Any

from pydantic import TypeAdapter
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulator.http.app import vendor_routes
from emulator.http.models.common import Error
from emulator.http.routing import TargetRoute
from emulator.testing import Harness

_ROUTES = [one for one in vendor_routes() if isinstance(one, TargetRoute)]
_ADAPTERS: dict[str, TypeAdapter[Any]] = {}


class CheckedAnswers:
    """Passes requests on, and fails where an answer under ``/v2`` is not what the contract says it is.

    ``wrong`` keeps those answers, for requests that came over a socket: the sender hears nothing of a failure there.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.wrong: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].lstrip("/").lower().startswith("v2/"):
            await self._app(scope, receive, send)
            return
        started: Message = {}
        body = bytearray()

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.update(message)
            else:
                body.extend(message.get("body", b""))
            await send(message)

        await self._app(scope, receive, keep)
        try:
            check_answer(scope["method"], scope["raw_path"], started["status"], bytes(body))
        except Exception as error:
            self.wrong.append(f"{scope['method']} {scope['path']}: {error}")
            raise


def check_answer(method: str, raw_path: bytes, status: int, body: bytes) -> None:
    """Raise ValidationError or AssertionError where the answer is not of its declared type."""
    if method in ("OPTIONS", "HEAD"):
        return
    if status >= 400:
        _adapter(Error).validate_json(body)
        return
    scope = {"type": "http", "method": method, "path": "/" + raw_path.decode("latin-1").lstrip("/")}
    route = next(one for one in _ROUTES if one.matches(scope)[0] is Match.FULL)
    assert route.operation is not None, f"{method} {route.path} declares no operation"
    assert status in route.operation.answers, f"{method} {route.path} declares no answer of status {status}"
    value = _adapter(route.operation.answers[status]).validate_json(body)
    _check_bodies(value)


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if str(kind) not in _ADAPTERS:
        _ADAPTERS[str(kind)] = TypeAdapter(kind)
    return _ADAPTERS[str(kind)]


def _check_bodies(value: Any) -> None:
    """A body is text or base64, never both (contract 1.11)."""
    if isinstance(value, list):
        for one in value:
            _check_bodies(one)
    elif isinstance(value, dict):
        for name in ("body", "responseBody"):
            assert not {name, f"{name}Base64"} <= value.keys()
        _check_bodies(list(value.values()))


def checked(harness: Harness) -> Harness:
    """``harness`` itself, whose answers are held to their types from here on."""
    harness.app = CheckedAnswers(harness.app)
    return harness


def wrong_answers(harness: Harness) -> list[str]:
    """Return the wrong answers that a ``checked`` harness gave, whoever received them."""
    assert isinstance(harness.app, CheckedAnswers)
    return harness.app.wrong
