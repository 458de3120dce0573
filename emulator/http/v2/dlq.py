"""The dead letter queue (contract 2.8)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from emulator.broker import dead_letters
from emulator.broker.state import BrokerState
from emulator.errors import InvalidInput, NotFound
from emulator.http.models.dlq import (
    Deleted,
    DlqBulkQuery,
    DlqBulkRequest,
    DlqMessage,
    DlqPage,
    DlqQuery,
    Retried,
    RetriedMany,
)
from emulator.http.models.workflow import DeadRunPage
from emulator.http.openapi_types import Operation
from emulator.http.request_parsing import (
    FILTERS,
    Parameters,
    bulk_parameters,
    check_known,
    header_lines,
    listed,
    message_filter,
    query_parameters,
    read_page,
    split_filter,
    whole_number,
)
from emulator.http.routing import ok, path_name, route
from emulator.http.v2 import workflow_dlq
from emulator.http.wire_objects import dead_letter_view
from emulator.runtime import Runtime
from emulator.store.filters import MessageFilter, Page
from emulator.store.queries import StoredDeadLetter, list_dead_letters
from emulator.store.store import SqlStore
from emulator.wire.options import given_options, parse_options

_MOST = 100
_BULK = (FILTERS - {"host", "path", "messageIds"}) | {
    "dlqIds", "responseStatus", "count", "cursor", "order", "source", "api",
}  # fmt: skip
_LIST = _BULK | {"trimBody"}

Selected = tuple[list[StoredDeadLetter], bool]


# With source=workflow the entries are runs.
_LISTING = Operation(answer=DlqPage | DeadRunPage, query=DlqQuery, errors=(400,))


def routes() -> list[BaseRoute]:
    return [
        route("/v2/dlq", "GET", list_entries, _LISTING),
        route("/v2/dlq", "DELETE", delete_many, _bulk(answer=Deleted)),
        route("/v2/dlq/retry", "POST", retry_many, _bulk(answer=RetriedMany, status=201, takes_options=True)),
        route(
            "/v2/dlq/retry/{dlq_id}",
            "POST",
            retry,
            Operation(answer=Retried, status=201, takes_options=True, errors=(400, 404)),
        ),
        route("/v2/dlq/{dlq_id}", "GET", get, Operation(answer=DlqMessage, errors=(404,))),
        route("/v2/dlq/{dlq_id}", "DELETE", delete, Operation(errors=(404,))),
    ]


def _bulk(**said: Any) -> Operation:
    return Operation(
        query=DlqBulkQuery, body=DlqBulkRequest, needs_body=False, errors=(400, 404, 413), **said
    )


async def list_entries(request: Request, runtime: Runtime) -> Response:
    """Entries that match, newest first unless told otherwise."""
    parameters = query_parameters(request)
    if parameters.get("source") == ["workflow"]:
        return await workflow_dlq.list_entries(request, runtime)
    check_known(parameters, _LIST)
    trim = whole_number(parameters, "trimBody", least=-1, most=2**31)
    entries, has_more = await runtime.read(_by_filters(runtime, parameters, message_filter(parameters)))
    split = split_filter(message_filter(parameters)) if not entries else None
    if split is not None:
        entries, has_more = await runtime.read(_by_filters(runtime, parameters, split))
    views = [dead_letter_view(entry, trim=trim) for entry in entries]
    return ok({"messages": views, **_cursor(entries, has_more)})


async def get(request: Request, runtime: Runtime) -> Response:
    """One entry."""
    dlq_id = path_name(request, "dlq_id")
    entries, _ = await runtime.read(_by_ids(runtime, [dlq_id]))
    if not entries:
        raise _not_found(dlq_id)
    return ok(dead_letter_view(entries[0]))


async def delete(request: Request, runtime: Runtime) -> Response:
    """Delete one entry."""
    dlq_id = path_name(request, "dlq_id")
    (entries, _), _ = await runtime.change_dead_letters(_by_ids(runtime, [dlq_id]), _remove)
    if not entries:
        raise _not_found(dlq_id)
    return ok()


async def delete_many(request: Request, runtime: Runtime) -> Response:
    """Delete by ids, by filters, or everything, at most 100 at a time; ids that are gone do not count."""
    parameters = await bulk_parameters(request, known=_BULK)
    select = _bulk_selection(runtime, parameters)
    (entries, has_more), _ = await runtime.change_dead_letters(select, _remove)
    return ok({"deleted": len(entries), **_cursor(entries, has_more)})


async def retry(request: Request, runtime: Runtime) -> Response:
    """Publish one entry's message anew."""
    dlq_id = path_name(request, "dlq_id")
    _, [message_id] = await runtime.change_dead_letters(
        _by_ids(runtime, [dlq_id]), _publishing_anew(request, runtime, [dlq_id])
    )
    return ok({"messageId": message_id}, status=201)


