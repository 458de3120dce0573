"""Schedules with their next and past firings, and firing one by hand."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response

from emulator.broker.resources import Schedule
from emulator.broker.schedule_operations import find_schedule, run_now
from emulator.http.dashboard import models
from emulator.http.dashboard.messages import summary_view
from emulator.http.routing import JsonAnswer, ok, path_name
from emulator.http.wire_objects import schedule_view
from emulator.runtime import Runtime
from emulator.store.dashboard_queries import Summary, summaries
from emulator.store.filters import Filter, Page
from emulator.store.queries import load_body
from emulator.store.store import SqlStore
from emulator.wire.cron import Cron

_FIRINGS = 200
_STRIP_MS = 7 * 86_400_000
_LISTED_FIRINGS = 10
_HISTORY = 50


async def list_schedules(request: Request, runtime: Runtime) -> JsonAnswer[models.ScheduleList]:
    """List all schedules, the next to fire first."""
    now_at = runtime.clock.now_at()
    schedules = sorted(
        runtime.broker.state.schedules.values(),
        key=lambda one: (one.is_paused, one.next_at is None, one.next_at, one.id),
    )
    bodies = await runtime.read(partial(_bodies, schedules))
    return ok(
        models.ScheduleList(schedules=[_view(one, bodies[one.id], now_at) for one in schedules], now=now_at)
    )


async def get_schedule(request: Request, runtime: Runtime) -> JsonAnswer[models.ScheduleStory]:
    """Return one schedule with its messages, newest first."""
    now_at = runtime.clock.now_at()
    schedule = find_schedule(runtime.broker.state, path_name(request, "schedule_id"))
    active = frozenset(runtime.broker.state.pending.active)

    def select(store: SqlStore) -> tuple[bytes, list[Summary]]:
        wanted = Filter(schedule_ids=(schedule.id,))
        made = summaries(active).page(store, runtime.tenant.id, wanted, Page(count=_HISTORY))
        return _bodies([schedule], store)[schedule.id], made.items

    body, made = await runtime.read(select)
    return ok(
        models.ScheduleStory(
            **_view(schedule, body, now_at), history=[summary_view(one) for one in made], now=now_at
        )
    )


async def fire_now(request: Request, runtime: Runtime) -> Response:
    """Publish the schedule's message now; its next time stays the same."""
    schedule_id = path_name(request, "schedule_id")
    message_ids = await runtime.change(partial(run_now, schedule_id=schedule_id))
    return ok({"messageIds": message_ids})


def next_firings(schedule: Schedule, now_at: int) -> list[int]:
    """Return the fire times (unix ms) of the next seven days: at least ten and at most 200, if there are that many."""
    cron = Cron.parse(schedule.cron)
    firings: list[int] = []
    next_at = schedule.next_at
    if schedule.is_paused:
        next_at = cron.next_after(now_at)
    while next_at is not None and len(firings) < _FIRINGS:
        if len(firings) >= _LISTED_FIRINGS and next_at > now_at + _STRIP_MS:
            break
        firings.append(next_at)
        next_at = cron.next_after(next_at)
    return firings


def _view(schedule: Schedule, body: bytes, now_at: int) -> models.ScheduleFirings:
    zone = Cron.parse(schedule.cron).zone
    firings = next_firings(schedule, now_at)
    return models.ScheduleFirings(
        schedule=schedule_view(schedule, body),
        zone=zone.key,
        firings=firings,
        firingsLocal=[_local(at, zone) for at in firings],
        offsetMs=_offset_ms(now_at, zone),
        shortestGapMs=min((later - earlier for earlier, later in pairwise(firings)), default=None),
    )


def _local(at: int, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(zone).isoformat(timespec="minutes")


def _offset_ms(at: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(at / 1000, UTC).astimezone(zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds() * 1000)


def _bodies(schedules: Sequence[Schedule], store: SqlStore) -> dict[str, bytes]:
    return {one.id: b"" if one.body_seq is None else load_body(store, one.body_seq) for one in schedules}
