"""The broker's writes to the store. Writes are applied in order, all of one call or none."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emulator.broker.message import DeadLetter, LogEntry, Message, State
from emulator.broker.resources import FlowKey, Queue, Schedule, SigningKeys, UrlGroup
from emulator.broker.workflow.writes import WorkflowWrite
from emulator.wire.fast_dataclass import value

if TYPE_CHECKING:
    from emulator.broker.bulk_actions import BulkAction


@value
class MessageAccepted:
    """A new pending message, with its body unless an earlier message has the same one."""

    message: Message
    body: bytes | None


@value
class MessageRescheduled:
    """The next attempt is due at ``due_at``, after a failed one or a request to bring it forward."""

    seq: int
    due_at: int
    retried: int
    state: State = State.RETRY


@value
class MessageFinished:
    """The message reached a final state and is no longer pending."""

    seq: int
    state: State
    retried: int
    finished_at: int


@dataclass(frozen=True, slots=True)
class CancelNoted:
    """A cancel was accepted while an attempt is under way; it outlives a crash."""

    seq: int


@value
class Logged:
    """A line for the log."""

    entry: LogEntry


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """A new entry of the dead letter queue."""

    dead_letter: DeadLetter


@dataclass(frozen=True, slots=True)
class DeadLetterRemoved:
    """An entry was deleted, or published again."""

    dlq_id: str


@value
class DeduplicationKept:
    """``key`` means ``message_id`` (delivered to ``url``) until ``expires_at``."""

    key: str
    message_id: str
    url: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class QueueSaved:
    queue: Queue


@dataclass(frozen=True, slots=True)
class QueueDeleted:
    name: str


@dataclass(frozen=True, slots=True)
class UrlGroupSaved:
    group: UrlGroup


@dataclass(frozen=True, slots=True)
class UrlGroupDeleted:
    name: str


@dataclass(frozen=True, slots=True)
class ScheduleSaved:
    """``body`` is given when it is new: the schedule was created or overwritten."""

    schedule: Schedule
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class ScheduleDeleted:
    schedule_id: str


@dataclass(frozen=True, slots=True)
class BulkActionSaved:
    """An action was accepted, finished a slice, or is completed."""

    action: "BulkAction"


@value
class FlowKeySaved:
    flow_key: FlowKey


@dataclass(frozen=True, slots=True)
class FlowKeyDeleted:
    key: str


@dataclass(frozen=True, slots=True)
class KeysRotated:
    keys: SigningKeys


@dataclass(frozen=True, slots=True)
class ClockTurned:
    """The time of the tenant's manual clock (unix ms); ``None`` for the system's clock."""

    now_at: int | None


@dataclass(frozen=True, slots=True)
class Cleared:
    """Everything of this tenant but its token and keys is deleted."""


RecordWrite = (
    MessageAccepted
    | MessageRescheduled
    | MessageFinished
    | CancelNoted
    | Logged
    | DeadLettered
    | DeadLetterRemoved
    | DeduplicationKept
    | QueueSaved
    | QueueDeleted
    | UrlGroupSaved
    | UrlGroupDeleted
    | ScheduleSaved
    | ScheduleDeleted
    | FlowKeySaved
    | BulkActionSaved
    | FlowKeyDeleted
    | KeysRotated
    | ClockTurned
    | WorkflowWrite
)

Write = RecordWrite | Cleared


@value
class Attempt:
    """An attempt to start: the message's seq, and how many retries were made before."""

    seq: int
    retried: int


@dataclass(slots=True)
class Effects:
    """The effects of one step of the broker: ``attempts`` may start once ``writes`` are durable.

    ``fired`` counts the schedules that fired.
    """

    writes: list[Write] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    fired: int = 0

    @property
    def says_only_that_attempts_start(self) -> bool:
        """Return whether the writes are only the attempts' log lines, without a decision that led to them.

        A flow-control key's used rate is such a decision: if a crash lost it, the rate would be exceeded.
        """
        return all(isinstance(one, Logged) and one.entry.state is State.ACTIVE for one in self.writes)