async def retry_many(request: Request, runtime: Runtime) -> Response:
    """Publish many anew; of ids that are given, all or none."""
    parameters = await bulk_parameters(request, known=_BULK)
    (entries, has_more), message_ids = await runtime.change_dead_letters(
        _bulk_selection(runtime, parameters),
        _publishing_anew(request, runtime, listed(parameters, "dlqIds")),
    )
    responses = [{"messageId": message_id} for message_id in message_ids]
    return ok({"responses": responses, **_cursor(entries, has_more)}, status=201)


def _remove(state: BrokerState, now_at: int, selected: Selected) -> None:
    dead_letters.remove(state, now_at, dlq_ids=[entry.dead_letter.dlq_id for entry in selected[0]])


def _publishing_anew(
    request: Request, runtime: Runtime, wanted: Sequence[str]
) -> Callable[[BrokerState, int, Selected], list[str]]:
    """The operation that retries what was selected. Raises NotFound if one of the ``wanted`` ids is gone."""
    # The request's own lines, its Content-Type among them, say nothing about the message.
    lines = tuple(line for line in header_lines(request) if line[0].startswith("upstash-"))
    overrides = parse_options(lines, limits=runtime.limits)
    given = given_options(lines)
    runtime.note_warnings(overrides.warnings)

    def publish_anew(state: BrokerState, now_at: int, selected: Selected) -> list[str]:
        pairs = [(entry.dead_letter, entry.message) for entry in selected[0]]
        found = {dead.dlq_id for dead, _ in pairs}
        for dlq_id in wanted:
            if dlq_id not in found:
                raise _not_found(dlq_id)
        return dead_letters.retry(state, now_at, entries=pairs, overrides=overrides, given=given)

    return publish_anew


def _bulk_selection(runtime: Runtime, parameters: Parameters) -> Callable[[SqlStore], Selected]:
    """What a bulk action is about; ids alone count where they are given, and bring no cursor (contract 1.7)."""
    if "dlqIds" in parameters:
        return _by_ids(runtime, listed(parameters, "dlqIds"))
    return _by_filters(runtime, parameters, message_filter(parameters))


def _by_ids(runtime: Runtime, dlq_ids: Sequence[str]) -> Callable[[SqlStore], Selected]:
    def select(store: SqlStore) -> Selected:
        if not dlq_ids:
            return [], False
        page = Page(count=len(dlq_ids))
        return list_dead_letters(store, runtime.tenant.id, MessageFilter(), dlq_ids=dlq_ids, page=page)

    return select


def _by_filters(
    runtime: Runtime, parameters: Parameters, wanted: MessageFilter
) -> Callable[[SqlStore], Selected]:
    return partial(
        list_dead_letters,
        tenant_id=runtime.tenant.id,
        wanted=wanted,
        dlq_ids=listed(parameters, "dlqIds"),
        response_statuses=_statuses(parameters),
        page=read_page(parameters, default=_MOST, most=_MOST),
    )


def _statuses(parameters: Parameters) -> tuple[int, ...]:
    texts = listed(parameters, "responseStatus")
    for text in texts:
        if not (text.isascii() and text.isdigit() and len(text) <= 4):
            raise InvalidInput(f"invalid responseStatus {text!r}: expected a status code")
    return tuple(map(int, texts))


def _cursor(entries: Sequence[StoredDeadLetter], has_more: bool) -> dict[str, str]:
    return {"cursor": entries[-1].dead_letter.dlq_id} if has_more else {}


def _not_found(dlq_id: str) -> NotFound:
    return NotFound(f"dlq message {dlq_id} not found")
