"""Waits, events and webhooks of runs (contract W5.5 and W5.6)."""

import base64
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from emulator.broker.workflow import events
from emulator.broker.workflow.events import NewWait, Notified
from emulator.broker.workflow.run import Waiter
from emulator.errors import EmulatorError, InvalidInput, NotFound
from emulator.http.errors import error_response
from emulator.http.models.common import Empty
from emulator.http.models.workflow import NotifiedObject, WaiterObject, Waiting, WaitRequest
from emulator.http.openapi_types import ANY_BYTES, Operation, summary_of
from emulator.http.request_parsing import header_lines, parse_json, read_body
from emulator.http.routing import JsonAnswer, TargetRoute, caller_ip, done, ok, path_name, raw_query, route
from emulator.http.v2.workflow_publishing import state_of
from emulator.runtime import Runtime
from emulator.server import Emulator
from emulator.wire.destination import check_text
from emulator.wire.headers import header_map
from emulator.wire.workflow import PREFIX, compact_json


def routes() -> list[BaseRoute]:
    return [
        route(
            "/v2/wait/{event_id:path}",
            "POST",
            wait,
            Operation(body=WaitRequest, errors=(400, 412, 413)),
        ),
        route(
            "/v2/notify/{event_id:path}",
            "POST",
            notify,
            Operation(body=ANY_BYTES, errors=(400, 404, 413)),
        ),
        route(
            "/v2/waiters/{event_id:path}",
            "GET",
            list_waiters,
            Operation(errors=(400,)),
        ),
        _hook_route(),
    ]


async def wait(request: Request, runtime: Runtime) -> JsonAnswer[Waiting]:
    """Register a run's wait for an event."""
    body = await read_body(request, limit=runtime.limits.max_body_bytes, what="wait")
    fields = parse_json(body, what="wait", allows_nul=True)
    if not isinstance(fields, dict):
        raise InvalidInput("invalid wait: expected a JSON object with url, timeout and step")
    asked = NewWait(
        event_id=path_name(request, "event_id"),
        fields=fields,
        lines=header_lines(request),
        caller_ip=caller_ip(request),
    )
    state = state_of(runtime)
    message_id = await runtime.change(lambda _broker, now_at: events.wait(state, asked, now_at))
    return ok(Waiting(messageId=message_id))


async def notify(request: Request, runtime: Runtime) -> JsonAnswer[list[NotifiedObject]]:
    """Send an event to all runs that wait for it; with a run id before its own, to that run, now or when it waits."""
    data = await read_body(request, limit=runtime.limits.max_body_bytes, what="event")
    raw: str = request.path_params["event_id"]
    run_id, slash, event_id = raw.partition("/")
    if run_id.startswith(PREFIX) and slash and event_id:
        return await _notify_run(runtime, unquote(run_id), _name(event_id), data)
    state, name = state_of(runtime), _name(raw)
    notified = await runtime.change(lambda _broker, now_at: events.notify(state, name, data, now_at))
    return ok(_notified_views(notified))


async def _notify_run(
    runtime: Runtime, run_id: str, event_id: str, data: bytes
) -> JsonAnswer[list[NotifiedObject]]:
    state = state_of(runtime)
    notified = await runtime.change(
        lambda _broker, now_at: events.notify_run(state, run_id, event_id, data, now_at)
    )
    return ok(_notified_views(notified))


async def list_waiters(request: Request, runtime: Runtime) -> JsonAnswer[list[WaiterObject]]:
    """List the runs that wait for an event."""
    waiters = state_of(runtime).waiters_of(path_name(request, "event_id"))
    return ok([waiter_view(waiter) for waiter in waiters])


def _name(raw: str) -> str:
    return check_text(unquote(raw), what="event id")


def waiter_view(waiter: Waiter) -> WaiterObject:
    """Return a waiter; its deadline is in unix seconds."""
    headers = header_map(waiter.headers)
    return {
        "url": waiter.url,
        "headers": headers,
        "deadline": waiter.deadline_at // 1000,
        "timeoutUrl": waiter.timeout_url,
        "timeoutHeaders": headers,
        "timeoutBody": None,
    }


def _notified_views(notified: Sequence[Notified]) -> list[NotifiedObject]:
    return [
        {
            "waiter": waiter_view(one.waiter) if one.waiter else None,
            "messageId": one.message_id,
            "error": "",
            "workflowRunId": one.run.id,
            "workflowCreatedAt": one.run.created_at,
        }
        for one in notified
    ]


# Webhooks: any caller that knows the URL may call it, by any method


def _hook_route() -> TargetRoute:
    path = "/v2/workflows/hooks/{user}/{run_id}/{event_id:path}"

    async def handle(request: Request) -> Response:
        try:
            return await _hook(request)
        except EmulatorError as error:
            return error_response(error)

    said = Operation(answer=Empty, body=ANY_BYTES, is_open=True, errors=(404, 413))
    made = TargetRoute(path, handle, [], operation=said, summary=summary_of(_hook))
    made.methods = None
    return made


async def _hook(request: Request) -> JsonAnswer[Empty]:
    """Send an event to one run, by any method. The request itself is the event's data."""
    emulator: Emulator = request.app.state.emulator
    user = path_name(request, "user")
    runtime = next((one for one in emulator.runtimes if one.tenant.name == user), None)
    if runtime is None:
        raise NotFound(f"no user {user!r} has webhooks here")
    body = await read_body(request, limit=runtime.limits.max_body_bytes, what="webhook")
    return await _notify_hook(request, runtime, _hook_event(request, body))


async def _notify_hook(request: Request, runtime: Runtime, data: bytes) -> JsonAnswer[Empty]:
    await _notify_run(runtime, path_name(request, "run_id"), path_name(request, "event_id"), data)
    return done()


def _hook_event(request: Request, body: bytes) -> bytes:
    """Return the request as the SDK rebuilds it: scheme, host with port, path with query."""
    query = raw_query(request)
    fields: dict[str, Any] = {
        "method": request.method,
        "header": header_map(header_lines(request)),
        "proto": request.url.scheme,
        "host": request.headers.get("host", ""),
        "url": f"{request.scope['path']}?{query}" if query else request.scope["path"],
    }
    if body:
        fields["body"] = base64.b64encode(body).decode("ascii")
    return compact_json(fields)
