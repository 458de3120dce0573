"""The delivery options of one job, and the headers that tell them to QStash.

Durations are whole seconds on the wire (``10s``), but a retry-delay expression is in milliseconds.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    TypeAdapter,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from jobs_core.model.backoff import ANSWER_MARGIN, LONGEST_WAIT

# What every client, proxy and server passes on unchanged in a header (RFC 9110, 5.5).
_HEADER_TEXT = re.compile(r"(?:[!-~](?:[ -~\t]*[!-~])?)?")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_URL = TypeAdapter(HttpUrl)

LONGEST_TIMEOUT = timedelta(hours=12)  # of a handler
MOST_RETRIES = 2**31 - 1  # as their column has

# The failure callback is what ends a job whose worker died, so it is tried even for a job without retries.
# Every plan allows three.
FAILURE_CALLBACK_RETRIES = 3


def unsendable(text: str) -> str | None:
    """Return why ``text`` cannot be the value of a header; ``None`` if it can."""
    if _HEADER_TEXT.fullmatch(text):
        return None
    return f"{text[:100]!r} cannot be sent in a header: only printable ASCII can, without blanks around it"


def _check_sendable(value: str) -> str:
    if problem := unsendable(value):
        raise ValueError(problem)
    return value


HeaderText = Annotated[str, AfterValidator(_check_sendable)]


class FlowControl(BaseModel):
    """Limits of a key: how many deliveries may run at once, and start in one period."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    key: HeaderText = Field(min_length=1)
    parallelism: int | None = Field(None, ge=1)
    rate: int | None = Field(None, ge=1)
    period: timedelta = Field(timedelta(seconds=1), gt=timedelta(0), le=timedelta(days=366))

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.parallelism is None and self.rate is None:
            raise ValueError("give parallelism, rate or both")
        return self

    def header_value(self) -> str:
        """Return the value of ``Upstash-Flow-Control-Value``: ``parallelism=3, rate=5, period=60s``."""
        parts = [f"{name}={value}" for name, value in self._limits().items() if value is not None]
        return ", ".join([*parts, f"period={duration(self.period)}"] if self.rate else parts)

    def _limits(self) -> dict[str, int | None]:
        return {"parallelism": self.parallelism, "rate": self.rate}


class DeliveryOptions(BaseModel):
    """A caller's options for the delivery of one job; ``None`` leaves an option to the job type.

    Stored with the job, so that a job retried by hand is delivered with the same options.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    retries: int | None = Field(None, ge=0, le=MOST_RETRIES)
    retry_delay: HeaderText | None = None  # an expression in milliseconds, such as "1000 * (1 + retried)"
    timeout_seconds: float | None = Field(None, gt=0, le=LONGEST_TIMEOUT.total_seconds())  # of the handler
    callback: str | None = None  # told of every attempt, by QStash
    failure_callback: str | None = None  # told once, when the job has failed
    headers: dict[str, str] = Field(default_factory=dict)  # added to the delivery
    queue: str | None = Field(None, max_length=255, pattern=r"^[A-Za-z0-9_.-]+$")
    flow_control: FlowControl | None = None
    label: HeaderText | None = Field(None, min_length=1)

    @field_validator("retries", mode="before")
    @classmethod
    def _no_truth(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("must be a whole number, not true or false")  # noqa: TRY004 -- pydantic's way
        return value

    @field_validator("retry_delay", mode="before")
    @classmethod
    def _milliseconds(cls, value: object) -> object:
        if not isinstance(value, timedelta):
            return value
        if not timedelta(0) <= value <= LONGEST_WAIT:
            raise ValueError(f"a retry delay is 0 to {LONGEST_WAIT}, not {value}")
        return str(round(value.total_seconds() * 1000))

    @field_validator("callback", "failure_callback")
    @classmethod
    def _an_http_url(cls, value: str | None) -> str | None:
        return None if value is None else ascii_url(value)

    @field_validator("headers")
    @classmethod
    def _sendable(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"header {name[:100]!r} cannot be sent: its name is not well formed")
            if problem := unsendable(text):
                raise ValueError(f"header {name}: {problem}")
        return value

    def to_record(self) -> dict[str, Any]:
        """Return the given options, as they are stored with the job."""
        return self.model_dump(mode="json", exclude_defaults=True)


def ascii_url(value: str) -> str:
    """Return ``value``, an http or https URL, in ASCII: its host in punycode, the rest percent-encoded.

    An ASCII URL is left as it is, for signatures are made over it. Raise ValueError if it is no such URL.
    """
    if any(character <= " " or character == "\x7f" for character in value):
        raise ValueError(f"{value[:100]!r} is no URL: it holds blanks or control characters")
    parsed = _URL.validate_python(value)
    return value if value.isascii() else str(parsed)


def seconds(value: timedelta | float) -> float:
    """Return a duration, a timedelta or seconds, in seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def duration(value: timedelta | float) -> str:
    """Return a duration in the wire's form, rounded up: a job is never early."""
    return f"{max(0, math.ceil(seconds(value)))}s"


def not_before_header(instant: datetime) -> str:
    """Return unix seconds, rounded up. Raise ValueError if ``instant`` is naive."""
    if instant.tzinfo is None:
        raise ValueError(f"not_before needs an aware instant, not {instant!r}")
    return str(math.ceil(instant.astimezone(UTC).timestamp()))


def publish_headers(
    options: DeliveryOptions, *, retries: int, timeout: timedelta, label: str, failure_callback: str
) -> dict[str, str]:
    """Return the ``Upstash-*`` headers for a job, without its time and its deduplication id.

    QStash's timeout is a little longer than the handler's, so that a worker that has to stop a handler can
    still respond.
    """
    headers = {
        "Content-Type": "application/json",
        "Upstash-Retries": str(retries),
        "Upstash-Timeout": duration(timeout + ANSWER_MARGIN),
        "Upstash-Label": options.label or label,
        "Upstash-Failure-Callback": failure_callback,
        "Upstash-Failure-Callback-Retries": str(FAILURE_CALLBACK_RETRIES),
    }
    if options.retry_delay is not None:
        headers["Upstash-Retry-Delay"] = options.retry_delay
    if options.callback is not None:
        headers["Upstash-Callback"] = options.callback
    if options.flow_control is not None:
        headers["Upstash-Flow-Control-Key"] = options.flow_control.key
        headers["Upstash-Flow-Control-Value"] = options.flow_control.header_value()
    return headers | forwarded(options.headers)


def forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    """Return ``headers`` with the names that have QStash forward them to the destination."""
    return {f"Upstash-Forward-{name}": value for name, value in headers.items()}
