"""One message as a story of attempts: what was sent, what came back, and how the next time was found."""

from emulator.broker.message import AttemptResult, LogEntry, Message
from emulator.broker.outcome import explain_entry
from emulator.http.dashboard import models
from emulator.http.wire_objects import body_fields, optional, present
from emulator.store.attempts import LoggedAttempt
from emulator.wire.backoff import explain_wait
from emulator.wire.headers import first_value
from emulator.wire.signature_check import SignatureReport, check_signature

Attempt = LoggedAttempt[LogEntry]


def attempt_view(
    attempt: Attempt, message: Message, body: bytes, *, keys: dict[str, str]
) -> models.AttemptObject:
    """Return one attempt. The request's header lines are those that were kept when the attempt ended."""
    sent = attempt.end.sent if attempt.end is not None else None
    signature = first_value(sent, "Upstash-Signature") if sent else None
    report = None if signature is None else check_signature(signature, keys=keys, url=message.url, body=body)
    return models.AttemptObject(
        number=attempt.retried + 1,
        dueAt=attempt.due_at,
        startedAt=attempt.started_at,
        request=models.SentRequest(
            method=message.method,
            url=message.url,
            headers=[list(line) for line in sent or ()],
            isKept=sent is not None,
        ),
        signature=_signature_view(report),
        **_end_view(attempt, message),
    )


def _end_view(attempt: Attempt, message: Message) -> models.AttemptEnd:
    end = attempt.end
    if end is None:
        return {"outcome": None}
    reason = explain_entry(end, url=message.url, method=message.method)
    return present(
        models.AttemptEnd(
            outcome=end.state.value,
            endedAt=end.time_at,
            error=optional(end.error or None),
            reason=optional(reason.sentence if reason else None),
            response=optional(_answer_view(end.response)),
            next=optional(_next_view(attempt, end, message)),
        )
    )


def _answer_view(response: AttemptResult | None) -> models.AnswerObject | None:
    if response is None:
        return None
    lines = [list(line) for line in response.headers]
    return models.AnswerObject(status=response.status, headers=lines, **body_fields(response.body))


def _next_view(attempt: Attempt, end: LogEntry, message: Message) -> models.NextAttempt | None:
    if attempt.next_at is None:
        return None
    rule = explain_wait(
        retried=attempt.retried,
        expression=message.retry_delay,
        response_headers=end.response.headers if end.response else (),
        now_at=end.time_at,
    )
    return models.NextAttempt(at=attempt.next_at, waitMs=attempt.next_at - end.time_at, rule=rule)


def _signature_view(report: SignatureReport | None) -> models.Signature | None:
    if report is None:
        return None
    return models.Signature(
        header=report.header,
        claims=report.claims,
        key=report.key_name,
        isUrlRight=report.is_url_right,
        isBodyRight=report.is_body_right,
        verifies=report.verifies,
        expiresAt=report.expires_at,
    )


def history_view(entry: LogEntry) -> models.HistoryLine:
    """Return one line of a history."""
    return present(
        models.HistoryLine(
            time=entry.time_at,
            state=entry.state,
            retried=entry.retried,
            nextDeliveryTime=optional(entry.next_delivery_at),
            error=optional(entry.error or None),
        )
    )
