"""The broker's records as the API's objects (contract 1.11 and 2.0).

A field without a value is left out. Whatever is redacted is shown as its digest; deliveries use the originals.
"""

import base64
from typing import Any, TypeVar, cast

from emulator.broker.dispatch_lanes import FlowLane
from emulator.broker.message import AttemptResult, Message, State
from emulator.broker.resources import FlowKey, Queue, Schedule, UrlGroup
from emulator.broker.state import BrokerState
from emulator.http.models import dlq, flow_control, keys, logs, messages, queues, schedules, url_groups
from emulator.http.models.common import Body, FlowLimits, Labelled, Method
from emulator.store.stored import StoredDeadLetter, StoredLogEntry
from emulator.wire.flow_control import FlowControl
from emulator.wire.headers import HeaderMap, Headers, header_map
from emulator.wire.limits import LENIENT
from emulator.wire.options import DEFAULT_RETRIES, Callback, parse_options
from emulator.wire.redaction import Redaction, parse_redaction

T = TypeVar("T")


def optional(value: T | None) -> T:
    """Return ``value`` for a field that is left out where it is ``None``: what has such fields is made ``present``."""
    return cast("T", value)


def present(wire_object: T) -> T:
    """Return ``wire_object`` without the fields that have no value."""
    fields = cast("dict[str, Any]", wire_object)
    return cast("T", {name: value for name, value in fields.items() if value is not None})


def message_view(message: Message, body: bytes, *, trim: int | None = None) -> messages.MessageObject:
    """Return a message; what is redacted is the whole body, of which ``trim`` bytes are shown then."""
    redaction = parse_redaction(message.redact_fields)
    callback, failure_callback = message.callback, message.failure_callback
    return present(
        messages.MessageObject(
            messageId=message.id,
            url=message.url,
            method=method_of(message.method),
            maxRetries=message.max_retries,
            notBefore=message.not_before_at,
            createdAt=message.created_at,
            topicName=optional(message.topic_name),
            endpointName=optional(message.endpoint_name),
            header=optional(header_map(_shown(message.headers, redaction)) or None),
            callback=optional(callback.url if callback else None),
            callbackHeader=optional(_callback_lines(callback)),
            failureCallback=optional(failure_callback.url if failure_callback else None),
            failureCallbackHeader=optional(_callback_lines(failure_callback)),
            queueName=optional(message.queue_name),
            scheduleId=optional(message.schedule_id),
            callerIP=optional(message.caller_ip),
            retryDelayExpression=optional(message.retry_delay),
            api=optional(cast("Any", message.api)),
            **labelled(message.labels),
            **_flow_limits(message.flow_control),
            **body_fields(cut(redaction.apply_to_body(body) if redaction else body, trim)),
        )
    )


def dead_letter_view(stored: StoredDeadLetter, *, trim: int | None = None) -> dlq.DlqMessage:
    """Return an entry of the dead letter queue: the message, and the last response."""
    response = stored.dead_letter.response
    return present(
        dlq.DlqMessage(
            **message_view(stored.message, stored.body, trim=trim),
            dlqId=stored.dead_letter.dlq_id,
            responseStatus=response.status,
            responseHeader=optional(header_map(response.headers) or None),
            **response_body_fields(cut(response_body(response), trim)),
        )
    )


def log_view(stored: StoredLogEntry, *, trim: int | None = None) -> logs.LogEntryObject:
    """Return a log entry; bodies are always base64 here."""
    entry, message = stored.entry, stored.message
    redaction = parse_redaction(message.redact_fields)
    body = redaction.apply_to_body(stored.body) if redaction else stored.body
    callback, failure_callback = message.callback, message.failure_callback
    return present(
        logs.LogEntryObject(
            time=entry.time_at,
            messageId=message.id,
            url=message.url,
            state=entry.state,
            maxRetries=message.max_retries,
            error=optional(entry.error),
            nextDeliveryTime=optional(entry.next_delivery_at),
            topicName=optional(message.topic_name),
            endpointName=optional(message.endpoint_name),
            queueName=optional(message.queue_name),
            scheduleId=optional(message.schedule_id),
            header=optional(header_map(_shown(message.headers, redaction)) or None),
            body=optional(base64_text(cut(body, trim)) or None),
            method=method_of(message.method),
            callback=optional(callback.url if callback else None),
            callbackHeaders=optional(_callback_lines(callback)),
            failureCallback=optional(failure_callback.url if failure_callback else None),
            failureCallbackHeaders=optional(_callback_lines(failure_callback)),
            timeout=optional(message.timeout_ms),
            retryDelayExpression=optional(message.retry_delay),
            retryDelayExpr=optional(message.retry_delay),
            callerIp=optional(message.caller_ip),
            callerIP=optional(message.caller_ip),
            **labelled(message.labels),
            **_flow_limits(message.flow_control),
            **_log_response(entry.state, entry.response, trim),
        )
    )


def _log_response(state: State, response: AttemptResult | None, trim: int | None) -> logs.LogResponse:
    if response is None or state not in (State.ERROR, State.FAILED):
        return {}
    headers = optional(header_map(response.headers) or None)
    return logs.LogResponse(
        responseStatus=response.status,
        responseHeaders=headers,
        responseHeader=headers,
        responseBody=optional(base64_text(cut(response_body(response), trim)) or None),
    )


def response_body(response: AttemptResult) -> bytes:
    """Return what the destination answered; when it did not, why (contract U17)."""
    return response.body or (response.error or "").encode()


