"""An entry of an account's dead letter queue, and its last delivery as a request (contract 2.0, 2.8 and 4.1)."""

import base64
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from emulator.account.errors import AccountError
from emulator.account.values import Value
from emulator.broker.message import Message
from emulator.delivery.request import OutboundRequest, build_request
from emulator.wire.flow_control import FlowControl
from emulator.wire.headers import Headers

_TIMEOUT_MS = 900_000
_Given = Annotated[int | None, BeforeValidator(lambda value: value or None)]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountDeadLetter:
    """``body`` is ``None``, and ``hidden`` names headers, where the account shows a digest. ``status`` 0: no answer."""

    dlq_id: str
    message: Message
    body: bytes | None
    hidden: tuple[str, ...]
    status: int
    answer: str


class _Entry(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    dlq_id: str = Field(alias="dlqId")
    message_id: str = Field(alias="messageId")
    url: str
    method: str = "POST"
    header: dict[str, list[str]] = {}
    body: str = ""
    body_base64: str = Field("", alias="bodyBase64")
    max_retries: int = Field(3, alias="maxRetries")
    created_at: int = Field(0, alias="createdAt")
    caller_ip: str | None = Field(None, alias="callerIP")
    topic_name: str | None = Field(None, alias="topicName")
    endpoint_name: str | None = Field(None, alias="endpointName")
    queue_name: str | None = Field(None, alias="queueName")
    schedule_id: str | None = Field(None, alias="scheduleId")
    retry_delay: str | None = Field(None, alias="retryDelayExpression")
    labels: tuple[str, ...] = ()
    flow_control_key: str | None = Field(None, alias="flowControlKey")
    parallelism: _Given = None
    rate: _Given = None
    period: _Given = None
    status: int = Field(0, alias="responseStatus")
    answer: str = Field("", alias="responseBody")


def read_dead_letter(answer: Any) -> AccountDeadLetter:
    """Return the entry in an answer of ``GET /v2/dlq/{dlqId}``. Raises AccountError naming an invalid field."""
    try:
        entry = _Entry.model_validate(answer)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the answer"
        raise AccountError(f"/v2/dlq answered something unknown: {where}: {first['msg']}") from None
    lines = [(name, Value.of(value)) for name, values in entry.header.items() for value in values]
    body = Value(base64.b64decode(entry.body_base64)) if entry.body_base64 else Value.of(entry.body)
    return AccountDeadLetter(
        dlq_id=entry.dlq_id,
        message=_message(
            entry, tuple((name, value.data.decode()) for name, value in lines if value.data is not None)
        ),
        body=body.data,
        hidden=tuple(name for name, value in lines if value.data is None),
        status=entry.status,
        answer=entry.answer,
    )


def _message(entry: _Entry, headers: Headers) -> Message:
    key = entry.flow_control_key
    flow = (
        FlowControl(key=key, parallelism=entry.parallelism, rate=entry.rate, period_seconds=entry.period or 1)
        if key
        else None
    )
    return Message(
        seq=0,
        id=entry.message_id,
        url=entry.url,
        method=entry.method,
        headers=headers,
        body_seq=None,
        created_at=entry.created_at,
        not_before_at=entry.created_at,
        max_retries=entry.max_retries,
        retry_delay=entry.retry_delay,
        topic_name=entry.topic_name,
        endpoint_name=entry.endpoint_name,
        queue_name=entry.queue_name,
        schedule_id=entry.schedule_id,
        caller_ip=entry.caller_ip,
        labels=entry.labels,
        flow_control=flow,
    )


def delivery(
    entry: AccountDeadLetter, body: bytes, *, url: str, signing_key: str, jwt_id: str, signed_at_seconds: int
) -> OutboundRequest:
    """Return the request of the entry's last attempt again, addressed to ``url`` and signed over it."""
    return build_request(
        replace(entry.message, url=url),
        body,
        retried=entry.message.max_retries,
        signing_key=signing_key,
        jwt_id=jwt_id,
        signed_at_seconds=signed_at_seconds,
        default_timeout_ms=_TIMEOUT_MS,
    )
