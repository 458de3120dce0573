"""Taking messages back (contract 5.8)."""

from collections.abc import Iterable

from emulator.broker.message import AttemptResult, Pending, State
from emulator.broker.schedule_runs import note_cancelled
from emulator.broker.state import BrokerState
from emulator.broker.transitions import Event
from emulator.broker.writes import CancelNoted


def cancel(state: BrokerState, candidates: Iterable[Pending], now_at: int) -> int:
    """Cancel those of ``candidates`` that are still unfinished; how many that were.

    ``candidates`` are as the store has them, which may be behind: a message that finished meanwhile, or whose
    cancel was already asked for, does not count.
    """
    cancelled = [candidate.seq for candidate in candidates if _cancel_one(state, candidate, now_at)]
    note_cancelled(state, (seq for seq in cancelled if seq not in state.active))
    return len(cancelled)


def withdraw(state: BrokerState, candidates: Iterable[Pending], now_at: int) -> None:
    """Take messages back on a layer's behalf: nobody asked to cancel them, they have become pointless.

    An attempt under way is not aborted; if it fails, nothing follows from it.
    """
    for candidate in candidates:
        pending = _find(state, candidate)
        if pending is not None:
            _take_back(state, pending, now_at)


def refuse(state: BrokerState, pending: Pending, result: AttemptResult, now_at: int) -> None:
    """Have a layer's new message fail for good without being sent; ``result`` says why."""
    state.timeline.remove(pending.seq)
    state.lanes.withdraw(pending)
    state.move(pending, Event.ATTEMPT_STARTED, now_at)
    state.finish(pending, Event.FAILED_FOR_GOOD, now_at, result=result)


def _cancel_one(state: BrokerState, candidate: Pending, now_at: int) -> bool:
    pending = _find(state, candidate)
    if pending is None:
        return False
    state.log(pending.seq, State.CANCEL_REQUESTED, now_at, retried=pending.retried)
    _take_back(state, pending, now_at)
    return True


def _find(state: BrokerState, candidate: Pending) -> Pending | None:
    """The unfinished message that ``candidate`` tells of, unless its cancel was asked for already."""
    pending = state.find(candidate.seq, candidate.lane, candidate.queue_name)
    if pending is None and state.is_left_to_store(candidate):
        pending = candidate
    return None if pending is None or pending.is_cancel_requested else pending


def _take_back(state: BrokerState, pending: Pending, now_at: int) -> None:
    if pending.seq in state.active:
        pending.is_cancel_requested = True
        state.write(CancelNoted(pending.seq))
    else:
        state.timeline.remove(pending.seq)
        state.lanes.withdraw(pending)
        state.finish(pending, Event.CANCELED, now_at)