def queue_view(queue: Queue, lag: int) -> queues.QueueObject:
    """Return a queue."""
    return queues.QueueObject(
        name=queue.name,
        parallelism=queue.parallelism,
        createdAt=queue.created_at,
        updatedAt=queue.updated_at,
        lag=lag,
        paused=queue.is_paused,
    )


def group_view(group: UrlGroup) -> url_groups.UrlGroupObject:
    """Return a URL group."""
    return present(
        url_groups.UrlGroupObject(
            name=group.name,
            createdAt=group.created_at,
            updatedAt=group.updated_at,
            endpoints=[
                present(url_groups.EndpointObject(url=endpoint.url, name=optional(endpoint.name or None)))
                for endpoint in group.endpoints
            ],
            headers=optional(header_map(group.headers) or None),
        )
    )


def schedule_view(schedule: Schedule, body: bytes) -> schedules.ScheduleObject:
    """Return a schedule."""
    # The lines passed a plan's limits when the schedule was made; a stricter plan since then hides nothing.
    options = parse_options(schedule.lines, limits=LENIENT)
    callback, failure_callback = options.callback, options.failure_callback
    return present(
        schedules.ScheduleObject(
            scheduleId=schedule.id,
            cron=schedule.cron,
            destination=f"{schedule.destination}?{schedule.query}"
            if schedule.query
            else schedule.destination,
            createdAt=schedule.created_at,
            method=method_of(options.method),
            retries=DEFAULT_RETRIES if options.retries is None else options.retries,
            isPaused=schedule.is_paused,
            header=optional(header_map(_shown(options.headers, options.redaction)) or None),
            delay=optional(_seconds(options.delay_ms)),
            timeout=optional(_seconds(options.timeout_ms)),
            callback=optional(callback.url if callback else None),
            callbackHeader=optional(_callback_lines(callback)),
            failureCallback=optional(failure_callback.url if failure_callback else None),
            failureCallbackHeader=optional(_callback_lines(failure_callback)),
            queueName=optional(options.queue_name),
            retryDelayExpression=optional(options.retry_delay),
            callerIP=optional(schedule.caller_ip),
            callerIp=optional(schedule.caller_ip),
            lastScheduleTime=optional(schedule.last_at),
            nextScheduleTime=optional(schedule.next_at),
            lastScheduleStates=optional(cast("Any", schedule.last_states or None)),
            error=optional(schedule.error),
            **labelled(options.labels),
            **_flow_limits(options.flow_control),
            **body_fields(options.redaction.apply_to_body(body) if options.redaction else body),
        )
    )


def _seconds(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds // 1000


def lane_view(lane: FlowLane, now_at: int) -> flow_control.FlowControlKey:
    """Return a flow-control key as it stands in memory."""
    return flow_view(lane.flow_key, now_at, waiting=lane.waiting_count, under_way=len(lane.in_flight))


def flow_view(
    key: FlowKey, now_at: int, *, waiting: int = 0, under_way: int = 0
) -> flow_control.FlowControlKey:
    """Return a flow-control key, by default one at rest; every field is always there."""
    return flow_control.FlowControlKey(
        flowControlKey=key.key,
        waitListSize=waiting,
        parallelismMax=key.parallelism or 0,
        parallelismCount=under_way,
        rateMax=key.rate or 0,
        rateCount=key.count_at(now_at),
        ratePeriod=key.period_seconds,
        ratePeriodStart=key.period_start_at // 1000,
        isPaused=key.is_paused,
        isPinnedParallelism=key.is_pinned_parallelism,
        isPinnedRate=key.is_pinned_rate,
    )


def keys_view(state: BrokerState) -> keys.SigningKeysObject:
    """Return the pair of signing keys."""
    return {"current": state.keys.current, "next": state.keys.next}


# Parts


def method_of(method: str) -> Method:
    """Return a method that was accepted with its message."""
    return cast("Method", method)


def body_fields(body: bytes) -> Body:
    """Return a body as text when it is UTF-8, else as base64; nothing for an empty one (contract 1.11)."""
    if not body:
        return {}
    text = _utf8(body)
    return {"bodyBase64": base64_text(body)} if text is None else {"body": text}


def response_body_fields(body: bytes) -> dlq.ResponseBody:
    """Return the body of a response as ``body_fields`` does."""
    if not body:
        return {}
    text = _utf8(body)
    return {"responseBodyBase64": base64_text(body)} if text is None else {"responseBody": text}


def _utf8(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def base64_text(data: bytes) -> str:
    """Standard base64."""
    return base64.b64encode(data).decode("ascii")


def cut(body: bytes, trim: int | None) -> bytes:
    """``trimBody``: the first ``trim`` bytes; none for 0 and -1, all for ``None``."""
    return body if trim is None else body[: max(trim, 0)]


def labelled(labels: tuple[str, ...]) -> Labelled:
    """Return labels, and the first of them."""
    return {"label": labels[0], "labels": list(labels)} if labels else {}


def _shown(headers: Headers, redaction: Redaction | None) -> Headers:
    return redaction.apply_to_headers(headers) if redaction else headers


def _flow_limits(flow: FlowControl | None) -> FlowLimits:
    if flow is None:
        return {}
    return FlowLimits(
        flowControlKey=flow.key,
        parallelism=optional(flow.parallelism),
        rate=optional(flow.rate),
        period=flow.period_seconds,
    )


def _callback_lines(callback: Callback | None) -> HeaderMap | None:
    if callback is None:
        return None
    options = parse_options(callback.headers, limits=LENIENT)
    return header_map(_shown(options.headers, options.redaction)) or None
