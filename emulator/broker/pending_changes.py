"""Cancel unfinished messages (contract 5.8), or bring their next attempts forward.

``candidates`` are messages as read from the store, which may be outdated: those that have ended meanwhile do not
count.
"""

from collections.abc import Iterable, Iterator

from emulator.broker.message import AttemptResult, Pending, State
from emulator.broker.place import Place
from emulator.broker.schedule_runs import note_cancelled
from emulator.broker.state import BrokerState
from emulator.broker.transitions import Event
from emulator.broker.writes import CancelNoted, MessageRescheduled


def cancel(state: BrokerState, candidates: Iterable[Pending], now_at: int) -> int:
    """Cancel the unfinished messages among ``candidates``; return how many there were.

    A message whose cancel was requested before does not count.
    """
    cancelled: list[Pending] = []
    for pending in _open_ones(state, candidates):
        state.log(pending.seq, State.CANCEL_REQUESTED, now_at, retried=pending.retried)
        _take_back(state, pending, now_at)
        cancelled.append(pending)
    note_cancelled(state, (pending.seq for pending in cancelled if pending.place is Place.ENDED))
    return len(cancelled)


def withdraw(state: BrokerState, candidates: Iterable[Pending], now_at: int) -> None:
    """Cancel messages that have become pointless, without a request to cancel them.

    An attempt under way is not aborted; if it fails, nothing follows.
    """
    for pending in _open_ones(state, candidates):
        _take_back(state, pending, now_at)


def refuse(state: BrokerState, pending: Pending, result: AttemptResult, now_at: int) -> None:
    """Let a new message of a run fail for good without being sent; ``result`` says why."""
    state.move(pending, Event.ATTEMPT_STARTED, now_at)
    state.finish(pending, Event.FAILED_FOR_GOOD, now_at, result=result)


def expedite(state: BrokerState, candidates: Iterable[Pending], now_at: int) -> int:
    """Make the ``candidates`` that wait for their time due at ``now_at``; return how many there were.

    Only the time changes: a message still waits for its queue, its flow control and its turn.
    """
    return sum(_expedite_one(state, candidate, now_at) for candidate in candidates)


def _open_ones(state: BrokerState, candidates: Iterable[Pending]) -> Iterator[Pending]:
    for candidate in candidates:
        pending = state.pending.find(candidate)
        if pending is not None and not pending.is_cancel_requested:
            yield pending


def _take_back(state: BrokerState, pending: Pending, now_at: int) -> None:
    if pending.place is Place.ACTIVE:
        pending.is_cancel_requested = True
        state.write(CancelNoted(pending.seq))
    else:
        state.finish(pending, Event.CANCELED, now_at)


def _expedite_one(state: BrokerState, candidate: Pending, now_at: int) -> bool:
    pending = state.pending.find(candidate)
    if pending is None or not state.pending.bring_forward(pending, now_at):
        return False
    state.write(MessageRescheduled(pending.seq, now_at, pending.retried, pending.state))
    return True
