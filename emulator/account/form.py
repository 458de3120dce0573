"""The form of ``qstash.yaml``: what each field accepts, and the state it describes (docs/account.md, "The file")."""

import base64
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.alias_generators import to_camel

from emulator.account.values import (
    EMPTY,
    WITHHELD,
    AccountEndpoint,
    AccountFlowLimits,
    AccountQueue,
    AccountSchedule,
    AccountState,
    AccountUrlGroup,
    Lines,
    Pin,
    Value,
)
from emulator.errors import InvalidInput
from emulator.wire.cron import Cron
from emulator.wire.destination import check_name, check_url, parse_destination
from emulator.wire.durations import parse_duration
from emulator.wire.headers import canonical_name, is_header_name
from emulator.wire.redaction import parse_redaction

_PRINTABLE = "".join(map(chr, range(33, 127)))
_EXPECTED = "expected text, {withheld: true} or {env: NAME}"
_OPTIONS = ("upstash-", "qstash_token")


def _checked(check: Any) -> AfterValidator:
    """Return a validator of the form from a check of ``wire``, whose errors become the ValueError of pydantic."""

    def validate(value: Any) -> Any:
        try:
            return check(value)
        except InvalidInput as error:
            raise ValueError(str(error)) from None

    return AfterValidator(validate)


def _seconds(value: Any) -> Any:
    """Return seconds from whole seconds or a duration such as ``10m``."""
    if not isinstance(value, str) or value.isdecimal():
        return value
    try:
        return parse_duration(value, field="duration") // 1000
    except InvalidInput as error:
        raise ValueError(str(error)) from None


def _in_ascii(url: str) -> str:
    """Return the URL with blanks and non-ASCII characters percent-encoded as UTF-8 (RFC 3986, 2.5)."""
    return "".join(
        one if one in _PRINTABLE else "".join(f"%{byte:02X}" for byte in one.encode()) for one in url
    )


def _destination(text: str) -> str:
    raw, _, query = text.partition("?")
    if any(pair.lower().startswith(_OPTIONS) for pair in query.split("&")):
        raise InvalidInput("the query has an option of QStash, which would not reach the destination")
    parse_destination(_in_ascii(raw), query)
    return _in_ascii(text)


def _url(text: str) -> str:
    return check_url(_in_ascii(text), what="url")


def _one_line(text: str) -> str:
    if any(mark in text for mark in "\r\n\0"):
        raise ValueError("expected one line as a header's value")
    return text


def _header_name(text: str) -> str:
    if not is_header_name(text):
        raise ValueError("not a valid header name")
    return canonical_name(text)


def _redaction(tokens: tuple[str, ...]) -> tuple[str, ...]:
    parse_redaction(",".join(tokens))
    return tokens


def _label(text: str) -> str:
    if not text.strip() or "," in text:
        raise ValueError("expected a label that is not empty and has no comma")
    return _one_line(text)


