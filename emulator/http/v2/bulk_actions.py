"""Bulk actions: cancel many messages or runs by a filter, and follow the progress (contract 2.13)."""

import asyncio
from functools import partial

from starlette.requests import Request
from starlette.routing import BaseRoute

from emulator.broker.bulk_actions import KEPT_MS, BulkAction, Subject
from emulator.errors import InvalidInput, NotFound, StillInProgress
from emulator.http.filters import as_parameters, names_of
from emulator.http.models.bulk_actions import BulkActionObject, BulkActionPage, BulkActionQuery
from emulator.http.models.messages import CancelAccepted, CancelQuery
from emulator.http.models.workflow import CancelRunsQuery
from emulator.http.openapi_types import Operation
from emulator.http.request_parsing import Parameters, check_known, next_page, query_parameters, read_page
from emulator.http.routing import JsonAnswer, ok, path_name, route
from emulator.http.wire_objects import optional, present
from emulator.runtime import Runtime
from emulator.store.bulk_queries import find_action, list_actions
from emulator.store.filters import Filter

_MOST = 100
_STATES = ("IN_PROGRESS", "FINISHED")
# How long the answer waits where it was not asked to come at once.
PATIENCE_SECONDS = 60.0
_QUERIES = {Subject.MESSAGES: CancelQuery, Subject.RUNS: CancelRunsQuery}


def routes() -> list[BaseRoute]:
    listed = Operation(query=BulkActionQuery, errors=(400,))
    one = Operation(errors=(404,))
    return [
        made
        for prefix, subject in (("/v2", Subject.MESSAGES), ("/v2/workflows", Subject.RUNS))
        for made in (
            route(f"{prefix}/bulkActions", "GET", partial(list_all, subject=subject), listed),
            route(f"{prefix}/bulkActions/{{action_id}}", "GET", partial(get, subject=subject), one),
        )
    ]


async def list_all(request: Request, runtime: Runtime, *, subject: Subject) -> JsonAnswer[BulkActionPage]:
    """List the actions of the last seven days, newest first. The filter for a state applies to each page."""
    parameters = query_parameters(request)
    check_known(parameters, names_of(BulkActionQuery))
    states = _states(parameters)
    found = await runtime.read(
        partial(
            list_actions,
            tenant_id=runtime.tenant.id,
            subject=subject,
            page=read_page(parameters, default=_MOST, most=_MOST),
            now_at=runtime.clock.now_at(),
            kept_ms=KEPT_MS,
        )
    )
    views = [view for view in map(_view, found.items) if view["state"] in states]
    return ok({"bulkActions": views, **next_page(found)})


async def get(request: Request, runtime: Runtime, *, subject: Subject) -> JsonAnswer[BulkActionObject]:
    """Get one action."""
    action_id = path_name(request, "action_id")
    action = await runtime.read(
        partial(find_action, tenant_id=runtime.tenant.id, action_id=action_id, subject=subject)
    )
    if action is None:
        raise NotFound(f"bulk action {action_id} not found")
    return ok(_view(action))


async def cancel_by_filter(
    runtime: Runtime, subject: Subject, wanted: Filter, *, is_async: bool
) -> JsonAnswer[CancelAccepted]:
    """Cancel whatever matches. Raises StillInProgress where that takes longer than the caller waits."""
    action, done = await runtime.bulk_cancels.start(subject, dict(wanted.given()))
    if is_async:
        return ok(CancelAccepted(cancelled=action.total, actionId=action.id), status=202)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await done.wait()
    except TimeoutError:
        raise StillInProgress(f"bulk action {action.id} is still in progress") from None
    return ok(CancelAccepted(cancelled=action.total), status=202)


def take_async(parameters: Parameters) -> bool:
    """Take ``async`` out of ``parameters``. Raises InvalidInput for what is neither true nor false."""
    text = parameters.pop("async", ["false"])[-1].lower()
    if text not in ("true", "false"):
        raise InvalidInput(f"invalid async {text!r}: expected true or false")
    return text == "true"


def _states(parameters: Parameters) -> tuple[str, ...]:
    wanted = tuple(text.upper() for text in parameters.get("state", _STATES))
    for text in wanted:
        if text not in _STATES:
            raise InvalidInput(f"invalid state {text!r}: expected {' or '.join(_STATES)}")
    return wanted


def _view(action: BulkAction) -> BulkActionObject:
    return present(
        BulkActionObject(
            actionId=action.id,
            kind="cancel",
            state="IN_PROGRESS" if action.completed_at is None else "FINISHED",
            total=action.total,
            processed=action.processed,
            createdAt=action.created_at,
            completedAt=optional(action.completed_at),
            filter=as_parameters(_QUERIES[action.subject], action.filter),
        )
    )
