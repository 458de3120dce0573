"""Schedules (contract 2.6)."""

from collections.abc import Iterator
from functools import partial

from starlette.requests import Request
from starlette.routing import BaseRoute

from emulator.broker.publishing import deduplication_key
from emulator.broker.resources import Schedule
from emulator.broker.schedule_operations import (
    delete_schedule,
    find_schedule,
    pause_schedule,
    read_schedule_options,
    save_schedule,
)
from emulator.errors import InvalidInput
from emulator.http.models import schedules as models
from emulator.http.models.common import Empty
from emulator.http.models.publishing import ScheduleCreated
from emulator.http.openapi_types import ANY_BYTES, Operation
from emulator.http.request_parsing import header_lines, read_body
from emulator.http.routing import JsonAnswer, caller_ip, done, ok, path_name, raw_query, route
from emulator.http.wire_objects import schedule_view
from emulator.runtime import Runtime
from emulator.store.queries import load_body
from emulator.wire.cron import Cron
from emulator.wire.destination import parse_destination, split_target
from emulator.wire.headers import Headers, first_value
from emulator.wire.options import parse_options


def routes() -> list[BaseRoute]:
    pausing, known = ["PATCH", "POST"], Operation(errors=(404,))
    return [
        route("/v2/schedules", "GET", list_schedules, Operation()),
        # Before create: "id/pause" also looks like a destination (contract 2.6).
        route("/v2/schedules/{schedule_id}/pause", pausing, partial(set_paused, is_paused=True), known),
        route("/v2/schedules/{schedule_id}/resume", pausing, partial(set_paused, is_paused=False), known),
        route(
            "/v2/schedules/{destination:path}",
            "POST",
            create,
            Operation(
                further={202: ScheduleCreated},
                body=ANY_BYTES,
                takes_options=True,
                errors=(400, 404, 412, 413),
            ),
        ),
        route("/v2/schedules/{schedule_id}", "GET", get, Operation(errors=(404,))),
        route("/v2/schedules/{schedule_id}", "DELETE", delete, known),
    ]


async def create(request: Request, runtime: Runtime) -> JsonAnswer[ScheduleCreated]:
    """Create a schedule, or overwrite the one that ``Upstash-Schedule-Id`` names."""
    body = await read_body(request, limit=runtime.limits.max_body_bytes)
    target = request.path_params["destination"]
    return await save_schedule_from(
        runtime, target, raw_query(request), header_lines(request), body, caller_ip(request), None
    )


async def save_schedule_from(
    runtime: Runtime,
    target: str,
    query: str,
    lines: Headers,
    body: bytes,
    ip: str | None,
    queue_name: str | None,
) -> JsonAnswer[ScheduleCreated]:
    """Create from a request, whichever endpoint it came by; answers ``{"scheduleId"}``."""
    raw, kept, parameters = split_target(target, query)
    destination = parse_destination(raw, kept)
    await runtime.check_reachable(destination)
    if queue_name is not None:
        parameters = [("upstash-queue-name", queue_name), *parameters]
    options = read_schedule_options(runtime.broker.state, destination, [lines, tuple(parameters)])
    runtime.note_warnings((*options.warnings, *_ignored((*lines, *parameters))))
    if options.cron is None:
        raise InvalidInput("Invalid cron expression empty spec string")
    kept_lines = _kept_lines(lines, is_copying=_copies_headers(lines, parameters))
    key = deduplication_key(parse_options(lines, parameters, limits=runtime.limits), destination.value, body)
    schedule_id, is_duplicate = await runtime.change(
        partial(
            save_schedule,
            deduplication_key=key,
            schedule_id=options.schedule_id,
            cron=Cron.parse(options.cron),
            destination=raw,
            query=kept,
            lines=(*kept_lines, *_uncovered(parameters, kept_lines)),
            body=body,
            caller_ip=ip,
        )
    )
    return ok({"scheduleId": schedule_id}, status=202 if is_duplicate else 200)


async def list_schedules(request: Request, runtime: Runtime) -> JsonAnswer[list[models.ScheduleObject]]:
    """List all schedules."""
    schedules = sorted(runtime.broker.state.schedules.values(), key=lambda one: (one.created_at, one.id))
    return ok([await _view(runtime, schedule) for schedule in schedules])


async def get(request: Request, runtime: Runtime) -> JsonAnswer[models.ScheduleObject]:
    """Get one schedule."""
    schedule = find_schedule(runtime.broker.state, path_name(request, "schedule_id"))
    return ok(await _view(runtime, schedule))


async def delete(request: Request, runtime: Runtime) -> JsonAnswer[Empty]:
    """Delete a schedule. The messages it published remain."""
    await runtime.change(partial(delete_schedule, schedule_id=path_name(request, "schedule_id")))
    return done()


async def set_paused(request: Request, runtime: Runtime, *, is_paused: bool) -> JsonAnswer[Empty]:
    """Pause or resume."""
    schedule_id = path_name(request, "schedule_id")
    await runtime.change(partial(pause_schedule, schedule_id=schedule_id, is_paused=is_paused))
    return done()


async def _view(runtime: Runtime, schedule: Schedule) -> models.ScheduleObject:
    body_seq = schedule.body_seq
    body = b"" if body_seq is None else await runtime.read(lambda store: load_body(store, body_seq))
    return schedule_view(schedule, body)


def _ignored(lines: Headers) -> Iterator[str]:
    """What says nothing about a schedule: only a delay can put its messages off."""
    if first_value(lines, "Upstash-Not-Before"):
        yield "Upstash-Not-Before is ignored for a schedule"


def _copies_headers(lines: Headers, parameters: list[tuple[str, str]]) -> bool:
    flag = first_value((*lines, *parameters), "Upstash-Header-Forward")
    return flag is not None and flag.strip().lower() == "true"


def _kept_lines(lines: Headers, *, is_copying: bool) -> Headers:
    """The lines that say something about the schedule; the request's own only if they are to be copied."""

    def is_kept(name: str) -> bool:
        if name.startswith("upstash-"):
            return not name.startswith("upstash-telemetry-")
        return is_copying or name == "content-type"

    return tuple((name, value) for name, value in lines if is_kept(name.lower()))


def _uncovered(parameters: list[tuple[str, str]], lines: Headers) -> Headers:
    """Query parameters that no header line overrides: a header wins (contract 3.1)."""
    given = {name.lower() for name, value in lines if value.strip()}
    return tuple((name, value) for name, value in parameters if name not in given)
