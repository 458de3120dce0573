"""URL groups, on the wire still called topics (contract 2.7)."""

from functools import partial

from starlette.requests import Request
from starlette.routing import BaseRoute

from emulator.broker.group_operations import (
    add_endpoints,
    delete_group,
    find_group,
    remove_endpoints,
    set_headers,
)
from emulator.broker.resources import Endpoint
from emulator.errors import InvalidInput
from emulator.http.models.common import Empty
from emulator.http.models.url_groups import (
    AddEndpointsRequest,
    GroupHeadersRequest,
    RemoveEndpointsRequest,
    UrlGroupObject,
)
from emulator.http.openapi_types import Operation
from emulator.http.request_parsing import read_request
from emulator.http.routing import JsonAnswer, done, ok, path_name, route
from emulator.http.wire_objects import group_view
from emulator.runtime import Runtime
from emulator.wire.destination import check_line, check_name, check_url
from emulator.wire.headers import canonical_name
from emulator.wire.options import parse_options


def routes() -> list[BaseRoute]:
    return [
        route("/v2/topics", "GET", list_groups, Operation()),
        route("/v2/topics/{name}", "GET", get, Operation(errors=(400, 404))),
        route("/v2/topics/{name}", "DELETE", delete, Operation(errors=(400,))),
        route("/v2/topics/{name}", "PATCH", patch, Operation(body=GroupHeadersRequest, errors=(400, 404))),
        route(
            "/v2/topics/{name}/endpoints", "POST", add, Operation(body=AddEndpointsRequest, errors=(400, 412))
        ),
        route(
            "/v2/topics/{name}/endpoints",
            "DELETE",
            remove,
            Operation(body=RemoveEndpointsRequest, errors=(400, 404)),
        ),
    ]


async def list_groups(request: Request, runtime: Runtime) -> JsonAnswer[list[UrlGroupObject]]:
    """List all groups, by name."""
    groups = sorted(runtime.broker.state.groups.values(), key=lambda group: group.name)
    return ok([group_view(group) for group in groups])


async def get(request: Request, runtime: Runtime) -> JsonAnswer[UrlGroupObject]:
    """Get one group."""
    return ok(group_view(find_group(runtime.broker.state, _name(request))))


async def delete(request: Request, runtime: Runtime) -> JsonAnswer[Empty]:
    """Delete a group. Succeeds if there is none."""
    await runtime.change(partial(delete_group, name=_name(request)))
    return done()


async def add(request: Request, runtime: Runtime) -> JsonAnswer[Empty]:
    """Add or change endpoints."""
    asked = await read_request(request, AddEndpointsRequest, what="endpoints")
    endpoints = [
        Endpoint(check_url(one.url, what="endpoint url"), one.name or None) for one in asked.endpoints
    ]
    await runtime.change(partial(add_endpoints, name=_name(request), endpoints=endpoints))
    return done()


async def remove(request: Request, runtime: Runtime) -> JsonAnswer[Empty]:
    """Remove endpoints, each by its url or its name."""
    asked = await read_request(request, RemoveEndpointsRequest, what="endpoints")
    for index, one in enumerate(asked.endpoints):
        if not one.url and not one.name:
            raise InvalidInput(f"invalid endpoints: endpoints.{index} has neither a url nor a name")
    urls = [one.url for one in asked.endpoints if one.url]
    names = [one.name for one in asked.endpoints if one.name]
    await runtime.change(partial(remove_endpoints, name=_name(request), urls=urls, names=names))
    return done()


async def patch(request: Request, runtime: Runtime) -> JsonAnswer[Empty]:
    """Replace the group's default publish options."""
    asked = await read_request(request, GroupHeadersRequest, what="URL group")
    lines = tuple(
        (canonical_name(name), check_line(one, what=f"header {name}"))
        for name, value in asked.headers.items()
        for one in ([value] if isinstance(value, str) else value)
    )
    if parse_options(lines, limits=runtime.limits).cron is not None:
        raise InvalidInput(
            "Upstash-Cron is not accepted among a URL group's defaults; create a schedule to the group"
        )
    await runtime.change(partial(set_headers, name=_name(request), headers=lines))
    return done()


def _name(request: Request) -> str:
    return check_name(path_name(request, "name"), what="URL group name")
