"""Taking up work after a start: from what the store kept to a broker that goes on."""

from dataclasses import dataclass

from emulator.broker.message import Pending
from emulator.broker.queues import QueueLine
from emulator.broker.resources import FlowKey, Queue, Schedule, UrlGroup
from emulator.broker.schedule_runs import note_cancelled
from emulator.broker.state import BrokerState
from emulator.broker.transitions import Event
from emulator.broker.writes import DeduplicationKept
from emulator.wire.cron import Cron


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a broker needs at start. Everything without a queue stays behind the timeline's horizon.

    ``queued`` are the unfinished messages with a queue, in the order of publishing; ``slot_callbacks`` the
    unfinished callbacks that hold a queue's slot; ``cancel_requested`` what was to be cancelled when a crash
    cut off the attempt; ``last_runs`` the messages that are still in progress of each schedule's last run.
    """

    queues: list[Queue]
    groups: list[UrlGroup]
    schedules: list[Schedule]
    flow_keys: list[FlowKey]
    deduplications: list[DeduplicationKept]
    queued: list[Pending]
    slot_callbacks: list[Pending]
    cancel_requested: list[Pending]
    last_runs: dict[str, dict[int, str]]


def restore(state: BrokerState, snapshot: Snapshot, now_at: int) -> None:
    """Fill an empty broker. An attempt that a crash cut off is due again, with the same message id."""
    state.queues.update((queue.name, QueueLine(queue)) for queue in snapshot.queues)
    state.groups.update((group.name, group) for group in snapshot.groups)
    for schedule in snapshot.schedules:
        Cron.parse(schedule.cron)  # what cannot fire is noticed now, and not when its time comes
        state.put_schedule(schedule)
    state.last_runs.update(snapshot.last_runs)
    state.deduplications.update((kept.key, kept) for kept in snapshot.deduplications)
    for flow_key in snapshot.flow_keys:
        state.lanes.add_flow_lane(flow_key)
    for callback in snapshot.slot_callbacks:
        line = state.queues.get(callback.slot_queue or "")
        if line is not None and callback.slot_of is not None:
            line.hold(callback.slot_of)
    for pending in snapshot.queued:
        state.pending.enter(pending)
    state.pending.timeline.start_cold((0, 0))
    for candidate in snapshot.cancel_requested:
        if (found := state.pending.find(candidate)) is not None:
            state.finish(found, Event.CANCELED, now_at)
    note_cancelled(state, [pending.seq for pending in snapshot.cancel_requested])
