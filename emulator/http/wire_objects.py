"""How the API shows what the broker keeps: the wire's objects (contract 1.11 and 2.0).

A field without a value is left out. Whatever is redacted is shown as its digest; deliveries use the originals.
"""

import base64
from typing import Any

from emulator.broker.dispatch_lanes import FlowLane
from emulator.broker.message import AttemptResult, Message, State
from emulator.broker.resources import Queue, Schedule, UrlGroup
from emulator.broker.state import BrokerState
from emulator.store.stored import StoredDeadLetter, StoredLogEntry
from emulator.wire.headers import Headers, header_map
from emulator.wire.limits import LENIENT
from emulator.wire.options import DEFAULT_RETRIES, Callback, PublishOptions, parse_options
from emulator.wire.redaction import Redaction, parse_redaction

Json = dict[str, Any]


def present(fields: Json) -> Json:
    """``fields`` without those that have no value."""
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}


def message_view(message: Message, body: bytes, *, trim: int | None = None) -> Json:
    """A Message; what is redacted is the whole body, of which ``trim`` bytes are shown then."""
    redaction = parse_redaction(message.redact_fields)
    return {
        "messageId": message.id,
        "url": message.url,
        "method": message.method,
        "maxRetries": message.max_retries,
        "notBefore": message.not_before_at,
        "createdAt": message.created_at,
        **present(
            {
                "topicName": message.topic_name,
                "endpointName": message.endpoint_name,
                "header": header_map(_shown(message.headers, redaction)),
                **_callbacks(message.callback, message.failure_callback, plural=False),
                "queueName": message.queue_name,
                "scheduleId": message.schedule_id,
                "callerIP": message.caller_ip,
                **_labels(message.labels),
                **_flow(message),
                "retryDelayExpression": message.retry_delay,
                "api": message.api,
            }
        ),
        **body_fields("body", cut(redaction.apply_to_body(body) if redaction else body, trim)),
    }


def dead_letter_view(stored: StoredDeadLetter, *, trim: int | None = None) -> Json:
    """A DLQMessage: the message, and the last response."""
    response = stored.dead_letter.response
    return {
        **message_view(stored.message, stored.body, trim=trim),
        "dlqId": stored.dead_letter.dlq_id,
        "responseStatus": response.status,
        **present({"responseHeader": header_map(response.headers)}),
        **body_fields("responseBody", cut(response_body(response), trim)),
    }


def log_view(stored: StoredLogEntry, *, trim: int | None = None) -> Json:
    """A LogEntry; bodies are always base64 here."""
    entry, message = stored.entry, stored.message
    redaction = parse_redaction(message.redact_fields)
    body = redaction.apply_to_body(stored.body) if redaction else stored.body
    flow = _flow(message)
    return {
        "time": entry.time_at,
        "messageId": message.id,
        "url": message.url,
        "state": entry.state.value,
        "maxRetries": message.max_retries,
        **present(
            {
                "error": entry.error,
                "nextDeliveryTime": entry.next_delivery_at,
                "topicName": message.topic_name,
                "endpointName": message.endpoint_name,
                "queueName": message.queue_name,
                "scheduleId": message.schedule_id,
                "header": header_map(_shown(message.headers, redaction)),
                "body": base64_text(cut(body, trim)),
                "method": message.method,
                **_callbacks(message.callback, message.failure_callback, plural=True),
                "timeout": message.timeout_ms,
                "retryDelayExpression": message.retry_delay,
                "retryDelayExpr": message.retry_delay,
                **_labels(message.labels),
                **flow,
                "callerIp": message.caller_ip,
                "callerIP": message.caller_ip,
            }
        ),
        **_log_response(entry.state, entry.response, trim),
    }


def _log_response(state: State, response: AttemptResult | None, trim: int | None) -> Json:
    if response is None or state not in (State.ERROR, State.FAILED):
        return {}
    headers = header_map(response.headers)
    return {
        "responseStatus": response.status,
        **present(
            {
                "responseHeaders": headers,
                "responseHeader": headers,
                "responseBody": base64_text(cut(response_body(response), trim)),
            }
        ),
    }


def response_body(response: AttemptResult) -> bytes:
    """What the destination answered; when it did not, why (contract U17)."""
    return response.body or (response.error or "").encode()


def queue_view(queue: Queue, lag: int) -> Json:
    """A Queue."""
    return {
        "name": queue.name,
        "parallelism": queue.parallelism,
        "createdAt": queue.created_at,
        "updatedAt": queue.updated_at,
        "lag": lag,
        "paused": queue.is_paused,
    }


