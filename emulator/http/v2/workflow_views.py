"""Runs as the API shows them (contract W8)."""

import base64
import math
from http import HTTPStatus
from typing import Any

from emulator.broker.message import AttemptResult, LogEntry, Message, State
from emulator.broker.workflow.failed_run import FailedRun
from emulator.broker.workflow.run import CallbackState, FailureCallback, RunState
from emulator.errors import InvalidInput
from emulator.http.models import workflow as models
from emulator.http.models import workflow_logs as logs
from emulator.http.models.workflow import StepState
from emulator.http.v2.workflow_history import STATES, HistoryGroup, StepView, read_groups
from emulator.http.wire_objects import (
    base64_text,
    body_fields,
    labelled,
    method_of,
    optional,
    present,
    response_body,
)
from emulator.store.stored import StoredRun
from emulator.store.workflow_queries import EntryHistory, RunHistory
from emulator.wire.durations import parse_duration
from emulator.wire.headers import HeaderMap, first_value, header_map
from emulator.wire.redaction import parse_redaction, redacted
from emulator.wire.workflow import NO_FAILURE_FUNCTION_HEADER, CallType


def text_of(body: bytes) -> str:
    """Return a body as text."""
    return body.decode("utf-8", "replace")


def run_view(history: RunHistory, now_at: int) -> logs.RunLog:
    """Return a run with its steps."""
    stored, run = history.stored, history.stored.run
    return present(
        logs.RunLog(
            workflowRunId=run.id,
            workflowUrl=run.url,
            workflowState=stored.state,
            workflowRunCreatedAt=run.created_at,
            workflowRunCompletedAt=optional(stored.ended_at),
            workflowRunResponse=optional(stored.response),
            workflowRunCallerIp=optional(run.caller_ip),
            flowControlKey=optional(run.flow_key),
            dlqId=optional(stored.failure.dlq_id if stored.failure else None),
            invoker=optional(_invoker(stored)),
            failureFunction=optional(_failure_function(stored, history)),
            steps=[group_view(group) for group in read_groups(history, now_at)],
            **labelled(run.labels),
        )
    )


def _invoker(stored: StoredRun) -> logs.RunInvoker | None:
    invoker = stored.run.invoker
    if invoker is None:
        return None
    return logs.RunInvoker(
        workflowRunId=invoker.run_id,
        workflowUrl=invoker.url,
        workflowRunCreatedAt=invoker.run_created_at,
    )


def group_view(group: HistoryGroup) -> logs.StepGroupObject | logs.NextGroup:
    """Return a group of steps."""
    if group.kind == "next":
        return logs.NextGroup(type="next", steps=[_next_view(entry) for entry in group.next_entries])
    return logs.StepGroupObject(type=group.kind, steps=[step_view(step) for step in group.steps])


def _next_view(entry: EntryHistory) -> logs.NextStepLog:
    state = STATES[entry.state]
    return present(
        logs.NextStepLog(
            messageId=entry.message.id,
            state=StepState.PROGRESS if state is StepState.SUCCESS else state,
            retries=entry.message.max_retries,
            retryDelay=optional(entry.message.retry_delay),
            nextDeliveryTime=optional(_next_delivery(entry)),
            errors=optional(_errors(entry.attempts)),
            stepName=optional(_failed_step_name(entry.attempts)),
        )
    )


def _next_delivery(entry: EntryHistory) -> int | None:
    is_delayed = entry.message.not_before_at > entry.entry.created_at
    return entry.due_at if entry.state is State.RETRY or is_delayed else None


def _failed_step_name(attempts: tuple[LogEntry, ...]) -> str | None:
    """Return the step that failed last, as its endpoint says (contract W3.5)."""
    responses = [
        attempt.response for attempt in attempts if attempt.state is State.ERROR and attempt.response
    ]
    return first_value(responses[-1].headers, "Upstash-Error-Step-Name") if responses else None


def _errors(attempts: tuple[LogEntry, ...]) -> list[logs.AttemptError] | None:
    errors = [_error(attempt) for attempt in attempts if attempt.state is State.ERROR]
    return errors or None


def _error(attempt: LogEntry) -> logs.AttemptError:
    response = attempt.response or AttemptResult(status=0, error=attempt.error)
    return logs.AttemptError(
        error=_error_words(attempt, response),
        body=text_of(response.body),
        headers=header_map(response.headers),
        status=response.status,
        time=attempt.time_at,
    )


def _error_words(attempt: LogEntry, response: AttemptResult) -> str:
    """Why the attempt failed; for an ordinary status, its number and name."""
    words = attempt.error or ""
    if words and not words.startswith("the destination answered"):
        return words
    try:
        return f"{response.status} {HTTPStatus(response.status).phrase}"
    except ValueError:
        return str(response.status)


