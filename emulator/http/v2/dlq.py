"""The dead letter queue (contract 2.8)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.routing import BaseRoute

from emulator.broker import dead_letters
from emulator.broker.state import BrokerState
from emulator.errors import NotFound
from emulator.http.filters import names_of, read_filter
from emulator.http.models.common import Empty
from emulator.http.models.dlq import (
    Deleted,
    DlqBulkQuery,
    DlqMessage,
    DlqPage,
    DlqQuery,
    Retried,
    RetriedMany,
)
from emulator.http.models.workflow import DeadRunPage
from emulator.http.openapi_types import QUERY_AS_BODY, Operation
from emulator.http.request_parsing import (
    Parameters,
    bulk_parameters,
    check_known,
    header_lines,
    next_page,
    query_parameters,
    read_page,
    whole_number,
)
from emulator.http.routing import JsonAnswer, done, ok, path_name, route
from emulator.http.v2 import workflow_dlq
from emulator.http.wire_objects import dead_letter_view
from emulator.runtime import Runtime
from emulator.store.filters import Filter, Found, Page
from emulator.store.lists import DEAD_LETTERS
from emulator.store.store import SqlStore
from emulator.store.stored import StoredDeadLetter
from emulator.wire.options import given_options, parse_options

_MOST = 100
# The last ones say nothing any more, or where the entries are runs.
_BULK = names_of(DlqBulkQuery, "source", "api")
_LIST = names_of(DlqQuery, "source", "api")

Selected = Found[StoredDeadLetter]


# With source=workflow the entries are runs.
_LISTING = Operation(query=DlqQuery, errors=(400,))


def routes() -> list[BaseRoute]:
    return [
        route("/v2/dlq", "GET", list_entries, _LISTING),
        route("/v2/dlq", "DELETE", delete_many, _bulk()),
        route("/v2/dlq/retry", "POST", retry_many, _bulk(status=201, takes_options=True)),
        route(
            "/v2/dlq/retry/{dlq_id}",
            "POST",
            retry,
            Operation(status=201, takes_options=True, errors=(400, 404)),
        ),
        route("/v2/dlq/{dlq_id}", "GET", get, Operation(errors=(404,))),
        route("/v2/dlq/{dlq_id}", "DELETE", delete, Operation(errors=(404,))),
    ]


def _bulk(**said: Any) -> Operation:
    return Operation(query=DlqBulkQuery, body=QUERY_AS_BODY, errors=(400, 404, 413), **said)


async def list_entries(request: Request, runtime: Runtime) -> JsonAnswer[DlqPage | DeadRunPage]:
    """List the entries that match, by default newest first."""
    parameters = query_parameters(request)
    if parameters.get("source") == ["workflow"]:
        return await workflow_dlq.list_entries(request, runtime)
    check_known(parameters, _LIST)
    trim = whole_number(parameters, "trimBody", least=-1, most=2**31)
    wanted = read_filter(DlqQuery, parameters)
    found = await runtime.read(_by_filters(runtime, parameters, wanted))
    split = wanted if found.items else read_filter(DlqQuery, parameters, splits_all=True)
    if split != wanted:
        found = await runtime.read(_by_filters(runtime, parameters, split))
    views = [dead_letter_view(entry, trim=trim) for entry in found.items]
    return ok(DlqPage(messages=views, **next_page(found)))


async def get(request: Request, runtime: Runtime) -> JsonAnswer[DlqMessage]:
    """Get one entry."""
    dlq_id = path_name(request, "dlq_id")
    found = await runtime.read(_by_ids(runtime, [dlq_id]))
    if not found.items:
        raise _not_found(dlq_id)
    return ok(dead_letter_view(found.items[0]))


async def delete(request: Request, runtime: Runtime) -> JsonAnswer[Empty]:
    """Delete one entry."""
    dlq_id = path_name(request, "dlq_id")
    found, _ = await runtime.change_dead_letters(_by_ids(runtime, [dlq_id]), _remove)
    if not found.items:
        raise _not_found(dlq_id)
    return done()


async def delete_many(request: Request, runtime: Runtime) -> JsonAnswer[Deleted]:
    """Delete by ids, by filters, or everything, at most 100 at a time. Ids that are gone are not counted."""
    parameters = await bulk_parameters(request, known=_BULK)
    select = _bulk_selection(runtime, parameters)
    found, _ = await runtime.change_dead_letters(select, _remove)
    return ok(Deleted(deleted=len(found.items), **next_page(found)))


async def retry(request: Request, runtime: Runtime) -> JsonAnswer[Retried]:
    """Publish one entry's message again."""
    dlq_id = path_name(request, "dlq_id")
    _, [message_id] = await runtime.change_dead_letters(
        _by_ids(runtime, [dlq_id]), _publishing_anew(request, runtime, [dlq_id])
    )
    return ok(Retried(messageId=message_id), status=201)


async def retry_many(request: Request, runtime: Runtime) -> JsonAnswer[RetriedMany]:
    """Publish many again. Of the ids given, all or none are published."""
    parameters = await bulk_parameters(request, known=_BULK)
    found, message_ids = await runtime.change_dead_letters(
        _bulk_selection(runtime, parameters),
        _publishing_anew(request, runtime, _ids_among(parameters)),
    )
    responses = [Retried(messageId=message_id) for message_id in message_ids]
    return ok(RetriedMany(responses=responses, **next_page(found)), status=201)


def _remove(state: BrokerState, now_at: int, selected: Selected) -> None:
    dead_letters.remove(state, now_at, dlq_ids=[entry.dead_letter.dlq_id for entry in selected.items])


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
        pairs = [(entry.dead_letter, entry.message) for entry in selected.items]
        found = {dead.dlq_id for dead, _ in pairs}
        for dlq_id in wanted:
            if dlq_id not in found:
                raise _not_found(dlq_id)
        return dead_letters.retry(state, now_at, entries=pairs, overrides=overrides, given=given)

    return publish_anew


def _bulk_selection(runtime: Runtime, parameters: Parameters) -> Callable[[SqlStore], Selected]:
    """Return the objects of a bulk action; ids alone count where they are given, and bring no cursor (contract 1.7)."""
    if "dlqIds" in parameters:
        return _by_ids(runtime, _ids_among(parameters))
    return _by_filters(runtime, parameters, read_filter(DlqBulkQuery, parameters, is_deleting=True))


def _ids_among(parameters: Parameters) -> Sequence[str]:
    return read_filter(DlqBulkQuery, parameters, is_deleting=True).dlq_ids


def _by_ids(runtime: Runtime, dlq_ids: Sequence[str]) -> Callable[[SqlStore], Selected]:
    if not dlq_ids:
        return lambda _store: Found([])
    wanted, page = Filter(dlq_ids=tuple(dlq_ids)), Page(count=len(dlq_ids))
    return partial(DEAD_LETTERS.page, tenant_id=runtime.tenant.id, wanted=wanted, page=page)


def _by_filters(runtime: Runtime, parameters: Parameters, wanted: Filter) -> Callable[[SqlStore], Selected]:
    page = read_page(parameters, default=_MOST, most=_MOST)
    return partial(DEAD_LETTERS.page, tenant_id=runtime.tenant.id, wanted=wanted, page=page)


def _not_found(dlq_id: str) -> NotFound:
    return NotFound(f"dlq message {dlq_id} not found")
