"""Restore a broker from the store after a start."""

from dataclasses import dataclass

from emulator.broker.message import Pending
from emulator.broker.resources import FlowKey, Queue, Schedule, UrlGroup
from emulator.broker.schedule_runs import note_cancelled
from emulator.broker.state import BrokerState
from emulator.broker.transitions import Event
from emulator.broker.writes import DeduplicationKept
from emulator.wire.cron import Cron


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state that a broker needs at start. Messages without a queue stay beyond the timeline's horizon.

    ``queued`` are unfinished messages with a queue, in the order of publishing: all but those of ``crowded``, the
    names of queues whose messages stay in the store. ``slot_callbacks`` are the unfinished callbacks that hold a
    queue's slot; ``cancel_requested`` what was to be cancelled when a crash cut off the attempt; ``flow_keys`` the
    keys that are not at rest, and ``unfinished_of_keys`` how many unfinished messages each key has; ``last_runs`` the
    messages that are still in progress of each schedule's last run.
    """

    queues: list[Queue]
    groups: list[UrlGroup]
    schedules: list[Schedule]
    flow_keys: list[FlowKey]
    unfinished_of_keys: dict[str, int]
    deduplications: list[DeduplicationKept]
    queued: list[Pending]
    crowded: list[str]
    slot_callbacks: list[Pending]
    cancel_requested: list[Pending]
    last_runs: dict[str, dict[int, str]]


def restore(state: BrokerState, snapshot: Snapshot, now_at: int) -> None:
    """Restore an empty broker. An attempt that a crash cut off is due again, with the same message id."""
    for queue in snapshot.queues:
        state.add_queue(queue)
    state.groups.update((group.name, group) for group in snapshot.groups)
    for schedule in snapshot.schedules:
        Cron.parse(
            schedule.cron
        )  # parsed here so that an invalid schedule is noticed now, not at its next time
        state.put_schedule(schedule)
    state.last_runs.restore(snapshot.last_runs)
    state.deduplications.update((kept.key, kept) for kept in snapshot.deduplications)
    known = {flow_key.key: flow_key for flow_key in snapshot.flow_keys}
    for key in sorted(known.keys() | snapshot.unfinished_of_keys.keys()):
        flow_key = known.get(key) or FlowKey(key=key, used_at=now_at)
        state.lanes.add_flow_lane(flow_key, now_at, unfinished=snapshot.unfinished_of_keys.get(key, 0))
    for callback in snapshot.slot_callbacks:
        line = state.queues.get(callback.slot_queue or "")
        if line is not None and callback.slot_of is not None:
            line.hold(callback.slot_of)
    for name in snapshot.crowded:
        state.queues[name].start_cold()
        state.pending.rouse(name)
    for pending in snapshot.queued:
        state.pending.enter(pending)
    state.pending.timeline.start_cold((0, 0))
    for candidate in snapshot.cancel_requested:
        if (found := state.pending.find(candidate)) is not None:
            state.finish(found, Event.CANCELED, now_at)
    note_cancelled(state, [pending.seq for pending in snapshot.cancel_requested])
