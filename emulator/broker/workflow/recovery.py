"""Restore the runs of an earlier process."""

from collections import deque
from dataclasses import dataclass

from emulator.broker.message import Pending
from emulator.broker.workflow.run import ActiveRun, StoredEvent, Waiter
from emulator.broker.workflow.state import WorkflowState


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """The active runs of a tenant with their logs, unfinished messages, waiters and stored events."""

    runs: list[ActiveRun]
    pending: list[tuple[int, Pending]]
    waiters: list[Waiter]
    events: list[StoredEvent]


def restore(state: WorkflowState, snapshot: RunSnapshot) -> None:
    """Restore an empty state. ``pending`` pairs a run's seq with one of its messages, which the broker already has."""
    for active in snapshot.runs:
        state.add(active)
    for run_seq, pending in snapshot.pending:
        if (known := state.by_seq(run_seq)) is not None:
            known.pending[pending.seq] = pending
    for waiter in snapshot.waiters:
        if (known := state.by_seq(waiter.run_seq)) is not None:
            state.restore_waiter(known, waiter)
    for event in snapshot.events:
        if (known := state.by_seq(event.run_seq)) is not None:
            known.events.setdefault(event.event_id, deque()).append(event)
