"""The workflow state of a tenant's broker: the active runs, and the waiters with their events and deadlines."""

import heapq
from typing import TYPE_CHECKING

from emulator.broker.workflow.run import ActiveRun, Waiter
from emulator.broker.workflow.writes import WaiterAdded, WaiterRemoved
from emulator.errors import InvalidInput

if TYPE_CHECKING:
    from emulator.broker.state import BrokerState


class WorkflowState:
    """The workflow state of one tenant; messages and writes go through the broker's own state."""

    def __init__(self, broker: "BrokerState") -> None:
        self.broker = broker
        self.forget_all()

    def forget_all(self) -> None:
        """Clear the state."""
        self.runs: dict[str, ActiveRun] = {}
        self._by_seq: dict[int, ActiveRun] = {}
        self._waiters: dict[str, dict[int, Waiter]] = {}
        self._deadlines: list[tuple[int, int, str]] = []

    def add(self, active: ActiveRun) -> None:
        """Add a run that has started."""
        self.runs[active.run.id] = active
        self._by_seq[active.run.seq] = active

    def by_seq(self, run_seq: int) -> ActiveRun | None:
        """Return the run, unless it has ended."""
        return self._by_seq.get(run_seq)

    def active(self, run_id: str) -> ActiveRun:
        """Return the run that a message belongs to. Raises InvalidInput if it has ended or never existed.

        Only this may be answered 400: to the SDKs it means that the run has ended (contract W9).
        """
        active = self.runs.get(run_id)
        if active is None:
            raise InvalidInput(f"can not append to a a cancelled workflow: run {run_id} is not active")
        return active

    def forget(self, active: ActiveRun) -> None:
        """Remove an ended run; its waiters stay in the store only, for its log and a resume."""
        del self.runs[active.run.id]
        del self._by_seq[active.run.seq]
        for waiter in active.waiters.values():
            self._unlist(waiter)

    def add_waiter(self, active: ActiveRun, waiter: Waiter) -> None:
        """Add and store a new waiter."""
        self.restore_waiter(active, waiter)
        self.broker.write(WaiterAdded(waiter))

    def restore_waiter(self, active: ActiveRun, waiter: Waiter) -> None:
        """Add a waiter from the store."""
        active.waiters[waiter.seq] = waiter
        self._waiters.setdefault(waiter.event_id, {})[waiter.seq] = waiter
        heapq.heappush(self._deadlines, (waiter.deadline_at, waiter.seq, waiter.event_id))

    def remove_waiter(self, waiter: Waiter) -> None:
        """Remove a waiter that got its event or timed out."""
        self._by_seq[waiter.run_seq].waiters.pop(waiter.seq, None)
        self._unlist(waiter)
        self.broker.write(WaiterRemoved(waiter.seq))

    def waiters_of(self, event_id: str) -> list[Waiter]:
        """Return all waiters of an event, oldest first."""
        return [waiter for _, waiter in sorted(self._waiters.get(event_id, {}).items())]

    def take_expired(self, now_at: int) -> Waiter | None:
        """Return the expired waiter with the earliest deadline, or ``None``."""
        due_at = self.next_deadline_at()
        if due_at is None or due_at > now_at:
            return None
        _, seq, event_id = heapq.heappop(self._deadlines)
        return self._waiters[event_id][seq]

    def next_deadline_at(self) -> int | None:
        """Return the earliest deadline of all waiters, or ``None``."""
        while self._deadlines:
            deadline_at, seq, event_id = self._deadlines[0]
            if seq in self._waiters.get(event_id, {}):
                return deadline_at
            heapq.heappop(self._deadlines)
        return None

    def _unlist(self, waiter: Waiter) -> None:
        waiting = self._waiters.get(waiter.event_id, {})
        waiting.pop(waiter.seq, None)
        if not waiting:
            self._waiters.pop(waiter.event_id, None)
