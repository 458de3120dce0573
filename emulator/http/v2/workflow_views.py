"""Runs as the API shows them (contract W8)."""

import base64
import math
from http import HTTPStatus
from typing import Any

from emulator.broker.message import AttemptResult, LogEntry, Message, State
from emulator.broker.workflow.failed_run import FailedRun
from emulator.broker.workflow.run import CallbackState, FailureCallback
from emulator.errors import InvalidInput
from emulator.http.v2.workflow_history import STATES, Group, StepState, StepView, read_groups
from emulator.http.wire_objects import base64_text, body_fields
from emulator.store.stored import StoredRun
from emulator.store.workflow_queries import EntryHistory, RunHistory
from emulator.wire.durations import parse_duration
from emulator.wire.headers import first_value, header_map
from emulator.wire.redaction import parse_redaction, redacted
from emulator.wire.workflow import NO_FAILURE_FUNCTION_HEADER, CallType

Json = dict[str, Any]


def _present(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def text_of(body: bytes) -> str:
    """A body as text."""
    return body.decode("utf-8", "replace")


def run_view(history: RunHistory, now_at: int) -> Json:
    """A WorkflowRunLog."""
    stored, run = history.stored, history.stored.run
    groups = read_groups(history, now_at)
    return {
        "workflowRunId": run.id,
        "workflowUrl": run.url,
        "workflowState": stored.state.value,
        "workflowRunCreatedAt": run.created_at,
        **_present(
            {
                "workflowRunCompletedAt": stored.ended_at,
                "workflowRunResponse": stored.response,
                "workflowRunCallerIp": run.caller_ip,
                "label": run.labels[0] if run.labels else None,
                "labels": list(run.labels) or None,
                "flowControlKey": run.flow_key,
                "dlqId": stored.failure.dlq_id if stored.failure else None,
                "invoker": _invoker(stored),
                "failureFunction": _failure_function(stored, history),
            }
        ),
        "steps": [group_view(group) for group in groups],
    }


def _invoker(stored: StoredRun) -> Json | None:
    invoker = stored.run.invoker
    if invoker is None:
        return None
    return {
        "workflowRunId": invoker.run_id,
        "workflowUrl": invoker.url,
        "workflowRunCreatedAt": invoker.run_created_at,
    }


def group_view(group: Group) -> Json:
    """A group of steps."""
    if group.kind == "next":
        return {"type": "next", "steps": [_next_view(entry) for entry in group.next_entries]}
    return {"type": group.kind, "steps": [step_view(step) for step in group.steps]}


def _next_view(entry: EntryHistory) -> Json:
    state = STATES[entry.state]
    return {
        "messageId": entry.message.id,
        "state": (StepState.PROGRESS if state is StepState.SUCCESS else state).value,
        "retries": entry.message.max_retries,
        **_present(
            {
                "retryDelay": entry.message.retry_delay,
                "nextDeliveryTime": _next_delivery(entry),
                "errors": _errors(entry.attempts),
                "stepName": _failed_step_name(entry.attempts),
            }
        ),
    }


def _next_delivery(entry: EntryHistory) -> int | None:
    is_delayed = entry.message.not_before_at > entry.entry.created_at
    return entry.due_at if entry.state is State.RETRY or is_delayed else None


def _failed_step_name(attempts: tuple[LogEntry, ...]) -> str | None:
    """The step that failed last, as its endpoint says (contract W3.5)."""
    responses = [
        attempt.response for attempt in attempts if attempt.state is State.ERROR and attempt.response
    ]
    return first_value(responses[-1].headers, "Upstash-Error-Step-Name") if responses else None


def _errors(attempts: tuple[LogEntry, ...]) -> list[Json] | None:
    errors = [_error(attempt) for attempt in attempts if attempt.state is State.ERROR]
    return errors or None


def _error(attempt: LogEntry) -> Json:
    response = attempt.response or AttemptResult(status=0, error=attempt.error)
    return {
        "error": _error_words(attempt, response),
        "body": text_of(response.body),
        "headers": header_map(response.headers),
        "status": response.status,
        "time": attempt.time_at,
    }


def _error_words(attempt: LogEntry, response: AttemptResult) -> str:
    """Why the attempt failed; for an ordinary status, its number and name."""
    words = attempt.error or ""
    if words and not words.startswith("the destination answered"):
        return words
    try:
        return f"{response.status} {HTTPStatus(response.status).phrase}"
    except ValueError:
        return str(response.status)


def step_view(view: StepView) -> Json:
    """A StepLog."""
    entry, step = view.entry, view.step
    message = entry.message if entry else None
    failing = _failing(view)
    return {
        **_present({"stepId": _whole(step.get("stepId"))}),
        "stepName": view.name,
        "stepType": view.kind,
        "callType": entry.entry.call_type.value if entry else CallType.STEP.value,
        "messageId": message.id if message else "",
        **_present({"out": _out(view)}),
        "concurrent": _whole(step.get("concurrent")) or 1,
        "state": view.state.value,
        "createdAt": view.started_at,
        "headers": _headers(message) if message else {},
        "retries": message.max_retries if message else 0,
        **_present({"errors": _errors(failing.attempts) if failing else None}),
        **_present(_kind_fields(view)),
    }


def _whole(value: object) -> int | None:
    """What a step says, which is its publisher's word: a number where there should be one, else nothing."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _failing(view: StepView) -> EntryHistory | None:
    """The message whose failures are this step's: the report of its call, else its plan."""
    for entry in (view.report, view.plan):
        if entry is not None and any(one.state is State.ERROR for one in entry.attempts):
            return entry
    return None


def _headers(message: Message) -> Json:
    redaction = parse_redaction(message.redact_fields)
    return dict(header_map(redaction.apply_to_headers(message.headers) if redaction else message.headers))


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
    """What the step returned, as text: JSON, or an event's data as it was sent."""
    out = _out(view)
    if out is None or view.kind not in ("Wait", "WaitForWebhook"):
        return out
    try:
        return text_of(base64.b64decode(out, validate=True))
    except ValueError:
        return out


def _kind_fields(view: StepView) -> Json:
    return {**_sleep_fields(view), **_wait_fields(view), **_call_fields(view), **_invoke_fields(view)}


def _sleep_fields(view: StepView) -> Json:
    return {
        "sleepFor": _span_ms(view.step.get("sleepFor")),
        "sleepUntil": _milliseconds(view.step.get("sleepUntil")),
    }


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


def _wait_fields(view: StepView) -> Json:
    waiter, timed_out = view.waiter, view.step.get("waitTimeout")
    if waiter is None:
        return {
            "waitEventId": _text(view.step.get("waitEventId")),
            "waitTimeoutDuration": _text(view.step.get("timeout")) if "waitEventId" in view.step else None,
            "waitTimeout": timed_out if isinstance(timed_out, bool) else None,
        }
    return {
        "waitEventId": waiter.event_id,
        "waitTimeoutDuration": waiter.timeout,
        "waitTimeoutDeadline": waiter.deadline_at,
        "waitTimeout": False,
    }


def _call_fields(view: StepView) -> Json:
    if view.call is None:
        return {}
    message, result = view.call.message, view.call_result
    redaction = parse_redaction(message.redact_fields)
    body = redaction.apply_to_body(view.call.body) if redaction else view.call.body
    fields: Json = {
        "callUrl": message.url,
        "callMethod": message.method,
        "callHeaders": _headers(message),
        "callBody": text_of(body),
    }
    if result is not None and view.state is StepState.SUCCESS:
        fields |= {
            "callResponseStatus": result.status,
            "callResponseBody": text_of(result.body),
            "callResponseHeaders": header_map(result.headers),
        }
    return fields


def _invoke_fields(view: StepView) -> Json:
    child = view.child
    if child is None:
        return {}
    forwarded = [
        (name[len("Upstash-Forward-") :], value)
        for name, value in child.run.configuration
        if name.lower().startswith("upstash-forward-")
    ]
    return {
        "invokedWorkflowRunId": child.run.id,
        "invokedWorkflowUrl": child.run.url,
        "invokedWorkflowCreatedAt": child.run.created_at,
        "invokedWorkflowRunHeaders": header_map(forwarded),
    }


def _failure_function(stored: StoredRun, history: RunHistory) -> Json | None:
    failure, callback = stored.failure, stored.callback
    if failure is None or callback is None:
        return None
    sent = next((one for one in history.entries if one.message.seq == callback.message_seq), None)
    return {
        "messageId": callback.message_id,
        "url": callback.url,
        "state": callback.state.value,
        "failHeaders": header_map(failure.result.headers),
        "failStatus": failure.result.status,
        "failResponse": text_of(failure.result.body),
        "dlqId": failure.dlq_id,
        "maxRetries": callback.max_retries,
        **_callback_answer(callback),
        **_present({"errors": _errors(sent.attempts) if sent else None}),
    }


def _callback_answer(callback: FailureCallback) -> Json:
    """What the failure function answered; an endpoint without one has nothing to say (contract W3.5)."""
    result = callback.result
    if result is None or callback.state is not CallbackState.SUCCESS:
        return {}
    if first_value(result.headers, NO_FAILURE_FUNCTION_HEADER) is not None:
        return {}
    return {
        "responseStatus": result.status,
        "responseBody": text_of(result.body),
        "responseHeaders": header_map(result.headers),
    }


def dead_run_view(failed: FailedRun, body: bytes) -> Json:
    """An entry of the runs' dead letter queue. ``body`` is what the failed message was published with."""
    run, failure, callback = failed.run, failed.failure, failed.callback
    message = failed.messages.get(failure.message_seq)
    fields: Json = {"messageId": "", "url": run.url, "method": "POST", "maxRetries": failure.retried}
    if message is not None:
        redaction = parse_redaction(message.redact_fields)
        fields = {
            "messageId": message.id,
            "url": message.url,
            "method": message.method,
            "header": _headers(message),
            **body_fields("body", redaction.apply_to_body(body) if redaction else body),
            "maxRetries": message.max_retries,
            "notBefore": message.not_before_at,
            "createdAt": message.created_at,
        }
    return {
        **fields,
        "dlqId": failure.dlq_id,
        "workflowRunId": run.id,
        "workflowCreatedAt": run.created_at,
        "workflowUrl": run.url,
        "responseStatus": failure.result.status,
        "responseHeader": header_map(failure.result.headers),
        **_response_body(failure.result),
        **_present(
            {
                "callerIP": run.caller_ip,
                "label": run.labels[0] if run.labels else None,
                "labels": list(run.labels) or None,
                "flowControlKey": run.flow_key,
                "failureCallback": callback.url if callback else None,
                "failureCallbackInfo": _callback_info(callback) if callback else None,
                "failureFunctionState": callback.state.value if callback else None,
            }
        ),
    }


def _response_body(result: AttemptResult) -> Json:
    body = result.body or (result.error or "").encode()
    try:
        return {"responseBody": body.decode()}
    except UnicodeDecodeError:
        return {"responseBodyBase64": base64_text(body)}


def _callback_info(callback: FailureCallback) -> Json:
    fields: Json = {"state": callback.state.value, "messageId": callback.message_id}
    result = callback.result
    if result is None:
        return fields
    return {
        **fields,
        "responseStatus": result.status,
        "responseBody": text_of(result.body or (result.error or "").encode()),
        "responseHeaders": header_map(result.headers),
    }


def event_views(history: RunHistory, now_at: int) -> list[Json]:
    """A run as single events: its beginning, its steps, its end."""
    stored, run = history.stored, history.stored.run
    base = {"workflowRunId": run.id, "workflowUrl": run.url, "workflowCreatedAt": run.created_at}
    events = [{"time": run.created_at, "state": "RUN_STARTED", **base}]
    for group in read_groups(history, now_at):
        for step in group.steps:
            at = step.ended_at if step.ended_at is not None else step.started_at
            events.append({"time": at, "state": step.state.value, **base, "stepInfo": step_view(step)})
    if stored.ended_at is not None:
        events.append({"time": stored.ended_at, "state": stored.state.value, **base})
    return events
