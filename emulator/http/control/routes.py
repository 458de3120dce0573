"""The control API (docs/control-api.md)."""

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import cache, partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from emulator import __version__
from emulator.broker.key_operations import set_keys
from emulator.errors import Conflict, InvalidInput
from emulator.http.control.dead_letters import add_dead_letter
from emulator.http.control.faults import fault_routes
from emulator.http.control.guard import control_route, open_route
from emulator.http.control.metrics import metrics_routes
from emulator.http.control.snapshots import snapshot_routes
from emulator.http.request_parsing import check_object, parse_json, read_body
from emulator.http.routing import done, ok
from emulator.http.wire_objects import keys_view
from emulator.runtime import Runtime
from emulator.server import Emulator
from emulator.tenants import PUBLISHED_USERS
from emulator.wire.durations import parse_duration
from emulator.wire.json_text import as_json

_STARTED = time.monotonic()
_DEFAULT_LIMIT_MS = 30 * 86_400_000


@cache
def control_routes() -> Sequence[BaseRoute]:
    """Return the routes of the control API."""
    return [
        open_route("/emulator/health", "GET", health),
        control_route("/emulator/tenants", "POST", add_tenant),
        control_route("/emulator/clock", "GET", get_clock),
        control_route("/emulator/clock/advance", "POST", advance),
        control_route("/emulator/clock/run-until-idle", "POST", run_until_idle),
        control_route("/emulator/reset", "POST", reset),
        control_route("/emulator/dlq", "POST", add_dead_letter),
        control_route("/emulator/keys/reset", "POST", reset_keys),
        *fault_routes(),
        *snapshot_routes(),
        *metrics_routes(),
    ]


async def health(request: Request) -> Response:
    """Return the server's health, version, clock and store."""
    emulator: Emulator = request.app.state.emulator
    refusal = emulator.writer.refusal
    return ok(
        {
            "status": "ok" if refusal is None else "store refuses writes",
            "version": __version__,
            "uptimeSeconds": round(time.monotonic() - _STARTED, 3),
            "clock": emulator.settings.clock,
            "store": emulator.writer.store.description,
            **({} if refusal is None else {"error": refusal}),
        },
        status=200 if refusal is None else 503,
    )


async def add_tenant(request: Request, runtime: Runtime) -> Response:
    """Create a tenant with its own token, keys, clock and state."""
    fields = await _fields(request, "tenant", ("name",))
    name = fields.get("name")
    if not isinstance(name, str | None):
        raise InvalidInput(f"invalid name {as_json(name)}: expected text")
    emulator: Emulator = request.app.state.emulator
    made = (await emulator.add_tenant(name)).tenant
    return ok(
        {
            "name": made.name,
            "url": f"{request.url.scheme}://{request.headers['host']}",
            "token": made.token,
            "readOnlyToken": made.read_only_token,
            "currentSigningKey": made.keys.current,
            "nextSigningKey": made.keys.next,
        },
        status=201,
    )


async def get_clock(request: Request, runtime: Runtime) -> Response:
    """Return this tenant's time."""
    return ok({"mode": runtime.clock.mode, "now": runtime.clock.now_at(), "nextDue": runtime.next_due_at()})


async def advance(request: Request, runtime: Runtime) -> Response:
    """Advance the clock by a duration or to an instant. Answers when everything that fell due has happened."""
    fields = await _fields(request, "advance", ("by", "to"))
    target_at = _target(fields, runtime.clock.now_at())
    return await _turned(runtime, partial(runtime.advance_to, target_at))


async def run_until_idle(request: Request, runtime: Runtime) -> Response:
    """Advance the clock until no message is pending, by at most ``limit``."""
    fields = await _fields(request, "run-until-idle", ("limit",))
    limit_ms = _span(fields["limit"], "limit") if "limit" in fields else _DEFAULT_LIMIT_MS
    return await _turned(runtime, partial(runtime.run_until_idle, limit_ms))


async def reset(request: Request, runtime: Runtime) -> Response:
    """Delete this tenant's state and faults; its token, keys and clock stay."""
    await runtime.reset()
    return done()


async def reset_keys(request: Request, runtime: Runtime) -> Response:
    """Restore a published user's signing keys. Raises Conflict for any other tenant."""
    tenant = runtime.tenant
    user = next((user for user in PUBLISHED_USERS if user.token == tenant.token), None)
    if user is None:
        known = ", ".join(user.name for user in PUBLISHED_USERS)
        raise Conflict(
            f"tenant {tenant.name!r} has no published signing keys: only those of {known} can be brought back"
        )
    await runtime.change(lambda state, _now_at: set_keys(state, user.keys))
    return ok(keys_view(runtime.broker.state))


async def _turned(runtime: Runtime, turn: Callable[[], Awaitable[None]]) -> Response:
    attempts, fired = runtime.deliveries.made, runtime.schedules_fired
    await turn()
    return ok(
        {
            "now": runtime.clock.now_at(),
            "nextDue": runtime.next_due_at(),
            "delivered": runtime.deliveries.made - attempts,
            "fired": runtime.schedules_fired - fired,
        }
    )


async def _fields(request: Request, what: str, known: tuple[str, ...]) -> dict[str, Any]:
    """Return the JSON object of the request; an empty body counts as an empty object."""
    body = await read_body(request, limit=1_000_000, what=what)
    return check_object(parse_json(body, what=what), what=what, known=known) if body.strip() else {}


def _target(fields: dict[str, Any], now_at: int) -> int:
    by, to = fields.get("by"), fields.get("to")
    if (by is None) == (to is None):
        raise InvalidInput('expected either {"by": "24h"} or {"to": <unix milliseconds>}')
    if by is not None:
        return now_at + _span(by, "by")
    if not isinstance(to, int) or isinstance(to, bool):
        raise InvalidInput(f"invalid to {as_json(to)}: expected unix milliseconds")
    if to < now_at:
        raise InvalidInput(f"invalid to {to}: the clock stands at {now_at} and cannot be turned back")
    return to


def _span(value: Any, field: str) -> int:
    if not isinstance(value, str):
        raise InvalidInput(f"invalid {field} {as_json(value)}: expected a duration such as 24h")
    return parse_duration(value, field=field)
