"""Read an account's objects from answers of ``/v2`` (contract 2.0).

A real account may send further fields, so unknown fields are ignored.
"""

import base64
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from emulator.account.errors import AccountError
from emulator.account.values import (
    EMPTY,
    AccountEndpoint,
    AccountFlowLimits,
    AccountQueue,
    AccountSchedule,
    AccountUrlGroup,
    Lines,
    Pin,
    Value,
    redacted_parts,
)
from emulator.wire.headers import canonical_name

Named = TypeVar("Named")
HeaderMap = dict[str, list[str]]


class _Wire(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="ignore", frozen=True)


# A sample of the vendor shows 0 for a value that was not given (contract U28).
_Given = Annotated[int | None, BeforeValidator(lambda value: value or None)]
_GivenText = Annotated[str | None, BeforeValidator(lambda value: value or None)]


class _Schedule(_Wire):
    schedule_id: str = Field(alias="scheduleId")
    cron: str
    destination: str
    method: str = "POST"
    header: HeaderMap = {}
    body: str = ""
    body_base64: str = Field("", alias="bodyBase64")
    retries: int = 3
    retry_delay: _GivenText = Field(None, alias="retryDelayExpression")
    delay: _Given = None
    timeout: _Given = None
    callback: _GivenText = None
    callback_header: HeaderMap = Field({}, alias="callbackHeader")
    failure_callback: _GivenText = Field(None, alias="failureCallback")
    failure_callback_header: HeaderMap = Field({}, alias="failureCallbackHeader")
    queue_name: _GivenText = Field(None, alias="queueName")
    label: str = ""
    labels: list[str] = []
    flow_control_key: _GivenText = Field(None, alias="flowControlKey")
    parallelism: _Given = None
    rate: _Given = None
    period: _Given = None
    is_paused: bool = Field(False, alias="isPaused")


class _Endpoint(_Wire):
    url: str
    name: _GivenText = None


class _Group(_Wire):
    name: str
    endpoints: list[_Endpoint]
    headers: HeaderMap = {}


class _Queue(_Wire):
    name: str
    parallelism: int
    paused: bool = False


class _FlowKey(_Wire):
    key: str = Field(alias="flowControlKey")
    parallelism: int = Field(0, alias="parallelismMax")
    rate: int = Field(0, alias="rateMax")
    period: int = Field(0, alias="ratePeriod")
    is_paused: bool = Field(False, alias="isPaused")
    is_pinned_parallelism: bool = Field(False, alias="isPinnedParallelism")
    is_pinned_rate: bool = Field(False, alias="isPinnedRate")


_SCHEDULES = TypeAdapter(list[_Schedule])
_GROUPS = TypeAdapter(list[_Group])
_QUEUES = TypeAdapter(list[_Queue])
_FLOW_KEYS = TypeAdapter(list[_FlowKey])


def read_schedules(answer: Any) -> Mapping[str, AccountSchedule]:
    """Return the schedules in an answer of ``GET /v2/schedules``. Raises AccountError."""
    return _by_name(_parsed(_SCHEDULES, answer, "/v2/schedules"), lambda one: one.schedule_id, schedule_of)


def read_groups(answer: Any) -> Mapping[str, AccountUrlGroup]:
    """Return the URL groups in an answer of ``GET /v2/topics``. Raises AccountError."""
    return _by_name(_parsed(_GROUPS, answer, "/v2/topics"), lambda one: one.name, _group_of)


def read_queues(answer: Any) -> Mapping[str, AccountQueue]:
    """Return the queues in an answer of ``GET /v2/queues``. Raises AccountError."""
    queues = _parsed(_QUEUES, answer, "/v2/queues")
    return _by_name(
        queues, lambda one: one.name, lambda one: AccountQueue(parallelism=one.parallelism, paused=one.paused)
    )


def read_pins(answer: Any) -> Mapping[str, Pin]:
    """Return the pinned keys in an answer of ``GET /v2/flowControl``. Raises AccountError."""
    # The older form has a name around the list (contract 2.10).
    keys = answer.get("flowControls") if isinstance(answer, dict) else answer
    pins = _by_name(_parsed(_FLOW_KEYS, keys, "/v2/flowControl"), lambda one: one.key, _pin_of)
    return MappingProxyType({key: pin for key, pin in pins.items() if pin != Pin()})


def read_publication(view: Any) -> AccountSchedule:
    """Return the contents of a Message or DLQMessage, as a schedule without a cron line. Raises AccountError."""
    names = {"scheduleId": view.get("messageId"), "cron": "", "destination": view.get("url")}
    given = {**view, **names, "retries": view.get("maxRetries", 3)}
    return schedule_of(_parsed(_SCHEDULES, [given], "/v2/messages")[0])


def schedule_of(one: _Schedule) -> AccountSchedule:
    """Return one schedule as a value."""
    headers = _lines(one.header)
    body = Value(base64.b64decode(one.body_base64)) if one.body_base64 else Value.of(one.body)
    flow = (
        AccountFlowLimits(
            key=one.flow_control_key, parallelism=one.parallelism, rate=one.rate, period=one.period or 1
        )
        if one.flow_control_key
        else None
    )
    return AccountSchedule(
        cron=one.cron.strip(),
        destination=one.destination,
        method=one.method,
        headers=headers,
        body=body if body.data != b"" else EMPTY,
        retries=one.retries,
        retry_delay=one.retry_delay,
        delay=one.delay,
        timeout=one.timeout,
        callback=one.callback,
        callback_headers=_lines(one.callback_header),
        failure_callback=one.failure_callback,
        failure_callback_headers=_lines(one.failure_callback_header),
        queue=one.queue_name,
        labels=tuple(one.labels) or ((one.label,) if one.label else ()),
        flow_control=flow,
        redact=redacted_parts(headers, body),
        paused=one.is_paused,
    )


def _group_of(one: _Group) -> AccountUrlGroup:
    endpoints = frozenset(AccountEndpoint(endpoint.url, endpoint.name) for endpoint in one.endpoints)
    return AccountUrlGroup(endpoints=endpoints, headers=_lines(one.headers))


def _pin_of(one: _FlowKey) -> Pin:
    return Pin(
        parallelism=one.parallelism if one.is_pinned_parallelism else None,
        rate=one.rate if one.is_pinned_rate else None,
        period=one.period if one.is_pinned_rate else 0,
        paused=one.is_paused,
    )


def _lines(headers: HeaderMap) -> Lines:
    return tuple(
        sorted((canonical_name(name), tuple(map(Value.of, values))) for name, values in headers.items())
    )


def _parsed(adapter: TypeAdapter[list[Any]], answer: Any, path: str) -> list[Any]:
    try:
        return adapter.validate_python(answer)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the answer"
        raise AccountError(f"{path} answered something unknown: {where}: {first['msg']}") from None


def _by_name(
    found: list[Any], name: Callable[[Any], str], value: Callable[[Any], Named]
) -> Mapping[str, Named]:
    return MappingProxyType({name(one): value(one) for one in sorted(found, key=name)})