def group_view(group: UrlGroup) -> Json:
    """A URLGroup."""
    return {
        "name": group.name,
        "createdAt": group.created_at,
        "updatedAt": group.updated_at,
        "endpoints": [present({"url": endpoint.url, "name": endpoint.name}) for endpoint in group.endpoints],
        **present({"headers": header_map(group.headers)}),
    }


def schedule_view(schedule: Schedule, body: bytes) -> Json:
    """A Schedule."""
    # The lines passed a plan's limits when the schedule was made; a stricter plan since then hides nothing.
    options = parse_options(schedule.lines, limits=LENIENT)
    return {
        "scheduleId": schedule.id,
        "cron": schedule.cron,
        "destination": f"{schedule.destination}?{schedule.query}" if schedule.query else schedule.destination,
        "createdAt": schedule.created_at,
        "method": options.method,
        "retries": DEFAULT_RETRIES if options.retries is None else options.retries,
        "isPaused": schedule.is_paused,
        **_schedule_options(options),
        **present(
            {
                "callerIP": schedule.caller_ip,
                "callerIp": schedule.caller_ip,
                "lastScheduleTime": schedule.last_at,
                "nextScheduleTime": schedule.next_at,
                "lastScheduleStates": schedule.last_states,
                "error": schedule.error,
            }
        ),
        **body_fields("body", options.redaction.apply_to_body(body) if options.redaction else body),
    }


def _schedule_options(options: PublishOptions) -> Json:
    flow = options.flow_control
    return present(
        {
            "header": header_map(_shown(options.headers, options.redaction)),
            "delay": None if options.delay_ms is None else options.delay_ms // 1000,
            "timeout": None if options.timeout_ms is None else options.timeout_ms // 1000,
            **_callbacks(options.callback, options.failure_callback, plural=False),
            "queueName": options.queue_name,
            **_labels(options.labels),
            "flowControlKey": flow.key if flow else None,
            "parallelism": flow.parallelism if flow else None,
            "rate": flow.rate if flow else None,
            "period": flow.period_seconds if flow else None,
            "retryDelayExpression": options.retry_delay,
        }
    )


def flow_view(lane: FlowLane, now_at: int) -> Json:
    """A FlowControlKey; every field is always there."""
    key = lane.flow_key
    return {
        "flowControlKey": key.key,
        "waitListSize": lane.waiting_count,
        "parallelismMax": key.parallelism or 0,
        "parallelismCount": len(lane.in_flight),
        "rateMax": key.rate or 0,
        "rateCount": key.count_at(now_at),
        "ratePeriod": key.period_seconds,
        "ratePeriodStart": key.period_start_at // 1000,
        "isPaused": key.is_paused,
        "isPinnedParallelism": key.is_pinned_parallelism,
        "isPinnedRate": key.is_pinned_rate,
    }


def keys_view(state: BrokerState) -> Json:
    """The pair of signing keys."""
    return {"current": state.keys.current, "next": state.keys.next}


def body_fields(name: str, body: bytes) -> Json:
    """``body`` as text when it is UTF-8, else ``bodyBase64``; nothing for an empty one (contract 1.11)."""
    if not body:
        return {}
    try:
        return {name: body.decode()}
    except UnicodeDecodeError:
        return {f"{name}Base64": base64_text(body)}


def base64_text(data: bytes) -> str:
    """Standard base64."""
    return base64.b64encode(data).decode("ascii")


def cut(body: bytes, trim: int | None) -> bytes:
    """``trimBody``: the first ``trim`` bytes; none for 0 and -1, all for ``None``."""
    return body if trim is None else body[: max(trim, 0)]


def _shown(headers: Headers, redaction: Redaction | None) -> Headers:
    return redaction.apply_to_headers(headers) if redaction else headers


def _labels(labels: tuple[str, ...]) -> Json:
    return {"label": labels[0], "labels": list(labels)} if labels else {}


def _flow(message: Message) -> Json:
    flow = message.flow_control
    if flow is None:
        return {}
    return {
        "flowControlKey": flow.key,
        "parallelism": flow.parallelism,
        "rate": flow.rate,
        "period": flow.period_seconds,
    }


def _callbacks(callback: Callback | None, failure_callback: Callback | None, *, plural: bool) -> Json:
    suffix = "Headers" if plural else "Header"
    fields: Json = {}
    for name, one in (("callback", callback), ("failureCallback", failure_callback)):
        if one is not None:
            options = parse_options(one.headers, limits=LENIENT)
            fields[name] = one.url
            fields[f"{name}{suffix}"] = header_map(_shown(options.headers, options.redaction))
    return fields
