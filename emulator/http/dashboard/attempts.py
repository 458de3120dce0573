"""One message as a story of attempts: what was sent, what came back, and how the next time was found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emulator.broker.message import LogEntry, Message, State
from emulator.delivery.request import build_request
from emulator.delivery.sent_headers import RecentRequests
from emulator.http.wire_objects import body_fields, present
from emulator.wire.backoff import explain_wait
from emulator.wire.headers import Headers, first_value
from emulator.wire.redaction import parse_redaction
from emulator.wire.signature_check import SignatureReport, check_signature

_ENDS = (State.DELIVERED, State.ERROR, State.FAILED, State.CANCELED)


@dataclass(slots=True)
class Attempt:
    """One delivery attempt, read from a history. Times are unix milliseconds; ``ended_at`` is ``None`` meanwhile."""

    retried: int
    started_at: int
    due_at: int
    end: LogEntry | None = None
    next_at: int | None = None


def read_attempts(message: Message, history: Sequence[LogEntry]) -> list[Attempt]:
    """The attempts that a history tells of, in order."""
    attempts: list[Attempt] = []
    due_at = message.not_before_at
    for entry in history:
        last = attempts[-1] if attempts else None
        if entry.state is State.ACTIVE:
            attempts.append(Attempt(entry.retried, entry.time_at, due_at))
        elif entry.state in _ENDS and last is not None and last.end is None:
            last.end = entry
        if entry.next_delivery_at is not None:
            due_at = entry.next_delivery_at
            if last is not None:
                last.next_at = due_at
    return attempts


def attempt_view(
    attempt: Attempt,
    message: Message,
    body: bytes,
    *,
    recent: RecentRequests,
    keys: dict[str, str],
    max_timeout_ms: int,
    region: str | None,
) -> dict[str, Any]:
    """One attempt as JSON. The request is the one that was sent while it is remembered, else made again."""
    sent = recent.find(message.seq, attempt.retried)
    headers = sent or _made_again(message, body, attempt, max_timeout_ms, region)
    report = None
    if sent is not None:
        report = check_signature(
            first_value(sent, "Upstash-Signature") or "", keys=keys, url=message.url, body=body
        )
    redaction = parse_redaction(message.redact_fields)
    return {
        "number": attempt.retried + 1,
        "dueAt": attempt.due_at,
        "startedAt": attempt.started_at,
        "request": {
            "method": message.method,
            "url": message.url,
            "headers": [
                list(line) for line in (redaction.apply_to_headers(headers) if redaction else headers)
            ],
            "isAsSent": sent is not None,
        },
        "signature": _signature_view(report),
        **_end_view(attempt, message),
    }


def _end_view(attempt: Attempt, message: Message) -> dict[str, Any]:
    end = attempt.end
    if end is None:
        return {"outcome": None}
    response = end.response
    view: dict[str, Any] = {
        "outcome": end.state.value,
        "endedAt": end.time_at,
        **present({"error": end.error}),
    }
    if response is not None:
        view["response"] = {
            "status": response.status,
            "headers": [list(line) for line in response.headers],
            **body_fields("body", response.body),
        }
    if attempt.next_at is not None:
        view["next"] = {
            "at": attempt.next_at,
            "waitMs": attempt.next_at - end.time_at,
            "rule": explain_wait(
                retried=attempt.retried,
                expression=message.retry_delay,
                response_headers=response.headers if response else (),
                now_at=end.time_at,
            ),
        }
    return view


def _made_again(
    message: Message, body: bytes, attempt: Attempt, max_timeout_ms: int, region: str | None
) -> Headers:
    """The request without its signature, which cannot be made again."""
    request = build_request(
        message,
        body,
        retried=attempt.retried,
        signing_key="",
        jwt_id="",
        signed_at_seconds=0,
        default_timeout_ms=max_timeout_ms,
        region=region,
    )
    return tuple(line for line in request.headers if line[0] != "Upstash-Signature")


def _signature_view(report: SignatureReport | None) -> dict[str, Any] | None:
    if report is None:
        return None
    return {
        "header": report.header,
        "claims": report.claims,
        "key": report.key_name,
        "isUrlRight": report.is_url_right,
        "isBodyRight": report.is_body_right,
        "verifies": report.verifies,
        "expiresAt": report.expires_at,
    }


def history_view(entry: LogEntry) -> dict[str, Any]:
    """One line of a history as JSON."""
    return {
        "time": entry.time_at,
        "state": entry.state.value,
        "retried": entry.retried,
        **present({"nextDeliveryTime": entry.next_delivery_at, "error": entry.error}),
    }
