"""Bringing the next attempt forward, as an owner who looks at a waiting message may ask for."""

from collections.abc import Iterable

from emulator.broker.message import Pending
from emulator.broker.state import BrokerState
from emulator.broker.writes import MessageRescheduled


def expedite(state: BrokerState, candidates: Iterable[Pending], now_at: int) -> int:
    """Make those of ``candidates`` that wait for their time due at ``now_at``; how many that were.

    Only time is given up: a message still waits for its queue, its flow control and its turn. ``candidates`` are
    as the store has them, which may be behind; what is under way, finished or due already does not count.
    """
    return sum(_expedite_one(state, candidate, now_at) for candidate in candidates)


def _expedite_one(state: BrokerState, candidate: Pending, now_at: int) -> bool:
    pending = state.find(candidate.seq, candidate.lane, candidate.queue_name)
    is_left_to_store = candidate.queue_name is None and state.timeline.is_beyond_horizon(
        candidate.due_at, candidate.seq
    )
    if pending is None and is_left_to_store:
        pending = candidate
    if pending is None or pending.seq in state.active or pending.due_at <= now_at:
        return False
    waits_on_timeline = is_left_to_store or state.timeline.get(pending.seq) is not None
    state.timeline.remove(pending.seq)
    pending.due_at = now_at
    state.write(MessageRescheduled(pending.seq, now_at, pending.retried, pending.state))
    if waits_on_timeline:
        state.timeline.add(pending)
    return True
