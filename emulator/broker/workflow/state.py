"""What a tenant's broker knows of workflows: the active runs, who waits for which event, and until when."""

import heapq
from typing import TYPE_CHECKING

from emulator.broker.workflow.run import ActiveRun, Waiter
from emulator.broker.workflow.writes import WaiterAdded, WaiterRemoved
from emulator.errors import InvalidInput

if TYPE_CHECKING:
    from emulator.broker.state import BrokerState


class WorkflowState:
    """The working memory of one tenant's workflows; messages and writes go through the broker's own state."""

    def __init__(self, broker: "BrokerState") -> None:
        self.broker = broker
        self.forget_all()

    def forget_all(self) -> None:
        """Start empty."""
        self.runs: dict[str, ActiveRun] = {}
        self._by_seq: dict[int, ActiveRun] = {}
        self._waiters: dict[str, dict[int, Waiter]] = {}
        self._deadlines: list[tuple[int, int, str]] = []

    def add(self, active: ActiveRun) -> None:
        """Take up a run that has started."""
        self.runs[active.run.id] = active
        self._by_seq[active.run.seq] = active

    def by_seq(self, run_seq: int) -> ActiveRun | None:
        """Return the run, unless it has ended."""
        return self._by_seq.get(run_seq)

    def active(self, run_id: str) -> ActiveRun:
        """Return the run that a message wants to join. Raise InvalidInput if it has ended or never was.

        Only this may be answered 400: to the SDKs it means that the run has ended (contract W9).
        """
        active = self.runs.get(run_id)
        if active is None:
            raise InvalidInput(f"can not append to a a cancelled workflow: run {run_id} is not active")
        return active

    def forget(self, active: ActiveRun) -> None:
        """Let go of a run that has ended; its waiters stay in the store alone, for its log and a resume."""
        del self.runs[active.run.id]
        del self._by_seq[active.run.seq]
        for waiter in active.waiters.values():
            self._unlist(waiter)

    def add_waiter(self, active: ActiveRun, waiter: Waiter) -> None:
        """Keep a waiter that is new."""
        self.restore_waiter(active, waiter)
        self.broker.write(WaiterAdded(waiter))

    def restore_waiter(self, active: ActiveRun, waiter: Waiter) -> None:
        """Take up a waiter that the store has."""
        active.waiters[waiter.seq] = waiter
        self._waiters.setdefault(waiter.event_id, {})[waiter.seq] = waiter
        heapq.heappush(self._deadlines, (waiter.deadline_at, waiter.seq, waiter.event_id))

    def remove_waiter(self, waiter: Waiter) -> None:
        """Let go of a waiter that has what it waited for, or whose time ran out."""
        self._by_seq[waiter.run_seq].waiters.pop(waiter.seq, None)
        self._unlist(waiter)
        self.broker.write(WaiterRemoved(waiter.seq))

    def waiters_of(self, event_id: str) -> list[Waiter]:
        """Return all that wait for an event, oldest first."""
        return [waiter for _, waiter in sorted(self._waiters.get(event_id, {}).items())]

    def take_expired(self, now_at: int) -> Waiter | None:
        """Return the waiter whose time ran out first, or ``None``."""
        due_at = self.next_deadline_at()
        if due_at is None or due_at > now_at:
            return None
        _, seq, event_id = heapq.heappop(self._deadlines)
        return self._waiters[event_id][seq]

    def next_deadline_at(self) -> int | None:
        """Return when the next waiter's time runs out."""
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
