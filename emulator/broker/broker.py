"""The interface of the state machine: each method takes an event and its time, and returns what follows."""

from emulator.broker import attempts, publishing, recovery, schedule_operations
from emulator.broker.message import Accepted, AttemptResult, Draft, Message
from emulator.broker.recovery import Snapshot
from emulator.broker.state import BrokerState
from emulator.broker.workflow import events
from emulator.broker.writes import Effects

# Bounded, so that other requests are answered between the slices of ten thousand schedules of one minute.
FIRINGS_A_STEP = 25


class Broker:
    """One tenant's broker.

    Operations of the owner (on queues, groups, schedules …) are functions on ``state``; the next ``step`` returns
    what follows from them.
    """

    def __init__(self, state: BrokerState) -> None:
        self.state = state

    def restore(self, snapshot: Snapshot, now_at: int) -> None:
        """Restore the state that an earlier process stored. Only for an empty broker."""
        recovery.restore(self.state, snapshot, now_at)

    def publish(self, draft: Draft, now_at: int) -> list[Accepted]:
        """Accept a draft and return one element for each message. Raise NotFound, InvalidInput or QuotaExceeded."""
        return publishing.publish(self.state, draft, now_at)

    def attempt_finished(self, message: Message, body: bytes, result: AttemptResult, now_at: int) -> None:
        """Record that the attempt under way for ``message`` ended with ``result``."""
        attempts.attempt_finished(self.state, message, body, result, now_at)

    def step(self, now_at: int, *, fires: bool = True) -> Effects:
        """Fire due schedules and start attempts; return everything since the last step, to be stored and sent.

        Schedules fire a slice at a time, and none unless this step ``fires``: while ``next_change_at`` is not after
        ``now_at``, another step is due.
        """
        events.expire(self.state.workflows, now_at)
        fired = schedule_operations.fire_due(self.state, now_at, most=FIRINGS_A_STEP) if fires else 0
        self.state.advance(now_at)
        effects = self.state.take_effects()
        effects.fired = fired
        return effects

    def next_due_at(self, now_at: int) -> int | None:
        """Return the next time at which something happens to a message without a further event, or ``None``."""
        return _earliest(
            self.state.pending.timeline.next_due_at(), self.state.lanes.next_reopening_at(now_at)
        )

    def next_change_at(self, now_at: int, *, fires: bool = True) -> int | None:
        """Return the next time at which a message, a run's wait or (if it ``fires``) a schedule is due."""
        return _earliest(
            self.state.pending.timeline.next_due_at(),
            self.state.lanes.next_reopening_at(now_at),
            self.state.due_schedules.next_due_at() if fires else None,
            self.state.workflows.next_deadline_at(),
        )


def _earliest(*times: int | None) -> int | None:
    return min([one for one in times if one is not None], default=None)
