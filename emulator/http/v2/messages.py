"""Messages: look at one, take back one or many (contract 2.4)."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from emulator.errors import NotFound
from emulator.http.models.messages import Cancelled, CancelQuery, CancelRequest, Message
from emulator.http.openapi_types import Operation
from emulator.http.request_parsing import FILTERS, bulk_parameters, message_filter, whole_number
from emulator.http.routing import ok, path_name, route
from emulator.http.wire_objects import message_view
from emulator.runtime import Runtime
from emulator.store.filters import MessageFilter
from emulator.store.queries import find_message

_BULK_PARAMETERS = (FILTERS - {"messageId"}) | {"count", "api"}
_MOST_CANCELLED = 500


def routes() -> list[BaseRoute]:
    return [
        route(
            "/v2/messages",
            "DELETE",
            cancel_many,
            Operation(
                answer=Cancelled,
                status=202,
                query=CancelQuery,
                body=CancelRequest,
                needs_body=False,
                errors=(400, 413),
            ),
        ),
        route("/v2/messages/{message_id}", "GET", get, Operation(answer=Message, errors=(404,))),
        route(
            "/v2/messages/{message_id}",
            "DELETE",
            cancel,
            Operation(answer=Cancelled, status=202, errors=(404,)),
        ),
    ]


async def get(request: Request, runtime: Runtime) -> Response:
    """One message, finished or not, for as long as logs are kept."""
    message_id = path_name(request, "message_id")
    stored = await runtime.read(partial(find_message, tenant_id=runtime.tenant.id, message_id=message_id))
    if stored is None:
        raise NotFound(f"message {message_id} not found")
    return ok(message_view(stored.message, stored.body))


async def cancel(request: Request, runtime: Runtime) -> Response:
    """Cancel one unfinished message."""
    message_id = path_name(request, "message_id")
    if not await runtime.cancel(MessageFilter(message_ids=(message_id,))):
        raise NotFound(f"message {message_id} not found", hint="it is unknown, or has finished already")
    return ok({"cancelled": 1}, status=202)


async def cancel_many(request: Request, runtime: Runtime) -> Response:
    """Cancel by ids, by filters, or everything; ids alone count where they are given."""
    parameters = await bulk_parameters(request, known=_BULK_PARAMETERS)
    wanted = message_filter(parameters)
    count = whole_number(parameters, "count", least=1, most=_MOST_CANCELLED)
    if wanted.message_ids:
        wanted, count = MessageFilter(message_ids=wanted.message_ids), None
    return ok({"cancelled": await runtime.cancel(wanted, count)}, status=202)
