"""The fast path of a publish with the same header lines as an earlier one.

Most publishes differ only in their bodies: a POST to a URL, from a program that sends the same lines each time. The
results of those lines (the allowed host, the token's tenant, the options) were computed for the first publish by the
layers behind this one; only destination and body are new. So such a request skips the layers. All others take them:
other methods and paths, a query, a URL group, a browser's page, faults. The rules are those of ``routing``,
``request_parsing`` and ``v2.publishing``.
"""

from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import NamedTuple

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from emulator.broker.message import Draft
from emulator.errors import EmulatorError
from emulator.faults import FaultSet
from emulator.http.errors import internal_error
from emulator.http.option_cache import Known, OptionCache
from emulator.http.request_parsing import receive_body
from emulator.http.routing import encoded, one_form, refusal
from emulator.http.v2 import publishing
from emulator.runtime.admission import Intake
from emulator.wire.destination import Destination

# Longer targets are not cached, to bound the memory.
_MOST_TARGET_BYTES = 2_048


class DirectPublish:
    """Answers publishes whose header lines are known, and passes all other requests to ``app``."""

    def __init__(
        self, app: ASGIApp, *, known: OptionCache, intake: Intake, disturbed: AbstractSet[FaultSet]
    ) -> None:
        """``known`` holds earlier header lines; ``disturbed`` the fault sets with a fault of the publish API."""
        self._app = app
        self._known = known
        self._intake = intake
        self._disturbed = disturbed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        usual = self._read(scope)
        if usual is None:
            await self._app(scope, receive, send)
            return
        try:
            status, body = await self._publish(usual, scope, receive)
        except (EmulatorError, ClientDisconnect) as error:
            await refusal(error)(scope, receive, send)
            return
        except Exception as error:  # noqa: BLE001  the outermost handler: an internal error, answered and logged
            await (await internal_error(Request(scope), error))(scope, receive, send)
            return
        lines = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": lines})
        await send({"type": "http.response.body", "body": body})

    def _read(self, scope: Scope) -> "_Usual | None":
        """Return the request's parts if it qualifies for the fast path, else ``None``."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["query_string"] or self._disturbed:
            return None
        if scope.get("root_path"):
            return None
        raw_path = scope.get("raw_path") or b""
        target = _target(raw_path) if len(raw_path) <= _MOST_TARGET_BYTES else None
        if target is None:
            return None
        lines = scope["headers"]
        lengths = [value for name, value in lines if name == b"content-length"]
        if len(lengths) != 1 or not (lengths[0].isdigit() and len(lengths[0]) <= 12):
            return None
        known = self._known.find(lines)
        return None if known is None else _Usual(known, *target, int(lengths[0]))

    async def _publish(self, usual: "_Usual", scope: Scope, receive: Receive) -> tuple[int, bytes]:
        (runtime, options), destination, queue_name, length = usual
        taken = await self._intake.take(length)
        try:
            body = await receive_body(receive, announced=length, limit=runtime.limits.max_body_bytes)
            client = scope.get("client")
            ip = one_form(client[0]) if client else None
            draft = Draft(destination=destination, options=options, body=body, caller_ip=ip)
            view, status = await publishing.accept(runtime, publishing.into_queue(draft, queue_name))
            return status, encoded(view)
        finally:
            self._intake.give_back(taken)


class _Usual(NamedTuple):
    known: Known
    destination: Destination
    queue_name: str | None
    length: int


@lru_cache(maxsize=1024)
def _target(raw_path: bytes) -> tuple[Destination, str | None] | None:
    return publishing.usual_target(raw_path.decode("latin-1"))
