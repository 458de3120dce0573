"""Export and import a tenant's whole state as JSON, for example to inspect a failing CI run on a laptop.

An export contains the published messages, with bodies and forwarded headers, but no token and no signing key.
"""

import base64
import binascii
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from emulator import __version__
from emulator.clock import wall_now_at
from emulator.errors import InvalidInput
from emulator.faults.fault import Fault
from emulator.http.control.guard import control_route
from emulator.http.request_parsing import check_object, parse_json, read_body
from emulator.http.routing import ok
from emulator.runtime import Runtime
from emulator.server import Emulator
from emulator.store.snapshots import check_rows, export_rows
from emulator.wire.json_text import as_json

FORMAT = "qstash-emulator/1"

_KEYS = ("format", "version", "exportedAt", "tenant", "clock", "faults", "tables")
_MOST_BYTES = 1_000_000_000


def snapshot_routes() -> list[BaseRoute]:
    """Return the routes of this module."""
    return [
        control_route("/emulator/export", "GET", export_state),
        control_route("/emulator/import", "POST", import_state),
    ]


async def export_state(request: Request, runtime: Runtime) -> Response:
    """Return this tenant's present durable state."""
    return ok(await exported(runtime))


async def import_state(request: Request, runtime: Runtime) -> Response:
    """Replace this tenant's state, and set a manual clock to the exported time."""
    body = await read_body(request, limit=_MOST_BYTES, what="export")
    emulator: Emulator = request.app.state.emulator
    await import_into(emulator, runtime, parse_json(body, what="export"))
    return ok({"now": runtime.clock.now_at(), "nextDue": runtime.next_due_at()})


async def exported(runtime: Runtime) -> dict[str, Any]:
    """Return the state of one tenant as JSON values."""
    rows = await runtime.read_after_writes(partial(export_rows, tenant_id=runtime.tenant.id))
    return {
        "format": FORMAT,
        "version": __version__,
        "exportedAt": wall_now_at(),
        "tenant": runtime.tenant.name,
        "clock": {"mode": runtime.clock.mode, "now": runtime.clock.now_at()},
        "faults": [
            fault.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"id"})
            for fault in runtime.faults
        ],
        "tables": {
            name: [{column: _out(value) for column, value in row.items()} for row in table]
            for name, table in rows.items()
        },
    }


async def import_into(emulator: Emulator, runtime: Runtime, state: Any) -> None:
    """Replace one tenant's state by an export. Raises InvalidInput or Conflict, and then changes nothing."""
    fields = check_object(state, what="export", known=_KEYS)
    if fields.get("format") != FORMAT:
        raise InvalidInput(f"invalid export: format {as_json(fields.get('format'))}; accepted: {FORMAT}")
    clock, tables, faults = fields.get("clock"), fields.get("tables"), fields.get("faults", [])
    if not isinstance(clock, dict) or type(clock.get("now")) is not int or clock["now"] < 0:
        raise InvalidInput(f"invalid export: clock {as_json(clock)} has no time")
    if not isinstance(tables, dict):
        raise InvalidInput("invalid export: it has no tables")
    if not isinstance(faults, list) or not all(isinstance(fault, dict) for fault in faults):
        raise InvalidInput(f"invalid export: faults {as_json(faults)} is not a list of objects")
    rows = check_rows({name: _in(table) for name, table in tables.items()})
    for fault in faults:
        Fault.parse(fault)
    await emulator.replace_state(runtime, rows, clock["now"])
    runtime.faults.clear()
    for fault in faults:
        runtime.faults.add_fault(fault)


def _out(value: Any) -> Any:
    """Return bytes as ``{"base64": "…"}``, and other values unchanged, as they are JSON values."""
    return {"base64": base64.b64encode(value).decode("ascii")} if isinstance(value, bytes) else value


def _in(table: Any) -> Any:
    if not isinstance(table, list) or not all(isinstance(row, dict) for row in table):
        return table
    return [{column: _value(column, value) for column, value in row.items()} for row in table]


def _value(column: str, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    try:
        return base64.b64decode(value["base64"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise InvalidInput(f'invalid export: {column} is {as_json(value)}, not {{"base64": "…"}}') from None
