"""The layer's face to the broker, and what its callers may ask of it."""

from emulator.broker.layer import AttemptEnded
from emulator.broker.message import AttemptResult, Message
from emulator.broker.state import BrokerState
from emulator.broker.workflow import attempts, events
from emulator.broker.workflow.run import LAYER
from emulator.broker.workflow.state import WorkflowState


class WorkflowLayer:
    """One tenant's workflows. What callers ask for are functions of this package on ``state``."""

    name = LAYER

    def __init__(self, broker: BrokerState) -> None:
        self.state: WorkflowState = WorkflowState(broker)
        broker.layers[self.name] = self

    def judge(self, message: Message, result: AttemptResult) -> AttemptResult:
        return attempts.judge(message, result)

    def attempt_ended(self, ended: AttemptEnded, now_at: int) -> None:
        attempts.attempt_ended(self.state, ended, now_at)

    def advance(self, now_at: int) -> None:
        events.expire(self.state, now_at)

    def next_due_at(self) -> int | None:
        return self.state.next_deadline_at()

    def clear(self) -> None:
        self.state.forget_all()
