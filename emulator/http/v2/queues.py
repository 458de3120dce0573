"""Queues (contract 2.5)."""

from functools import partial

from starlette.requests import Request
from starlette.routing import BaseRoute

from emulator.broker.queue_operations import find_queue, pause_queue, upsert_queue
from emulator.http.models.common import Empty
from emulator.http.models.queues import QueueObject, QueueRequest
from emulator.http.openapi_types import Operation
from emulator.http.request_parsing import read_request
from emulator.http.routing import JsonAnswer, done, ok, path_name, route
from emulator.http.wire_objects import queue_view
from emulator.runtime import Runtime
from emulator.store.queries import count_lag
from emulator.wire.destination import check_name


def routes() -> list[BaseRoute]:
    changes = Operation(errors=(400, 404))
    return [
        route("/v2/queues", "GET", list_queues, Operation()),
        route("/v2/queues", "POST", upsert, Operation(body=QueueRequest, errors=(400, 412))),
        route("/v2/queues/{queue}", "GET", get, Operation(errors=(400, 404))),
        route("/v2/queues/{queue}", "DELETE", delete, Operation(errors=(400,))),
        route("/v2/queues/{queue}/pause", "POST", partial(set_paused, is_paused=True), changes),
        route("/v2/queues/{queue}/resume", "POST", partial(set_paused, is_paused=False), changes),
    ]


async def upsert(request: Request, runtime: Runtime) -> JsonAnswer[Empty]:
    """Create a queue, or change it."""
    asked = await read_request(request, QueueRequest, what="queue")
    name = check_name(asked.queueName, what="queue name")
    await runtime.change(
        partial(upsert_queue, name=name, parallelism=asked.parallelism, is_paused=asked.paused)
    )
    return done()


async def list_queues(request: Request, runtime: Runtime) -> JsonAnswer[list[QueueObject]]:
    """List all queues, by name."""
    lag = await runtime.read(partial(count_lag, tenant_id=runtime.tenant.id))
    lines = runtime.broker.state.queues.values()
    queues = sorted((line.queue for line in lines), key=lambda queue: queue.name)
    return ok([queue_view(queue, lag.get(queue.name, 0)) for queue in queues])


async def get(request: Request, runtime: Runtime) -> JsonAnswer[QueueObject]:
    """Get one queue."""
    queue = find_queue(runtime.broker.state, _name(request)).queue
    lag = await runtime.read(partial(count_lag, tenant_id=runtime.tenant.id, queue_name=queue.name))
    return ok(queue_view(queue, lag.get(queue.name, 0)))


async def delete(request: Request, runtime: Runtime) -> JsonAnswer[Empty]:
    """Delete a queue and cancel the messages that wait in it. Succeeds if there is none."""
    await runtime.delete_queue(_name(request))
    return done()


async def set_paused(request: Request, runtime: Runtime, *, is_paused: bool) -> JsonAnswer[Empty]:
    """Pause or resume."""
    await runtime.change(partial(pause_queue, name=_name(request), is_paused=is_paused))
    return done()


def _name(request: Request) -> str:
    return check_name(path_name(request, "queue"), what="queue name")