def step_view(view: StepView) -> logs.StepLog:
    """Return a step."""
    entry, step = view.entry, view.step
    message = entry.message if entry else None
    failing = _failing(view)
    call_type: Any = entry.entry.call_type.value if entry else CallType.STEP.value
    return present(
        logs.StepLog(
            stepId=optional(_whole(step.get("stepId"))),
            stepName=view.name,
            stepType=view.kind,
            callType=call_type,
            messageId=message.id if message else "",
            out=optional(_out(view)),
            concurrent=_whole(step.get("concurrent")) or 1,
            state=view.state,
            createdAt=view.started_at,
            headers=_headers(message) if message else {},
            retries=message.max_retries if message else 0,
            errors=optional(_errors(failing.attempts) if failing else None),
            **_sleep_fields(view),
            **_wait_fields(view),
            **_call_fields(view),
            **_invoke_fields(view),
        )
    )


def _whole(value: object) -> int | None:
    """Return what a step says, which is its publisher's word: a number where there should be one, else nothing."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _failing(view: StepView) -> EntryHistory | None:
    """Return the message whose failures are this step's: the report of its call, else its plan."""
    for entry in (view.report, view.plan):
        if entry is not None and any(one.state is State.ERROR for one in entry.attempts):
            return entry
    return None


def _headers(message: Message) -> HeaderMap:
    redaction = parse_redaction(message.redact_fields)
    return header_map(redaction.apply_to_headers(message.headers) if redaction else message.headers)


def _out(view: StepView) -> str | None:
    entry = view.entry
    if entry is None or entry is view.plan or entry is view.call:
        return None
    if view.kind == "Initial":
        text = text_of(entry.entry.body or b"")
    else:
        out = view.step.get("out")
        if out is None:
            return None
        text = str(out)
    redaction = parse_redaction(entry.message.redact_fields)
    return redacted(text.encode()) if redaction and redaction.body else text


def returned_text(view: StepView) -> str | None:
    """Return what the step returned, as text: JSON, or an event's data as it was sent."""
    out = _out(view)
    if out is None or view.kind not in ("Wait", "WaitForWebhook"):
        return out
    try:
        return text_of(base64.b64decode(out, validate=True))
    except ValueError:
        return out


def _sleep_fields(view: StepView) -> logs.SleepFields:
    return logs.SleepFields(
        sleepFor=optional(_span_ms(view.step.get("sleepFor"))),
        sleepUntil=optional(_milliseconds(view.step.get("sleepUntil"))),
    )


def _milliseconds(seconds: object) -> int | None:
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return None
    return round(seconds * 1000)


def _span_ms(value: object) -> int | None:
    if isinstance(value, str):
        try:
            return parse_duration(value, field="sleepFor")
        except InvalidInput:
            return None
    return _milliseconds(value)


def _wait_fields(view: StepView) -> logs.WaitFields:
    waiter, timed_out = view.waiter, view.step.get("waitTimeout")
    if waiter is None:
        duration = _text(view.step.get("timeout")) if "waitEventId" in view.step else None
        return logs.WaitFields(
            waitEventId=optional(_text(view.step.get("waitEventId"))),
            waitTimeoutDuration=optional(duration),
            waitTimeout=optional(timed_out if isinstance(timed_out, bool) else None),
        )
    return logs.WaitFields(
        waitEventId=waiter.event_id,
        waitTimeoutDuration=waiter.timeout,
        waitTimeoutDeadline=waiter.deadline_at,
        waitTimeout=False,
    )


def _call_fields(view: StepView) -> logs.CallFields:
    if view.call is None:
        return {}
    message, result = view.call.message, view.call_result
    redaction = parse_redaction(message.redact_fields)
    body = redaction.apply_to_body(view.call.body) if redaction else view.call.body
    fields = logs.CallFields(
        callUrl=message.url,
        callMethod=method_of(message.method),
        callHeaders=_headers(message),
        callBody=text_of(body),
    )
    if result is not None and view.state is StepState.SUCCESS:
        fields["callResponseStatus"] = result.status
        fields["callResponseBody"] = text_of(result.body)
        fields["callResponseHeaders"] = header_map(result.headers)
    return fields


