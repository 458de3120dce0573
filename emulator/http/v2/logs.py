"""Logs, under both of their names (contract 2.9)."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from starlette.requests import Request
from starlette.routing import BaseRoute

from emulator.errors import InvalidInput
from emulator.http.filters import names_of, read_filter
from emulator.http.models.common import NextPage
from emulator.http.models.logs import (
    EventPage,
    GroupedLogPage,
    LogEntryObject,
    LogPage,
    LogQuery,
    MessageLogs,
)
from emulator.http.openapi_types import Operation
from emulator.http.request_parsing import (
    Parameters,
    next_page,
    query_parameters,
    read_page,
    whole_number,
)
from emulator.http.routing import JsonAnswer, ok, route
from emulator.http.wire_objects import log_view
from emulator.runtime import Runtime
from emulator.store.filters import Found
from emulator.store.lists import LOGS
from emulator.store.queries import list_logs_by_message

T = TypeVar("T")

_MOST = 1_000
_DEFAULT_GROUPS = 10
# The last one is an old filter that says nothing any more (contract 1.8).
_KNOWN = names_of(LogQuery, "api")


def routes() -> list[BaseRoute]:
    said = Operation(query=LogQuery, errors=(400,))
    return [route("/v2/logs", "GET", list_logs, said), route("/v2/events", "GET", list_events, said)]


async def list_logs(request: Request, runtime: Runtime) -> JsonAnswer[LogPage | GroupedLogPage]:
    """List the log entries that match, by default newest first. Unknown parameters are ignored."""
    return ok(
        await _list(
            request, runtime, lambda entries, rest: LogPage(logs=entries, events=entries, **rest), 100
        )
    )


async def list_events(request: Request, runtime: Runtime) -> JsonAnswer[EventPage | GroupedLogPage]:
    """List the log entries that match, by default newest first. Unknown parameters are ignored."""
    return ok(await _list(request, runtime, lambda entries, rest: EventPage(events=entries, **rest), 1_000))


async def _list(
    request: Request, runtime: Runtime, page_of: Callable[[list[LogEntryObject], NextPage], T], default: int
) -> T | GroupedLogPage:
    given = query_parameters(request)
    runtime.note_warnings([f"unknown parameter {name} is ignored" for name in given if name not in _KNOWN])
    parameters = {name: values for name, values in given.items() if name in _KNOWN}
    trim = whole_number(parameters, "trimBody", least=-1, most=2**31)
    if "groupBy" in parameters:
        return await _grouped(runtime, parameters, trim)
    found = await _read(runtime, LOGS.page, parameters, default=default)
    return page_of([log_view(entry, trim=trim) for entry in found.items], next_page(found))


async def _grouped(runtime: Runtime, parameters: Parameters, trim: int | None) -> GroupedLogPage:
    if parameters["groupBy"] != ["messageId"]:
        raise InvalidInput(f"invalid groupBy {parameters['groupBy'][-1]!r}: expected messageId")
    found = await _read(runtime, list_logs_by_message, parameters, default=_DEFAULT_GROUPS)
    messages = [
        MessageLogs(messageId=entries[0].message.id, events=[log_view(entry, trim=trim) for entry in entries])
        for entries in found.items
    ]
    return GroupedLogPage(messages=messages, **next_page(found))


async def _read(
    runtime: Runtime, query: Callable[..., Found[T]], parameters: Parameters, *, default: int
) -> Found[T]:
    wanted = read_filter(LogQuery, parameters)
    select = partial(
        query, tenant_id=runtime.tenant.id, page=read_page(parameters, default=default, most=_MOST)
    )
    found = await runtime.read(partial(select, wanted=wanted))
    split = wanted if found.items else read_filter(LogQuery, parameters, splits_all=True)
    return found if split == wanted else await runtime.read(partial(select, wanted=split))
