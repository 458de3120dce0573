"""Types of the dashboard's data: messages, their attempts and histories, schedules, queues.

Instants are unix milliseconds. A field without a value is left out where it is ``NotRequired``, else ``null``.
"""

from typing import Any, NotRequired

from typing_extensions import TypedDict

from emulator.broker.message import State
from emulator.http.models.common import Body
from emulator.http.models.flow_control import FlowControlKey
from emulator.http.models.messages import MessageObject
from emulator.http.models.queues import QueueObject
from emulator.http.models.schedules import ScheduleObject

Outcome = dict[str, Any]
"""As ``emulator.broker.outcome.Outcome.view`` has it."""


class SummaryFields(TypedDict):
    """A row of a list of messages. ``dueAt`` is there until it is finished."""

    seq: int
    messageId: str
    url: str
    method: str
    state: State
    createdAt: int
    retried: int
    maxRetries: int
    dueAt: NotRequired[int]
    finishedAt: NotRequired[int]
    queueName: NotRequired[str]
    scheduleId: NotRequired[str]
    topicName: NotRequired[str]
    flowControlKey: NotRequired[str]
    labels: NotRequired[list[str]]
    isCallback: NotRequired[bool]


class StandingFields(TypedDict):
    """How a message stands; ``lastStatus`` is that of its last ended attempt."""

    outcome: Outcome
    lastStatus: NotRequired[int]


class MessageRowObject(SummaryFields, StandingFields):
    """A row of the list of messages."""


class MessageList(TypedDict):
    """One page of messages; ``next`` is the ``before`` of the next one."""

    messages: list[MessageRowObject]
    total: int
    isTotalExact: bool
    now: int
    next: NotRequired[int]


class HistoryLine(TypedDict):
    """One line of a message's history."""

    time: int
    state: State
    retried: int
    nextDeliveryTime: NotRequired[int]
    error: NotRequired[str]


class SentRequest(TypedDict):
    """Request of an attempt; ``headers`` are empty unless they are kept."""

    method: str
    url: str
    headers: list[list[str]]
    isKept: bool


class Signature(TypedDict):
    """Claims of an attempt's signature, and whether it verifies."""

    header: dict[str, Any]
    claims: dict[str, Any]
    key: str | None
    isUrlRight: bool
    isBodyRight: bool
    verifies: bool
    expiresAt: int


class AnswerObject(Body):
    """Answer to an attempt."""

    status: int
    headers: list[list[str]]


class NextAttempt(TypedDict):
    """When the next attempt is due, and by which rule."""

    at: int
    waitMs: int
    rule: str


class AttemptEnd(TypedDict):
    """How an attempt ended; ``outcome`` is ``null`` before it has."""

    outcome: str | None
    endedAt: NotRequired[int]
    error: NotRequired[str]
    reason: NotRequired[str]
    response: NotRequired[AnswerObject]
    next: NotRequired[NextAttempt]


class AttemptObject(AttemptEnd):
    """One delivery attempt."""

    number: int
    dueAt: int
    startedAt: int
    request: SentRequest
    signature: Signature | None


class Story(StandingFields):
    """One message: how it stands and why, its attempts, its history, and what belongs to it."""

    message: MessageObject
    summary: SummaryFields
    attempts: list[AttemptObject]
    history: list[HistoryLine]
    callbacks: list[SummaryFields]
    siblings: list[SummaryFields]
    now: int
    waitsFor: NotRequired[str]
    waitsUntil: NotRequired[int]
    parent: NotRequired[SummaryFields]
    dlqId: NotRequired[str]
    timeoutMs: NotRequired[int]
    redactFields: NotRequired[str]


class StepEvent(TypedDict):
    """A line of any message's history, as it is told live; ``reason`` is why a failed attempt failed, in words."""

    seq: int
    time: int
    state: State
    messageId: str
    url: str
    method: str
    retried: int
    maxRetries: int
    createdAt: int
    nextDeliveryTime: NotRequired[int]
    status: NotRequired[int]
    error: NotRequired[str]
    reason: NotRequired[str]
    queueName: NotRequired[str]
    scheduleId: NotRequired[str]
    labels: NotRequired[list[str]]


class ScheduleFirings(TypedDict):
    """A schedule with its next firings, in its own time zone too."""

    schedule: ScheduleObject
    zone: str
    firings: list[int]
    firingsLocal: list[str]
    offsetMs: int
    shortestGapMs: int | None


class ScheduleList(TypedDict):
    """All schedules."""

    schedules: list[ScheduleFirings]
    now: int


class ScheduleStory(ScheduleFirings):
    """A schedule with the messages that it made, newest first."""

    history: list[SummaryFields]
    now: int


class BusyQueue(QueueObject):
    """A queue, and how many of its messages are under way."""

    inFlight: int


class Parallelism(TypedDict):
    """Attempts under way, and how many may be."""

    max: int
    count: int


class Queues(TypedDict):
    """Queues and flow-control keys with what is in them and under way right now."""

    queues: list[BusyQueue]
    flowControls: list[FlowControlKey]
    hasMoreKeys: bool
    globalParallelism: Parallelism
    attemptsMade: int
    now: int
