"""Upstash Workflow: triggers, waits and events, the runs' dead letter queue (contract W4, W5, W7 and W8.2)."""

from enum import StrEnum
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, JsonValue
from typing_extensions import TypedDict

from emulator.broker.workflow.run import CallbackState, RunState
from emulator.http.models.common import (
    ANY_IN_LIST,
    ANY_OF,
    AsyncQuery,
    Base64,
    Body,
    Condition,
    Count,
    DlqId,
    DlqIds,
    FromDate,
    HeaderMap,
    Labelled,
    LabelsWanted,
    MessageId,
    MessageIds,
    Method,
    Order,
    RequestBody,
    StatusesWanted,
    Text,
    ToDate,
    UnixMs,
    wire,
)


class StepState(StrEnum):
    """A step's state."""

    PROGRESS = "STEP_PROGRESS"
    SUCCESS = "STEP_SUCCESS"
    RETRY = "STEP_RETRY"
    FAILED = "STEP_FAILED"
    CANCELED = "STEP_CANCELED"


HeadersOrNone = Annotated[
    dict[str, list[str]], Field(description="Canonical names, each with all its values.")
]
RunCursor = Annotated[str, Field(pattern=r"^(\d+-\d+)?$", description="Empty on the last page.")]
_SentHeaders = Annotated[dict[str, str | list[str]], Field(description="Names in any case.")]


@wire
class RunName(TypedDict):
    """A run's id and creation time, which together identify a run, as ids may be used again."""

    workflowRunId: Text
    workflowCreatedAt: UnixMs


@wire
class Triggered(RunName):
    """``deduplicated`` means that the run existed already and nothing changed."""

    deduplicated: bool


class WorkflowItem(RequestBody):
    """One run, or one message of a run, of a batch. Only its own headers apply, not those of the call."""

    destination: str = Field(min_length=1, description="The workflow's URL.")
    headers: _SentHeaders | None = None
    body: Any = Field(None, description="Text, or JSON as it is.")
    queue: str | None = None


@wire
class StepObject(TypedDict):
    """An entry of a run's list: the initial payload, then one step each. ``body`` may be empty."""

    messageId: MessageId
    body: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*=*$", description="Standard base64.")]
    callType: Literal["step"]


# Waits and events


class WaitRequest(RequestBody):
    """A wait of ``context.waitForEvent``; ``step`` is completed and published when the wait ends."""

    url: str | None = Field(None, description="URL of the step after the wait; default: the run's URL.")
    timeout: str | int | None = Field(None, description="A duration such as 1h, or seconds; default 7d.")
    timeoutUrl: str | None = None
    timeoutHeaders: _SentHeaders | None = None
    timeoutBody: JsonValue = None
    step: dict[str, JsonValue]


@wire
class Waiting(TypedDict):
    messageId: MessageId


@wire
class WaiterObject(TypedDict):
    """A run that waits for an event."""

    url: Text
    headers: HeaderMap
    deadline: Annotated[int, Field(ge=0, description="Unix seconds.")]
    timeoutUrl: Text
    timeoutHeaders: HeaderMap
    timeoutBody: None


@wire
class NotifiedObject(RunName):
    """A run that an event reached; without ``waiter``, and with an empty id, it is kept for the run's next wait."""

    waiter: WaiterObject | None
    messageId: MessageId | Literal[""]
    error: str


# The dead letter queue


class CallbackAnswer(TypedDict, total=False):
    """The last answer to a failure callback."""

    responseStatus: Count
    responseBody: str
    responseHeaders: HeadersOrNone


@wire
class FailureCallbackInfo(CallbackAnswer):
    """The state of a failed run's failure callback, with its last answer."""

    state: CallbackState
    messageId: MessageId


class FailedMessage(Body):
    """The message that failed a run. Without its log its id is empty."""

    messageId: MessageId | Literal[""]
    url: Text
    method: Method
    maxRetries: Count
    header: NotRequired[HeadersOrNone]
    notBefore: NotRequired[UnixMs]
    createdAt: NotRequired[UnixMs]


class LastAnswer(TypedDict, total=False):
    """The body of the answer that failed a run, which may be empty."""

    responseBody: str
    responseBodyBase64: Base64


@wire
class DeadRun(RunName, FailedMessage, LastAnswer, Labelled):
    """A failed run: the message that failed, and its last answer."""

    dlqId: DlqId
    workflowUrl: Text
    responseStatus: Count
    responseHeader: HeadersOrNone
    callerIP: NotRequired[Text]
    flowControlKey: NotRequired[Text]
    failureCallback: NotRequired[Text]
    failureCallbackInfo: NotRequired[FailureCallbackInfo]
    failureFunctionState: NotRequired[CallbackState]


@wire
class DeadRunPage(TypedDict):
    cursor: RunCursor
    messages: list[DeadRun]


@wire
class DeadRunsDeleted(TypedDict):
    deleted: Count
    cursor: RunCursor


@wire
class RunsAgain(TypedDict):
    """The new runs."""

    cursor: RunCursor
    workflowRuns: list[RunName]


# Filters


RunIds = Annotated[list[str], ANY_IN_LIST, Condition("run_ids", commas="split")]
WorkflowUrls = Annotated[list[str], ANY_OF, Condition("urls")]


class RunConditions(TypedDict, total=False):
    """Filters on runs: different ones all apply."""

    workflowRunId: RunIds
    workflowRunIds: RunIds
    workflowUrl: WorkflowUrls
    workflowUrlExactMatch: Annotated[
        bool, Field(description="Compare workflowUrl as a whole, not as a beginning.")
    ]
    workflowCreatedAt: Annotated[UnixMs, Condition("created_at", "moment")]
    label: LabelsWanted
    callerIp: Annotated[list[str], ANY_OF, Condition("caller_ips", "address")]
    flowControlKey: Annotated[list[str], ANY_OF, Condition("flow_keys")]
    fromDate: FromDate
    toDate: ToDate
    count: Annotated[int, Field(ge=1)]


class RunQuery(RunConditions, total=False):
    """Which runs."""

    host: Annotated[list[str], ANY_OF, Condition("hosts")]
    path: Annotated[list[str], ANY_OF, Condition("paths")]


class CancelRunsQuery(RunQuery, AsyncQuery, total=False):
    """Filters of active runs; without any, all."""


class RunLogQuery(RunQuery, total=False):
    """Runs that match, at most 10 a page."""

    state: Annotated[list[RunState], Condition("states", "run_state", commas="split")]
    messageId: MessageIds
    workflowRuns: Annotated[
        list[str],
        Field(description="Each a run id, @, and its workflowCreatedAt."),
        Condition("id_times", "run_at", commas="split"),
    ]
    groupBy: Literal["workflowRunId"]
    cursor: str
    order: Order


class DeadRunQuery(RunConditions, total=False):
    """Failed runs; at most 100 are acted on."""

    dlqIds: DlqIds
    url: WorkflowUrls
    messageId: MessageIds
    responseStatus: StatusesWanted
    failureFunctionState: Annotated[
        list[CallbackState], Condition("callback_states", "callback_state", commas="split")
    ]
    cursor: str
    order: Order


class RerunRequest(RequestBody):
    """The step from which an ended run is started again; ``input`` replaces the initial payload."""

    fromStep: int | str
    input: str | None = None
