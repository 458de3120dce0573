"""Taking messages back (contract, 5.8)."""

from collections.abc import Iterable

from emulator.broker.message import Pending, State
from emulator.broker.state import BrokerState
from emulator.broker.transitions import Event
from emulator.broker.writes import CancelNoted


def cancel(state: BrokerState, candidates: Iterable[Pending], now_at: int) -> int:
    """Cancel those of ``candidates`` that are still unfinished; how many that were.

    ``candidates`` are as the store has them, which may be behind: a message that finished meanwhile, or whose
    cancel was already asked for, does not count.
    """
    return sum(_cancel_one(state, candidate, now_at) for candidate in candidates)


def _cancel_one(state: BrokerState, candidate: Pending, now_at: int) -> bool:
    pending = state.find(candidate.seq, candidate.lane, candidate.queue_name)
    is_left_to_store = candidate.queue_name is None and state.timeline.is_beyond_horizon(
        candidate.due_at, candidate.seq
    )
    if pending is None and is_left_to_store:
        pending = candidate
    if pending is None or pending.is_cancel_requested:
        return False
    state.log(pending.seq, State.CANCEL_REQUESTED, now_at, retried=pending.retried)
    if pending.seq in state.active:
        pending.is_cancel_requested = True
        state.write(CancelNoted(pending.seq))
    else:
        state.timeline.remove(pending.seq)
        state.lanes.withdraw(pending)
        state.finish(pending, Event.CANCELED, now_at)
    return True
