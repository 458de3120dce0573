"""Queues (contract, 2.5)."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from emulator.api.reading import read_object
from emulator.api.routing import ok, path_name, route
from emulator.api.views import queue_view
from emulator.broker.queue_operations import delete_queue, find_queue, pause_queue, upsert_queue
from emulator.errors import InvalidInput
from emulator.protocol.destination import check_name
from emulator.runtime import Runtime
from emulator.store.queries import count_lag


def routes() -> list[BaseRoute]:
    return [
        route("/v2/queues", "GET", list_queues),
        route("/v2/queues", "POST", upsert),
        route("/v2/queues/{queue}", "GET", get),
        route("/v2/queues/{queue}", "DELETE", delete),
        route("/v2/queues/{queue}/pause", "POST", partial(set_paused, is_paused=True)),
        route("/v2/queues/{queue}/resume", "POST", partial(set_paused, is_paused=False)),
    ]


async def upsert(request: Request, runtime: Runtime) -> Response:
    """Make a queue, or change it."""
    fields = await read_object(request, what="queue", known=("queueName", "parallelism", "paused"))
    name, parallelism, paused = fields.get("queueName"), fields.get("parallelism", 1), fields.get("paused")
    if not isinstance(name, str):
        raise InvalidInput(f"invalid queueName {name!r}: expected text")
    if not isinstance(parallelism, int) or isinstance(parallelism, bool) or parallelism < 1:
        raise InvalidInput(f"invalid parallelism {parallelism!r}: expected a whole number of at least 1")
    if not isinstance(paused, bool | None):
        raise InvalidInput(f"invalid paused {paused!r}: expected true or false")
    check_name(name, what="queue name")
    await runtime.change(partial(upsert_queue, name=name, parallelism=parallelism, is_paused=paused))
    return ok()


async def list_queues(request: Request, runtime: Runtime) -> Response:
    """All queues, by name."""
    lag = await runtime.read(partial(count_lag, tenant_id=runtime.tenant.id))
    lines = runtime.broker.state.queues.values()
    queues = sorted((line.queue for line in lines), key=lambda queue: queue.name)
    return ok([queue_view(queue, lag.get(queue.name, 0)) for queue in queues])


async def get(request: Request, runtime: Runtime) -> Response:
    """One queue."""
    queue = find_queue(runtime.broker.state, _name(request)).queue
    lag = await runtime.read(partial(count_lag, tenant_id=runtime.tenant.id))
    return ok(queue_view(queue, lag.get(queue.name, 0)))


async def delete(request: Request, runtime: Runtime) -> Response:
    """Delete a queue with what waits in it; fine if there is none."""
    await runtime.change(partial(delete_queue, name=_name(request)))
    return ok()


async def set_paused(request: Request, runtime: Runtime, *, is_paused: bool) -> Response:
    """Pause or resume."""
    await runtime.change(partial(pause_queue, name=_name(request), is_paused=is_paused))
    return ok()


def _name(request: Request) -> str:
    return check_name(path_name(request, "queue"), what="queue name")
