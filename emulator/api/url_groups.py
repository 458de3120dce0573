"""URL groups, on the wire still called topics (contract, 2.7)."""

from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from emulator.api.reading import check_object, read_object
from emulator.api.routing import ok, path_name, route
from emulator.api.views import group_view
from emulator.broker.entities import Endpoint
from emulator.broker.group_operations import (
    add_endpoints,
    delete_group,
    find_group,
    remove_endpoints,
    set_headers,
)
from emulator.errors import InvalidInput
from emulator.protocol.destination import check_name, check_url
from emulator.protocol.headers import canonical_name
from emulator.protocol.options import parse_options
from emulator.runtime import Runtime


def routes() -> list[BaseRoute]:
    return [
        route("/v2/topics", "GET", list_groups),
        route("/v2/topics/{name}", "GET", get),
        route("/v2/topics/{name}", "DELETE", delete),
        route("/v2/topics/{name}", "PATCH", patch),
        route("/v2/topics/{name}/endpoints", "POST", add),
        route("/v2/topics/{name}/endpoints", "DELETE", remove),
    ]


async def list_groups(request: Request, runtime: Runtime) -> Response:
    """All groups, by name."""
    groups = sorted(runtime.broker.state.groups.values(), key=lambda group: group.name)
    return ok([group_view(group) for group in groups])


async def get(request: Request, runtime: Runtime) -> Response:
    """One group."""
    return ok(group_view(find_group(runtime.broker.state, _name(request))))


async def delete(request: Request, runtime: Runtime) -> Response:
    """Delete a group; fine if there is none."""
    await runtime.change(partial(delete_group, name=_name(request)))
    return ok()


async def add(request: Request, runtime: Runtime) -> Response:
    """Add or change endpoints."""
    endpoints = [_new_endpoint(item) for item in await _endpoint_items(request)]
    await runtime.change(partial(add_endpoints, name=_name(request), endpoints=endpoints))
    return ok()


async def remove(request: Request, runtime: Runtime) -> Response:
    """Remove endpoints, each by its url or its name."""
    items = await _endpoint_items(request)
    for item in items:
        if not item.get("url") and not item.get("name"):
            raise InvalidInput(f"invalid endpoint {item!r}: expected a url or a name")
    urls = [item["url"] for item in items if item.get("url")]
    names = [item["name"] for item in items if item.get("name")]
    await runtime.change(partial(remove_endpoints, name=_name(request), urls=urls, names=names))
    return ok()


async def patch(request: Request, runtime: Runtime) -> Response:
    """Replace the group's default publish options."""
    fields = await read_object(request, what="URL group", known=("headers",))
    headers = fields.get("headers")
    if not isinstance(headers, dict):
        raise InvalidInput(f"invalid headers {headers!r}: expected an object of option names to values")
    lines = tuple(
        (canonical_name(name), one)
        for name, value in headers.items()
        for one in (value if isinstance(value, list) else [value])
    )
    for name, value in lines:
        if not isinstance(value, str):
            raise InvalidInput(f"invalid headers: {name} must be text, not {value!r}")
    parse_options(lines, limits=runtime.limits)
    await runtime.change(partial(set_headers, name=_name(request), headers=lines))
    return ok()


def _name(request: Request) -> str:
    return check_name(path_name(request, "name"), what="URL group name")


async def _endpoint_items(request: Request) -> list[dict[str, Any]]:
    fields = await read_object(request, what="endpoints", known=("endpoints",))
    items = fields.get("endpoints")
    if not isinstance(items, list) or not items:
        raise InvalidInput(f"invalid endpoints {items!r}: expected a list with at least one endpoint")
    for item in items:
        check_object(item, what="endpoint", known=("url", "name"))
        for key, value in item.items():
            if not isinstance(value, str | None):
                raise InvalidInput(f"invalid endpoint: {key} must be text, not {value!r}")
    return items


def _new_endpoint(item: dict[str, Any]) -> Endpoint:
    url = item.get("url")
    if not url:
        raise InvalidInput(f"invalid endpoint {item!r}: it has no url")
    return Endpoint(check_url(url, what="endpoint url"), item.get("name") or None)
