"""The routes of the dashboard. All but the page's own files and its session call need a tenant's token."""

from collections.abc import Sequence
from functools import cache

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route, Router
from starlette.types import Receive, Scope, Send

from emulator.errors import EmulatorError, InvalidInput
from emulator.http.app import api_routes
from emulator.http.control.guard import check_origin, control_route, open_route, page_route
from emulator.http.dashboard import dead_letters, messages, overview, runs, schedules
from emulator.http.dashboard.feed import Feed
from emulator.http.dashboard.page import asset, front_door, page
from emulator.http.dashboard.session import session
from emulator.http.errors import error_response
from emulator.runtime import Runtime


@cache
def dashboard_routes() -> Sequence[BaseRoute]:
    """Return the routes of the page, its reads and its operations."""
    return [
        page_route("/", front_door),
        page_route("/emulator", page),
        page_route("/emulator/static/{name:path}", asset),
        open_route("/emulator/session", "GET", session),
        control_route("/emulator/events", "GET", stream),
        control_route("/emulator/overview", "GET", overview.get_overview),
        control_route("/emulator/queues", "GET", overview.get_queues),
        control_route("/emulator/messages", "GET", messages.list_messages),
        control_route("/emulator/messages/{message_id}", "GET", messages.get_message),
        control_route("/emulator/messages/{message_id}/retry-now", "POST", messages.retry_now),
        control_route("/emulator/dlq", "GET", dead_letters.list_dead_letters),
        control_route("/emulator/runs", "GET", runs.get_runs),
        control_route("/emulator/runs/{run_id}", "GET", runs.get_run),
        control_route("/emulator/runs/{run_id}/rerun", "POST", runs.rerun),
        control_route("/emulator/schedules", "GET", schedules.list_schedules),
        control_route("/emulator/schedules/{schedule_id}", "GET", schedules.get_schedule),
        control_route("/emulator/schedules/{schedule_id}/run-now", "POST", schedules.fire_now),
        Route("/emulator/v2/{rest:path}", GuardedApi()),
    ]


class GuardedApi:
    """QStash's own API under ``/emulator/v2``, with the stricter check of ``/emulator/`` (``control.guard``)."""

    def __init__(self) -> None:
        self._router = Router(list(api_routes()), redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            check_origin(Request(scope))
        except EmulatorError as error:
            await error_response(error)(scope, receive, send)
            return
        await self._router({**scope, "path": scope["path"][len("/emulator") :]}, receive, send)


async def stream(request: Request, runtime: Runtime) -> Response:
    """Server-sent events; ``Last-Event-ID`` takes up where a connection was cut."""
    last_seen = request.headers.get("last-event-id", "")
    if last_seen and not (last_seen.isascii() and last_seen.isdigit() and len(last_seen) <= 18):
        raise InvalidInput(f"invalid Last-Event-ID {last_seen!r}: expected the id of an earlier event")
    return StreamingResponse(
        Feed(runtime, int(last_seen) if last_seen else None).events(),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
