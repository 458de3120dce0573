"""The values of workflows: runs, their logs, waits and failures. Instants are unix milliseconds."""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from emulator.broker.message import AttemptResult, Message, Pending
from emulator.broker.retry import Decision
from emulator.broker.workflow.note import MessageNote
from emulator.wire.headers import Headers
from emulator.wire.workflow import CallType, Step


class RunState(StrEnum):
    """A run's state, as on the wire (contract W1)."""

    STARTED = "RUN_STARTED"
    SUCCESS = "RUN_SUCCESS"
    FAILED = "RUN_FAILED"
    CANCELED = "RUN_CANCELED"


class CallbackState(StrEnum):
    """The state of a failed run's failure callback (contract W6.3)."""

    IN_PROGRESS = "CALLBACK_INPROGRESS"
    SUCCESS = "CALLBACK_SUCCESS"
    FAIL = "CALLBACK_FAIL"
    CANCELED = "CALLBACK_CANCELED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoker:
    """The run that waits for this one, and the message that will report to it (contract W5.7)."""

    run_id: str
    run_created_at: int
    url: str
    headers: Headers
    step: Step
    depth: int = 1
    """Number of runs above the invoked one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run's beginning. ``seq`` tells runs of the same id apart; ``configuration`` are the trigger's header lines
    that later messages inherit. ``init_seq`` and ``init_message_id`` name the message of the initial payload.
    """

    seq: int
    id: str
    url: str
    created_at: int
    init_seq: int
    init_message_id: str
    configuration: Headers = ()
    features: frozenset[str] = frozenset()
    labels: tuple[str, ...] = ()
    caller_ip: str | None = None
    flow_key: str | None = None
    invoker: Invoker | None = None
    is_unknown_sdk: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A message of a run in the order of publishing.

    ``body`` is what was published, for steps; of other messages the broker keeps the body. Only steps are delivered
    as parts of the list.
    """

    run_seq: int
    position: int
    message_seq: int
    message_id: str
    call_type: CallType
    created_at: int
    body: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiter:
    """A run that waits for an event until ``deadline_at``; ``step`` is what resumes it, once completed.

    ``headers`` are those of the message that will resume it.
    """

    seq: int
    run_seq: int
    event_id: str
    url: str
    headers: Headers
    timeout: str
    timeout_url: str
    step: Step
    registered_at: int
    deadline_at: int
    caller_ip: str | None = None

    @property
    def step_key(self) -> tuple[object, object]:
        """Return the key that distinguishes a run's steps; a wait that is registered again has the same key."""
        return self.step.get("stepId"), self.step.get("targetStep")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event that arrived before a wait for it; the run's next wait consumes it."""

    seq: int
    run_seq: int
    event_id: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a run failed: the message, its last answer, and the seqs of other open messages, for a resume."""

    dlq_id: str
    message_seq: int
    retried: int
    failed_at: int
    result: AttemptResult
    open_seqs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCallback:
    """The state of a failed run's failure callback, with its last answer."""

    message_seq: int
    message_id: str
    url: str
    max_retries: int
    state: CallbackState = CallbackState.IN_PROGRESS
    result: AttemptResult | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded:
    """An attempt for a message of a run is over.

    ``retried`` counts the retries made before it. The message has made its move already: it is delivered, failed,
    or due again, ``pending`` being its unfinished self then. ``decision`` is ``None`` when the message had been
    taken back while the attempt was under way, and the attempt failed.
    """

    message: Message
    pending: Pending
    body: bytes
    result: AttemptResult
    retried: int
    decision: Decision | None


def note_of(message: Message) -> MessageNote:
    """Return the note of a run's message."""
    assert message.note is not None
    return message.note


@dataclass(slots=True)
class ActiveRun:
    """The data of an active run that is kept in memory."""

    run: Run
    next_position: int = 0
    steps: int = 0
    """Number of step results in the log."""
    context_bytes: int = 0
    """Bytes of the initial payload and the results."""
    ends_with_step_config: bool = False
    """Whether the last published message was a step config."""
    pending: dict[int, Pending] = field(default_factory=dict)
    waiters: dict[int, Waiter] = field(default_factory=dict)
    events: dict[str, deque[StoredEvent]] = field(default_factory=dict)