Seconds = Annotated[int, BeforeValidator(_seconds), Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Period = Annotated[int, BeforeValidator(_seconds), Field(ge=1, le=604_800)]
Url = Annotated[str, _checked(_url)]


class _Form(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True
    )


class Elsewhere(_Form):
    """A value that is not in the file: the account's value stays, or a variable holds it."""

    withheld: bool = False
    env: str | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if self.withheld == (self.env is not None):
            raise ValueError(_EXPECTED)
        return self


def _value(given: Any, info: ValidationInfo) -> Value:
    """Return a value from text or from a reference to a variable. ``info.context`` is the environment."""
    if isinstance(given, Value):
        return given
    if isinstance(given, str):
        return _of_text(given, info)
    try:
        elsewhere = Elsewhere.model_validate(given)
    except ValidationError:
        # The error's text contains the value, which may be a secret.
        raise ValueError(_EXPECTED) from None
    if elsewhere.env is None:
        return WITHHELD
    if (text := (info.context or {}).get(elsewhere.env)) is None:
        raise ValueError(f"the variable {elsewhere.env} is not set")
    return _of_text(text, info)


def _of_text(text: str, info: ValidationInfo) -> Value:
    return Value((text if info.field_name == "body" else _one_line(text)).encode())


def _values(given: Any, info: ValidationInfo) -> tuple[Value, ...]:
    return tuple(_value(one, info) for one in given) if isinstance(given, list) else (_value(given, info),)


OneValue = Annotated[Value, BeforeValidator(_value)]
HeaderForm = dict[
    Annotated[str, AfterValidator(_header_name)], Annotated[tuple[Value, ...], BeforeValidator(_values)]
]


class FlowForm(_Form):
    key: str = Field(min_length=1)
    parallelism: Positive | None = None
    rate: Positive | None = None
    period: Period = 1

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.parallelism is None and self.rate is None:
            raise ValueError("expected parallelism, rate or both")
        return self

    def to_value(self) -> AccountFlowLimits:
        return AccountFlowLimits(
            key=self.key, parallelism=self.parallelism, rate=self.rate, period=self.period
        )


class ScheduleForm(_Form):
    model_config: ClassVar[ConfigDict] = ConfigDict(arbitrary_types_allowed=True)

    cron: Annotated[str, _checked(lambda text: Cron.parse(text).text)]
    destination: Annotated[str, _checked(_destination)]
    method: Annotated[str, AfterValidator(str.upper), Field(pattern="(?i)^(GET|POST|PUT|PATCH|DELETE)$")] = (
        "POST"
    )
    headers: HeaderForm = {}
    body: OneValue = EMPTY
    body_base64: str | None = None
    retries: Annotated[int, Field(ge=0)] = 3
    retry_delay: Annotated[str, AfterValidator(_one_line)] | None = None
    delay: Seconds | None = None
    timeout: Annotated[int, BeforeValidator(_seconds), Field(ge=1)] | None = None
    callback: Url | None = None
    callback_headers: HeaderForm = {}
    failure_callback: Url | None = None
    failure_callback_headers: HeaderForm = {}
    callback_retries: Annotated[int, Field(ge=0)] | None = None
    failure_callback_retries: Annotated[int, Field(ge=0)] | None = None
    queue: Annotated[str, _checked(lambda text: check_name(text, what="queue name"))] | None = None
    labels: tuple[Annotated[str, AfterValidator(_label)], ...] = ()
    flow_control: FlowForm | None = None
    redact: Annotated[tuple[str, ...], _checked(_redaction)] = ()
    paused: bool = False

    @model_validator(mode="after")
    def _has_one_body(self) -> Self:
        if self.body_base64 is not None and self.body != EMPTY:
            raise ValueError("expected body or bodyBase64, not both")
        if self.body_base64 is not None:
            _decoded(self.body_base64)
        return self

    def to_value(self) -> AccountSchedule:
        headers = _lines(self.headers)
        body = self.body if self.body_base64 is None else Value(_decoded(self.body_base64))
        return AccountSchedule(
            cron=self.cron,
            destination=self.destination,
            method=self.method,
            headers=headers,
            body=body,
            retries=self.retries,
            retry_delay=self.retry_delay,
            delay=self.delay,
            timeout=self.timeout,
            callback=self.callback,
            callback_headers=_lines(self.callback_headers),
            failure_callback=self.failure_callback,
            failure_callback_headers=_lines(self.failure_callback_headers),
            callback_retries=self.callback_retries,
            failure_callback_retries=self.failure_callback_retries,
            queue=self.queue,
            labels=tuple(label.strip() for label in self.labels),
            flow_control=self.flow_control.to_value() if self.flow_control else None,
            redact=_redacted(self.redact, headers, body),
            paused=self.paused,
        )


class EndpointForm(_Form):
    url: Url
    name: str | None = Field(None, min_length=1)


class GroupForm(_Form):
    model_config: ClassVar[ConfigDict] = ConfigDict(arbitrary_types_allowed=True)

    endpoints: tuple[EndpointForm, ...] = Field(min_length=1)
    headers: HeaderForm = {}

    @model_validator(mode="after")
    def _has_each_endpoint_once(self) -> Self:
        for what in ("url", "name"):
            given = [getattr(one, what) for one in self.endpoints if getattr(one, what) is not None]
            if twice := [one for one in given if given.count(one) > 1]:
                raise ValueError(f"two endpoints have the {what} {twice[0]!r}")
        return self

    def to_value(self) -> AccountUrlGroup:
        endpoints = frozenset(AccountEndpoint(one.url, one.name) for one in self.endpoints)
        return AccountUrlGroup(endpoints=endpoints, headers=_lines(self.headers))


class QueueForm(_Form):
    parallelism: Positive = 1
    paused: bool = False

    def to_value(self) -> AccountQueue:
        return AccountQueue(parallelism=self.parallelism, paused=self.paused)


class PinForm(_Form):
    parallelism: Positive | None = None
    rate: Positive | None = None
    period: Period | None = None
    paused: bool = False

    @model_validator(mode="after")
    def _fixes_something(self) -> Self:
        if self.parallelism is None and self.rate is None and not self.paused:
            raise ValueError("expected parallelism, rate or paused")
        if self.period is not None and self.rate is None:
            raise ValueError("period needs a rate")
        return self

    def to_value(self) -> Pin:
        period = 0 if self.rate is None else self.period or 1
        return Pin(parallelism=self.parallelism, rate=self.rate, period=period, paused=self.paused)


def _named(what: str) -> AfterValidator:
    return _checked(lambda name: check_name(name, what=what))


class FileForm(_Form):
    """The whole file. A missing part is not managed."""

    schedules: dict[Annotated[str, _named("schedule id")], ScheduleForm] | None = None
    url_groups: dict[Annotated[str, _named("URL group name")], GroupForm] | None = None
    queues: dict[Annotated[str, _named("queue name")], QueueForm] | None = None
    flow_control: dict[Annotated[str, Field(min_length=1)], PinForm] | None = None

    def to_value(self) -> AccountState:
        return AccountState(
            schedules=_part(self.schedules),
            url_groups=_part(self.url_groups),
            queues=_part(self.queues),
            flow_control=_part(self.flow_control),
        )


def _part(forms: Mapping[str, Any] | None) -> Any:
    return (
        None if forms is None else MappingProxyType({name: forms[name].to_value() for name in sorted(forms)})
    )


def _lines(headers: Mapping[str, tuple[Value, ...]]) -> Lines:
    return tuple(sorted(headers.items()))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("bodyBase64 is not standard base64") from None


def _redacted(tokens: tuple[str, ...], headers: Lines, body: Value) -> frozenset[str]:
    """Return the existing parts that are shown as digests."""
    redaction = parse_redaction(",".join(tokens))
    if redaction is None:
        return frozenset()
    hidden = {
        f"header[{name}]"
        for name, _ in headers
        if redaction.all_headers or name.lower() in redaction.header_names
    }
    return frozenset(hidden | ({"body"} if redaction.body and body != EMPTY else set()))