def _invoke_fields(view: StepView) -> logs.InvokeFields:
    child = view.child
    if child is None:
        return {}
    forwarded = [
        (name[len("Upstash-Forward-") :], value)
        for name, value in child.run.configuration
        if name.lower().startswith("upstash-forward-")
    ]
    return logs.InvokeFields(
        invokedWorkflowRunId=child.run.id,
        invokedWorkflowUrl=child.run.url,
        invokedWorkflowCreatedAt=child.run.created_at,
        invokedWorkflowRunHeaders=header_map(forwarded),
    )


def _failure_function(stored: StoredRun, history: RunHistory) -> logs.FailureFunctionLog | None:
    failure, callback = stored.failure, stored.callback
    if failure is None or callback is None:
        return None
    sent = next((one for one in history.entries if one.message.seq == callback.message_seq), None)
    return present(
        logs.FailureFunctionLog(
            messageId=callback.message_id,
            url=callback.url,
            state=callback.state,
            failHeaders=header_map(failure.result.headers),
            failStatus=failure.result.status,
            failResponse=text_of(failure.result.body),
            dlqId=failure.dlq_id,
            maxRetries=callback.max_retries,
            errors=optional(_errors(sent.attempts) if sent else None),
            **_callback_answer(callback),
        )
    )


def _callback_answer(callback: FailureCallback) -> models.CallbackAnswer:
    """Return what the failure function answered; an endpoint without one has nothing to say (contract W3.5)."""
    result = callback.result
    if result is None or callback.state is not CallbackState.SUCCESS:
        return {}
    if first_value(result.headers, NO_FAILURE_FUNCTION_HEADER) is not None:
        return {}
    return models.CallbackAnswer(
        responseStatus=result.status,
        responseBody=text_of(result.body),
        responseHeaders=header_map(result.headers),
    )


def dead_run_view(failed: FailedRun, body: bytes) -> models.DeadRun:
    """Return an entry of the runs' dead letter queue; ``body`` is what the failed message was published with."""
    run, failure, callback = failed.run, failed.failure, failed.callback
    return present(
        models.DeadRun(
            dlqId=failure.dlq_id,
            workflowRunId=run.id,
            workflowCreatedAt=run.created_at,
            workflowUrl=run.url,
            responseStatus=failure.result.status,
            responseHeader=header_map(failure.result.headers),
            callerIP=optional(run.caller_ip),
            flowControlKey=optional(run.flow_key),
            failureCallback=optional(callback.url if callback else None),
            failureCallbackInfo=optional(_callback_info(callback) if callback else None),
            failureFunctionState=optional(callback.state if callback else None),
            **_failed_message(failed, body),
            **_last_answer(failure.result),
            **labelled(run.labels),
        )
    )


def _failed_message(failed: FailedRun, body: bytes) -> models.FailedMessage:
    message = failed.messages.get(failed.failure.message_seq)
    if message is None:
        return models.FailedMessage(
            messageId="", url=failed.run.url, method="POST", maxRetries=failed.failure.retried
        )
    redaction = parse_redaction(message.redact_fields)
    return models.FailedMessage(
        messageId=message.id,
        url=message.url,
        method=method_of(message.method),
        header=_headers(message),
        maxRetries=message.max_retries,
        notBefore=message.not_before_at,
        createdAt=message.created_at,
        **body_fields(redaction.apply_to_body(body) if redaction else body),
    )


def _last_answer(result: AttemptResult) -> models.LastAnswer:
    body = response_body(result)
    try:
        return {"responseBody": body.decode()}
    except UnicodeDecodeError:
        return {"responseBodyBase64": base64_text(body)}


def _callback_info(callback: FailureCallback) -> models.FailureCallbackInfo:
    result = callback.result
    if result is None:
        return models.FailureCallbackInfo(state=callback.state, messageId=callback.message_id)
    return models.FailureCallbackInfo(
        state=callback.state,
        messageId=callback.message_id,
        responseStatus=result.status,
        responseBody=text_of(response_body(result)),
        responseHeaders=header_map(result.headers),
    )


def event_views(history: RunHistory, now_at: int) -> list[logs.RunEvent]:
    """Return a run as single events: its beginning, its steps, its end."""
    stored, run = history.stored, history.stored.run

    def event(at: int, state: RunState | StepState) -> logs.RunEvent:
        return logs.RunEvent(
            time=at, state=state, workflowRunId=run.id, workflowUrl=run.url, workflowCreatedAt=run.created_at
        )

    events = [event(run.created_at, RunState.STARTED)]
    for group in read_groups(history, now_at):
        for step in group.steps:
            of_step = event(step.ended_at if step.ended_at is not None else step.started_at, step.state)
            of_step["stepInfo"] = step_view(step)
            events.append(of_step)
    if stored.ended_at is not None:
        events.append(event(stored.ended_at, stored.state))
    return events
