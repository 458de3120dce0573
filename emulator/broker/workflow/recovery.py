"""Taking up the runs that an earlier process left."""

from collections import deque
from dataclasses import dataclass

from emulator.broker.message import Pending
from emulator.broker.workflow.run import ActiveRun, Run, StoredEvent, Waiter
from emulator.broker.workflow.state import WorkflowState


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """The active runs of a tenant: each with its next position, its unfinished messages, waiters and stored events."""

    runs: list[tuple[Run, int]]
    pending: list[tuple[int, Pending]]
    waiters: list[Waiter]
    events: list[StoredEvent]


def restore(state: WorkflowState, snapshot: RunSnapshot) -> None:
    """Fill an empty state. ``pending`` pairs a run's seq with one of its messages; the broker has them already."""
    for run, next_position in snapshot.runs:
        state.add(ActiveRun(run, next_position))
    for run_seq, pending in snapshot.pending:
        if (active := state.by_seq(run_seq)) is not None:
            active.pending[pending.seq] = pending
    for waiter in snapshot.waiters:
        if (active := state.by_seq(waiter.run_seq)) is not None:
            state.restore_waiter(active, waiter)
    for event in snapshot.events:
        if (active := state.by_seq(event.run_seq)) is not None:
            active.events.setdefault(event.event_id, deque()).append(event)
