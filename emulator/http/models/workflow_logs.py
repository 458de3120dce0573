"""The logs of runs (contract W8.1)."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from emulator.broker.workflow.run import CallbackState, RunState
from emulator.http.models.common import Count, DlqId, Labelled, MessageId, Method, Text, UnixMs, wire
from emulator.http.models.workflow import CallbackAnswer, HeadersOrNone, RunCursor, StepState

# Of these a step's publisher may have said anything.
_Ms = Annotated[int, Field(description="Milliseconds.")]
_UnixMs = Annotated[int, Field(description="Unix milliseconds.")]


@wire
class AttemptError(TypedDict):
    """An attempt that failed; status 0 says that nothing was answered."""

    error: str
    body: str
    headers: HeadersOrNone
    status: Count
    time: UnixMs


_Errors = Annotated[list[AttemptError], Field(min_length=1)]


class SleepFields(TypedDict, total=False):
    """What a step that sleeps waits for."""

    sleepFor: _Ms
    sleepUntil: _UnixMs


class WaitFields(TypedDict, total=False):
    """The event that a step waits for."""

    waitEventId: str
    waitTimeoutDuration: str
    waitTimeoutDeadline: UnixMs
    waitTimeout: bool


class CallFields(TypedDict, total=False):
    """The call of a third party, and its answer."""

    callUrl: Text
    callMethod: Method
    callHeaders: HeadersOrNone
    callBody: str
    callResponseStatus: Count
    callResponseBody: str
    callResponseHeaders: HeadersOrNone


class InvokeFields(TypedDict, total=False):
    """The run that a step invoked."""

    invokedWorkflowRunId: Text
    invokedWorkflowUrl: Text
    invokedWorkflowCreatedAt: UnixMs
    invokedWorkflowRunHeaders: HeadersOrNone


@wire
class StepLog(SleepFields, WaitFields, CallFields, InvokeFields):
    """A step, merged from its plan, its call and its result. ``out`` is what it returned, as text."""

    stepId: NotRequired[int]
    stepName: str
    stepType: str
    callType: Literal["step", "toCallback", "fromCallback"]
    messageId: MessageId | Literal[""]
    out: NotRequired[str]
    concurrent: int
    state: StepState
    createdAt: UnixMs
    headers: HeadersOrNone
    retries: Count
    errors: NotRequired[_Errors]


@wire
class NextStepLog(TypedDict):
    """A message of the run that is still to be delivered, or that failed: of which step, only its endpoint knows."""

    messageId: MessageId
    state: StepState
    retries: Count
    retryDelay: NotRequired[Text]
    nextDeliveryTime: NotRequired[UnixMs]
    errors: NotRequired[_Errors]
    stepName: NotRequired[Text]


@wire
class StepGroupObject(TypedDict):
    """One step, or the branches of a parallel one."""

    type: Literal["sequential", "parallel"]
    steps: list[StepLog]


@wire
class NextGroup(TypedDict):
    type: Literal["next"]
    steps: list[NextStepLog]


@wire
class RunInvoker(TypedDict):
    """The run that invoked this one."""

    workflowRunId: Text
    workflowUrl: Text
    workflowRunCreatedAt: UnixMs


@wire
class FailureFunctionLog(CallbackAnswer):
    """Why a run failed, and what became of telling its failure function or URL."""

    messageId: MessageId
    url: Text
    state: CallbackState
    failHeaders: HeadersOrNone
    failStatus: Count
    failResponse: str
    dlqId: DlqId
    maxRetries: Count
    errors: NotRequired[_Errors]


@wire
class RunLog(Labelled):
    """A run with its steps in the order of their beginning."""

    workflowRunId: Text
    workflowUrl: Text
    workflowState: RunState
    workflowRunCreatedAt: UnixMs
    workflowRunCompletedAt: NotRequired[UnixMs]
    workflowRunResponse: NotRequired[str]
    workflowRunCallerIp: NotRequired[Text]
    flowControlKey: NotRequired[Text]
    dlqId: NotRequired[DlqId]
    invoker: NotRequired[RunInvoker]
    failureFunction: NotRequired[FailureFunctionLog]
    steps: list[StepGroupObject | NextGroup]


@wire
class RunLogPage(TypedDict):
    cursor: RunCursor
    runs: list[RunLog]


@wire
class RunEvent(TypedDict):
    """A run's beginning or end, or one of its steps."""

    time: UnixMs
    state: RunState | StepState
    workflowRunId: Text
    workflowUrl: Text
    workflowCreatedAt: UnixMs
    stepInfo: NotRequired[StepLog]


@wire
class RunEventPage(TypedDict):
    """Newest first."""

    cursor: RunCursor
    events: list[RunEvent]
