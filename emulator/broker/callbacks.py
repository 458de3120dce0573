"""The callbacks that report an attempt (contract 5.5). A callback is an ordinary message."""

import base64
import json
from collections.abc import Mapping

from emulator.broker.message import AttemptResult, Draft, Message
from emulator.wire.destination import Destination, DestinationKind
from emulator.wire.headers import HeaderMap, Headers, header_map
from emulator.wire.limits import LENIENT
from emulator.wire.options import Callback, parse_options
from emulator.wire.redaction import parse_redaction

# As Go writes a struct whose fields are marked omitempty (contract 5.5).
_LEFT_OUT_WHEN_ZERO = frozenset({"body", "retried", "sourceBody", "maxRetries"})
_JSON_CONTENT = (("Content-Type", "application/json"),)


def callback_draft(
    callback: Callback,
    message: Message,
    body: bytes,
    result: AttemptResult,
    *,
    retried: int,
    dlq_id: str | None,
) -> Draft:
    """Return the message that reports ``result``, the outcome of ``message``'s attempt after ``retried`` retries.

    ``dlq_id`` is given for failure callbacks. Retries default to the original's.
    """
    # The options passed the plan's limits when the message was published; a stricter plan since then does not apply.
    options = parse_options(
        (*_JSON_CONTENT, *callback.headers, *_default_retries(callback, message)), limits=LENIENT
    )
    return Draft(
        destination=Destination(DestinationKind.URL, callback.url),
        options=options,
        body=report(message, body, result, retried=retried, dlq_id=dlq_id),
        caller_ip=message.caller_ip,
    )


def _default_retries(callback: Callback, message: Message) -> Headers:
    is_given = any(name.lower() == "upstash-retries" for name, _ in callback.headers)
    return () if is_given else (("Upstash-Retries", str(message.max_retries)),)


def report(
    message: Message,
    body: bytes,
    result: AttemptResult,
    *,
    retried: int,
    dlq_id: str | None = None,
    max_retries: int | None = None,
    further: Mapping[str, object] | None = None,
) -> bytes:
    """Return a callback's body. ``max_retries`` stands for the message's own; ``further`` fields come last."""
    redaction = parse_redaction(message.redact_fields)
    headers = redaction.apply_to_headers(message.headers) if redaction else message.headers
    source_body = redaction.apply_to_body(body) if redaction else body
    fields: dict[str, object] = {
        "status": result.status,
        "header": _sorted_header_map(result.headers),
        "body": _base64(result.body or (result.error or "").encode()),
        "retried": retried,
        "dlqId": dlq_id,
        "sourceMessageId": message.id,
        "topicName": message.topic_name,
        "endpointName": message.endpoint_name,
        "url": message.url,
        "method": message.method,
        "sourceHeader": _sorted_header_map(headers),
        "sourceBody": _base64(source_body),
        "maxRetries": message.max_retries if max_retries is None else max_retries,
        "notBefore": message.not_before_at,
        "createdAt": message.created_at,
        "scheduleId": message.schedule_id,
        "callerIP": message.caller_ip,
        "api": message.api,
        **(further or {}),
    }
    # Fields for which readers of a run's reports have no default (contract W5.4 and W6.3) are always present.
    left_out = frozenset[str]() if further else _LEFT_OUT_WHEN_ZERO
    present = {
        name: value for name, value in fields.items() if value is not None and (value or name not in left_out)
    }
    # Byte-stable under JSON.parse and JSON.stringify: receivers that re-serialise before they verify depend on it.
    return json.dumps(present, separators=(",", ":"), ensure_ascii=False).encode()


def _sorted_header_map(headers: Headers) -> HeaderMap:
    return dict(sorted(header_map(headers).items()))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
