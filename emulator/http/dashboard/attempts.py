"""One message as a story of attempts: what was sent, what came back, and how the next time was found."""

from typing import Any

from emulator.broker.message import LogEntry, Message
from emulator.broker.outcome import explain_entry
from emulator.http.wire_objects import body_fields, present
from emulator.store.attempts import LoggedAttempt
from emulator.wire.backoff import explain_wait
from emulator.wire.headers import first_value
from emulator.wire.signature_check import SignatureReport, check_signature

Attempt = LoggedAttempt[LogEntry]


def attempt_view(attempt: Attempt, message: Message, body: bytes, *, keys: dict[str, str]) -> dict[str, Any]:
    """One attempt as JSON. The request's header lines are those that were kept when the attempt ended."""
    sent = attempt.end.sent if attempt.end is not None else None
    signature = first_value(sent, "Upstash-Signature") if sent else None
    report = None if signature is None else check_signature(signature, keys=keys, url=message.url, body=body)
    return {
        "number": attempt.retried + 1,
        "dueAt": attempt.due_at,
        "startedAt": attempt.started_at,
        "request": {
            "method": message.method,
            "url": message.url,
            "headers": [list(line) for line in sent or ()],
            "isKept": sent is not None,
        },
        "signature": _signature_view(report),
        **_end_view(attempt, message),
    }


def _end_view(attempt: Attempt, message: Message) -> dict[str, Any]:
    end = attempt.end
    if end is None:
        return {"outcome": None}
    response = end.response
    reason = explain_entry(end, url=message.url, method=message.method)
    view: dict[str, Any] = {
        "outcome": end.state.value,
        "endedAt": end.time_at,
        **present({"error": end.error, "reason": reason.sentence if reason else None}),
    }
    if response is not None:
        view["response"] = {
            "status": response.status,
            "headers": [list(line) for line in response.headers],
            **body_fields(response.body),
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
