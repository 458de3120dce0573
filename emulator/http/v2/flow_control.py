"""Flow-control keys (contract 2.10)."""

from functools import partial

from starlette.requests import Request
from starlette.routing import BaseRoute

from emulator.broker.flow_operations import (
    pause_flow,
    pin_flow,
    reset_flow,
    resume_flow,
    unpin_flow,
)
from emulator.errors import InvalidInput, NotFound
from emulator.http.flow_keys import encoded_flow_views
from emulator.http.models.common import Empty
from emulator.http.models.flow_control import (
    FlowControlKey,
    GlobalParallelism,
    PinQuery,
    SearchQuery,
    UnpinQuery,
)
from emulator.http.openapi_types import Operation
from emulator.http.request_parsing import Parameters, query_parameters, whole_number
from emulator.http.routing import JsonAnswer, done, ok, path_name, route
from emulator.http.wire_objects import flow_view, lane_view
from emulator.runtime import Runtime
from emulator.store.queries import find_flow_key
from emulator.wire.flow_control import MAX_PERIOD_SECONDS

_MOST = 999_999_999


def routes() -> list[BaseRoute]:
    # SDKs put keys into the path as they are, slashes and all.
    key = "/v2/flowControl/{key:path}"
    return [
        route("/v2/flowControl", "GET", list_keys, Operation(query=SearchQuery)),
        route(key, "GET", get, Operation(errors=(404,))),
        route(f"{key}/pause", "POST", pause, Operation(errors=(400,))),
        route(f"{key}/resume", "POST", resume, Operation(errors=(400,))),
        route(f"{key}/pin", "POST", pin, Operation(query=PinQuery, errors=(400,))),
        route(f"{key}/unpin", "POST", unpin, Operation(query=UnpinQuery, errors=(400,))),
        route(f"{key}/resetRate", "POST", partial(reset, with_parallelism=False), Operation(errors=(400,))),
        route(f"{key}/reset", "POST", partial(reset, with_parallelism=True), Operation(errors=(400,))),
        route("/v2/globalParallelism", "GET", global_parallelism, Operation()),
    ]


async def list_keys(request: Request, runtime: Runtime) -> JsonAnswer[list[FlowControlKey]]:
    """List all keys, or those that contain ``search``, in order of the key."""
    search = query_parameters(request).get("search", [""])[-1]
    return JsonAnswer(await encoded_flow_views(runtime, search))


async def get(request: Request, runtime: Runtime) -> JsonAnswer[FlowControlKey]:
    """Get one key."""
    key, now_at = _key(request), runtime.clock.now_at()
    if (lane := runtime.broker.state.lanes.flow_lane(key)) is not None:
        return ok(lane_view(lane, now_at))
    stored = await runtime.read_after_writes(partial(find_flow_key, tenant_id=runtime.tenant.id, key=key))
    if stored is None:
        raise NotFound(f"flow control key {key} not found")
    return ok(flow_view(stored, now_at))


async def pause(request: Request, runtime: Runtime) -> JsonAnswer[Empty]:
    """Pause the key: none of its messages starts."""
    key = _key(request)
    await runtime.change_flow_key(key, partial(pause_flow, key=key))
    return done()


async def resume(request: Request, runtime: Runtime) -> JsonAnswer[Empty]:
    """Resume the key."""
    key = _key(request)
    await runtime.change_flow_key(key, partial(resume_flow, key=key))
    return done()


async def pin(request: Request, runtime: Runtime) -> JsonAnswer[Empty]:
    """Fix limits that messages cannot change."""
    parameters = query_parameters(request)
    parallelism, rate = (_limit(parameters, name, _MOST) for name in ("parallelism", "rate"))
    period = _limit(parameters, "period", MAX_PERIOD_SECONDS)
    if parallelism is None and rate is None:
        raise InvalidInput("nothing to pin: give parallelism, or rate with a period in seconds, or both")
    if rate is None and period is not None:
        runtime.note_warnings(["period is ignored without a rate to pin"])
    key = _key(request)
    await runtime.change_flow_key(
        key, partial(pin_flow, key=key, parallelism=parallelism, rate=rate, period_seconds=period)
    )
    return done()


async def unpin(request: Request, runtime: Runtime) -> JsonAnswer[Empty]:
    """Let the next message bring new limits."""
    parameters = query_parameters(request)
    parallelism, rate = (
        parameters.get(name, ["false"])[-1].lower() == "true" for name in ("parallelism", "rate")
    )
    key = _key(request)
    await runtime.change_flow_key(key, partial(unpin_flow, key=key, parallelism=parallelism, rate=rate))
    return done()


async def reset(request: Request, runtime: Runtime, *, with_parallelism: bool) -> JsonAnswer[Empty]:
    """Reset the key's rate period."""
    key = _key(request)
    await runtime.change_flow_key(key, partial(reset_flow, key=key, with_parallelism=with_parallelism))
    return done()


async def global_parallelism(request: Request, runtime: Runtime) -> JsonAnswer[GlobalParallelism]:
    """Get the number of attempts under way, and the limit."""
    lanes = runtime.broker.state.lanes
    return ok({"parallelismMax": lanes.capacity, "parallelismCount": lanes.in_flight})


def _key(request: Request) -> str:
    key = path_name(request, "key").removesuffix("/")
    if not key:
        raise InvalidInput("a non-empty flow control key must be provided")
    return key


def _limit(parameters: Parameters, name: str, most: int) -> int | None:
    return whole_number(parameters, name, least=1, most=most)
