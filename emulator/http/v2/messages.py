"""Messages: get one, cancel one or many (contract 2.4)."""

from functools import partial

from starlette.requests import Request
from starlette.routing import BaseRoute

from emulator.broker.bulk_actions import Subject
from emulator.broker.message import Pending
from emulator.broker.pending_changes import expedite
from emulator.broker.state import BrokerState
from emulator.errors import InvalidInput, NotFound
from emulator.http.filters import names_of, read_filter
from emulator.http.models.common import Empty
from emulator.http.models.messages import CancelAccepted, Cancelled, CancelQuery, MessageObject
from emulator.http.openapi_types import QUERY_AS_BODY, Operation
from emulator.http.request_parsing import bulk_parameters, whole_number
from emulator.http.routing import JsonAnswer, done, ok, path_name, route
from emulator.http.v2.bulk_actions import cancel_by_filter, take_async
from emulator.http.wire_objects import message_view
from emulator.runtime import Runtime
from emulator.store.filters import Filter
from emulator.store.queries import find_message, select_pending

# The last one is an old filter that says nothing any more (contract 1.8).
_BULK_PARAMETERS = names_of(CancelQuery, "api")
_MOST_CANCELLED = 500


def routes() -> list[BaseRoute]:
    return [
        route(
            "/v2/messages",
            "DELETE",
            cancel_many,
            Operation(
                status=202,
                query=CancelQuery,
                body=QUERY_AS_BODY,
                errors=(400, 412, 413, 429),
            ),
        ),
        route("/v2/messages/{message_id}", "GET", get, Operation(errors=(404,))),
        route(
            "/v2/messages/{message_id}",
            "DELETE",
            cancel,
            Operation(status=202, errors=(404,)),
        ),
        route("/v2/messages/{message_id}/retry", "POST", retry_now, Operation(errors=(400, 404))),
    ]


async def get(request: Request, runtime: Runtime) -> JsonAnswer[MessageObject]:
    """Get one message, finished or not, for as long as logs are kept."""
    message_id = path_name(request, "message_id")
    stored = await runtime.read(partial(find_message, tenant_id=runtime.tenant.id, message_id=message_id))
    if stored is None:
        raise NotFound(f"message {message_id} not found")
    return ok(message_view(stored.message, stored.body))


async def cancel(request: Request, runtime: Runtime) -> JsonAnswer[Cancelled]:
    """Cancel one unfinished message."""
    message_id = path_name(request, "message_id")
    if not await runtime.cancel(Filter(message_ids=(message_id,))):
        raise NotFound(f"message {message_id} not found", hint="it is unknown, or has finished already")
    return ok(Cancelled(cancelled=1), status=202)


async def retry_now(request: Request, runtime: Runtime) -> JsonAnswer[Empty]:
    """Deliver a waiting message now. This adds no attempt."""
    message_id = path_name(request, "message_id")
    wanted = Filter(message_ids=(message_id,))
    select = partial(select_pending, tenant_id=runtime.tenant.id, wanted=wanted, count=1)

    def bring_forward(state: BrokerState, now_at: int, found: list[Pending]) -> int:
        if any(candidate.queue_name is not None for candidate in found):
            raise InvalidInput(f"message {message_id} is in a queue, whose order would break")
        return expedite(state, found, now_at)

    _, count = await runtime.change_found(select, bring_forward)
    if not count:
        raise NotFound(f"message {message_id} not found", hint="it is unknown, or does not wait for its time")
    return done()


async def cancel_many(request: Request, runtime: Runtime) -> JsonAnswer[CancelAccepted]:
    """Cancel by ids, or all that match as a bulk action. If ids are given, filters are ignored."""
    parameters = await bulk_parameters(request, known=_BULK_PARAMETERS)
    is_async = take_async(parameters)
    wanted = read_filter(CancelQuery, parameters, is_deleting=True)
    # Deprecated and ignored, but what is none is still said.
    whole_number(parameters, "count", least=1, most=_MOST_CANCELLED)
    if not wanted.message_ids:
        return await cancel_by_filter(runtime, Subject.MESSAGES, wanted, is_async=is_async)
    return ok({"cancelled": await runtime.cancel(Filter(message_ids=wanted.message_ids))}, status=202)
