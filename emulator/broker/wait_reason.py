"""The text that says what an unfinished message waits for."""

from typing import NamedTuple

from emulator.broker.message import Pending
from emulator.broker.place import Place
from emulator.broker.queues import QueueLine
from emulator.broker.state import BrokerState


class Wait(NamedTuple):
    """Reason of a message's wait, and its end (unix ms) if that is known."""

    reason: str
    until_at: int | None = None


def waiting_reason(state: BrokerState, candidate: Pending, now_at: int) -> str:
    """Return the text that says what an unfinished message waits for. See ``find_wait``."""
    return find_wait(state, candidate, now_at).reason


def find_wait(state: BrokerState, candidate: Pending, now_at: int) -> Wait:
    """Return what an unfinished message waits for. ``candidate`` is from the store and may be outdated."""
    pending = state.pending.find(candidate) or candidate
    if pending.place is Place.ACTIVE:
        return Wait("an attempt is under way")
    line = state.queues.get(pending.queue_name) if pending.queue_name else None
    if line is not None and (wait := _queue_wait(line, pending)) is not None:
        return wait
    if pending.due_at > now_at:
        why = "the wait before a retry" if pending.retried else "its delay"
        return Wait(f"its time has not come: {why}", pending.due_at)
    return _lane_wait(state, pending, now_at)


def _queue_wait(line: QueueLine, pending: Pending) -> Wait | None:
    queue = line.queue
    if queue.is_paused:
        return Wait(f"queue {queue.name} is paused")
    if (ahead := line.ahead_of(pending.seq)) is not None:
        return Wait(f"{ahead} before it in queue {queue.name} (parallelism {queue.parallelism})")
    if pending.place is Place.QUEUE_OVERFLOW:
        least = line.held_count()
        return Wait(f"{least} or more before it in queue {queue.name} (parallelism {queue.parallelism})")
    if pending.place is Place.HELD_BACK:
        return Wait(f"queue {queue.name} lets no more than {queue.parallelism} start")
    return None


def _lane_wait(state: BrokerState, pending: Pending, now_at: int) -> Wait:
    lane = state.lanes.flow_lane(pending.lane.removeprefix("flow:"))
    if lane is None or lane.name != pending.lane:
        return _destination_wait(state, pending)
    key = lane.flow_key
    if key.is_paused:
        return Wait(f"flow-control key {key.key} is paused")
    if key.parallelism is not None and len(lane.in_flight) >= key.parallelism:
        return Wait(f"flow-control key {key.key} has {key.parallelism} under way, as many as it may")
    if key.rate is not None and key.count_at(now_at) >= key.rate:
        words = f"flow-control key {key.key} has used up its {key.rate} in {key.period_seconds} s"
        return Wait(words, key.period_end_at)
    return Wait(f"its turn among the messages of flow-control key {key.key}")


def _destination_wait(state: BrokerState, pending: Pending) -> Wait:
    if (limit := state.lanes.busy_limit(pending.lane)) is not None:
        return Wait(
            f"origin busy: {pending.lane} has {limit} attempts under way, as many as it may (per_origin)"
        )
    if state.lanes.in_flight >= state.lanes.capacity:
        return Wait(
            f"emulator busy: {state.lanes.capacity} attempts are under way, as many as may be (capacity)"
        )
    return Wait("its turn among the messages to its destination")
