"""Operations on schedules: create, fire, pause, delete (contract 2.6 and 5.4)."""

from collections.abc import Sequence
from dataclasses import replace

from emulator.broker.message import Accepted, Draft
from emulator.broker.publishing import publish
from emulator.broker.resources import Schedule
from emulator.broker.schedule_runs import IN_PROGRESS
from emulator.broker.state import BrokerState
from emulator.broker.writes import DeduplicationKept, ScheduleDeleted, ScheduleSaved
from emulator.errors import EmulatorError, NotFound, QuotaExceeded
from emulator.wire.cron import Cron
from emulator.wire.deduplication import WINDOW_MS
from emulator.wire.destination import Destination, DestinationKind, parse_destination
from emulator.wire.headers import Headers
from emulator.wire.options import PublishOptions, parse_options


def save_schedule(
    state: BrokerState,
    now_at: int,
    *,
    schedule_id: str | None,
    cron: Cron,
    destination: str,
    query: str,
    lines: Headers,
    body: bytes,
    caller_ip: str | None,
    deduplication_key: str | None = None,
) -> tuple[str, bool]:
    """Create a schedule, or replace all settings of the one with that id except its creation time and pause.

    Return its id, and whether ``deduplication_key`` has made one before: nothing changes then, even if that schedule
    has been deleted meanwhile (contract 5.4). The caller has validated ``lines``. Raises QuotaExceeded for one
    schedule too many.
    """
    # Schedules and messages may have the same publisher's id without being duplicates of each other.
    key = None if deduplication_key is None else f"schedule:{deduplication_key}"
    kept = state.deduplications.get(key) if key is not None else None
    if kept is not None and kept.expires_at > now_at:
        return kept.message_id, True
    known = state.schedules.get(schedule_id) if schedule_id else None
    if known is None and len(state.schedules) >= state.limits.max_schedules:
        raise QuotaExceeded("quota maxSchedules exceeded", hint=f"at most {state.limits.max_schedules}")
    schedule = Schedule(
        id=schedule_id or state.ids.schedule_id(),
        cron=cron.text,
        destination=destination,
        query=query,
        lines=lines,
        body_seq=state.next_seq() if body else None,
        caller_ip=caller_ip,
        created_at=known.created_at if known else now_at,
        is_paused=known.is_paused if known else False,
        next_at=cron.next_after(now_at),
    )
    _save(state, schedule, body or None)
    if key is not None:
        made = DeduplicationKept(key, schedule.id, destination, now_at + WINDOW_MS)
        state.remember_deduplication(made, now_at)
        state.write(made)
    return schedule.id, False


def fire(state: BrokerState, now_at: int, *, schedule_id: str) -> bool:
    """Publish the schedule's message if its time has come; return whether it had.

    Times that passed while the server did not run (a closed laptop) fire once, together.
    """
    schedule = state.schedules.get(schedule_id)
    if schedule is None or schedule.is_paused or schedule.next_at is None or schedule.next_at > now_at:
        return False
    error: str | None = None
    made: list[Accepted] = []
    try:
        made = publish(state, _draft(state, schedule), now_at)
    except EmulatorError as reason:
        error = str(reason)
    next_at = Cron.parse(schedule.cron).next_after(now_at)
    _save_run(state, replace(schedule, next_at=next_at, error=error), made, now_at)
    return True


def fire_due(state: BrokerState, now_at: int, *, most: int) -> int:
    """Fire up to ``most`` of the schedules whose time has come, in order of time; return how many fired."""
    fired = 0
    while fired < most and (schedule_id := state.due_schedules.pop_due(now_at)) is not None:
        fired += fire(state, now_at, schedule_id=schedule_id)
    return fired


def run_now(state: BrokerState, now_at: int, *, schedule_id: str) -> list[str]:
    """Publish the schedule's message now, in addition to its cron times, even while it is paused.

    Its next time stays. Return the new message ids. Raises NotFound, or an error of publishing.
    """
    schedule = find_schedule(state, schedule_id)
    made = publish(state, _draft(state, schedule), now_at)
    _save_run(state, replace(schedule, error=None), made, now_at)
    return [one.message_id for one in made]


def pause_schedule(state: BrokerState, now_at: int, *, schedule_id: str, is_paused: bool) -> None:
    """Pause, or resume at the next time after now; times that passed meanwhile do not fire. Raises NotFound."""
    schedule = find_schedule(state, schedule_id)
    if schedule.is_paused == is_paused:
        return
    next_at = schedule.next_at if is_paused else Cron.parse(schedule.cron).next_after(now_at)
    _save(state, replace(schedule, is_paused=is_paused, next_at=next_at))


def delete_schedule(state: BrokerState, now_at: int, *, schedule_id: str) -> None:
    """Delete a schedule; its messages stay. Raises NotFound."""
    find_schedule(state, schedule_id)
    del state.schedules[schedule_id]
    state.last_runs.forget(schedule_id)
    state.write(ScheduleDeleted(schedule_id))


def find_schedule(state: BrokerState, schedule_id: str) -> Schedule:
    """Return the schedule of that id. Raise NotFound."""
    schedule = state.schedules.get(schedule_id)
    if schedule is None:
        raise NotFound(f"schedule {schedule_id} not found")
    return schedule


def read_schedule_options(
    state: BrokerState, destination: Destination, sources: Sequence[Headers]
) -> PublishOptions:
    """Return a schedule's present options: its own lines, then its URL group's defaults."""
    group = state.groups.get(destination.value) if destination.kind is DestinationKind.URL_GROUP else None
    defaults = group.headers if group else ()
    options = parse_options(*sources, defaults, limits=state.limits)
    # Every firing is a new message, which only a delay can postpone (contract 5.4 and U12).
    return replace(options, deduplication_id=None, content_based_deduplication=False, not_before_at=None)


def _draft(state: BrokerState, schedule: Schedule) -> Draft:
    destination = parse_destination(schedule.destination, schedule.query)
    return Draft(
        destination=destination,
        options=read_schedule_options(state, destination, [schedule.lines]),
        body=b"",
        stored_body_seq=schedule.body_seq,
        caller_ip=schedule.caller_ip,
        schedule_id=schedule.id,
    )


def _save_run(state: BrokerState, schedule: Schedule, made: Sequence[Accepted], now_at: int) -> None:
    states = {one.message_id: IN_PROGRESS for one in made}
    state.last_runs.put(schedule.id, {one.seq: one.message_id for one in made})
    _save(state, replace(schedule, last_at=now_at, last_states=states))


def _save(state: BrokerState, schedule: Schedule, body: bytes | None = None) -> None:
    state.put_schedule(schedule)
    state.write(ScheduleSaved(schedule, body))
