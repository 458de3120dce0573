"""Faults over HTTP: list, add, remove."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from emulator.errors import InvalidInput
from emulator.faults import Fault, FaultSet
from emulator.http.control.guard import control_route
from emulator.http.request_parsing import parse_json, query_parameters, read_body
from emulator.http.routing import done, ok, path_name
from emulator.runtime import Runtime


def fault_routes() -> list[BaseRoute]:
    """Return the routes of this module."""
    return [
        control_route("/emulator/faults", "GET", list_faults),
        control_route("/emulator/faults", "POST", add_fault),
        control_route("/emulator/faults", "DELETE", remove_faults),
        control_route("/emulator/faults/{fault_id}", "DELETE", remove_fault),
    ]


def fault_view(fault: Fault, faults: FaultSet) -> dict[str, Any]:
    """Return a fault as JSON: the given fields, its id, and how often it struck."""
    return {
        **fault.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "struck": faults.struck(fault.id),
    }


async def list_faults(request: Request, runtime: Runtime) -> Response:
    """List the faults in force, in the order in which they are tried."""
    return ok({"faults": [fault_view(fault, runtime.faults) for fault in runtime.faults]})


async def add_fault(request: Request, runtime: Runtime) -> Response:
    """Add a fault."""
    fields = parse_json(await read_body(request, limit=1_000_000, what="fault"), what="fault")
    if not isinstance(fields, dict):
        raise InvalidInput('invalid fault: expected a JSON object such as {"kind": "refuse", "count": 2}')
    fault = runtime.faults.add_fault(fields)
    return ok(fault_view(fault, runtime.faults), status=201)


async def remove_faults(request: Request, runtime: Runtime) -> Response:
    """Remove the faults that ``?id=`` names, or all."""
    parameters = query_parameters(request)
    for name in parameters:
        if name != "id":
            raise InvalidInput(f"unknown parameter {name!r}; accepted: id")
    for fault_id in parameters.get("id", ()):
        runtime.faults.remove(fault_id)
    if "id" not in parameters:
        runtime.faults.clear()
    return done()


async def remove_fault(request: Request, runtime: Runtime) -> Response:
    """Remove one fault."""
    runtime.faults.remove(path_name(request, "fault_id"))
    return done()
