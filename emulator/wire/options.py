"""Read a publisher's options from header lines and query parameters (contract 3).

Publish, enqueue, batch items, schedules and callbacks all create messages from headers; all of them come
through ``parse_options``.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum, auto
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

from emulator.errors import InvalidInput, QuotaExceeded
from emulator.wire.destination import check_name, check_url
from emulator.wire.durations import parse_duration
from emulator.wire.fast_dataclass import keyword_value
from emulator.wire.flow_control import FlowControl, parse_flow_control
from emulator.wire.headers import Headers, canonical_name, is_header_name, is_hop_by_hop, shown_text
from emulator.wire.limits import Limits
from emulator.wire.option_headers import IGNORED_PREFIXES, OPTION_HEADERS
from emulator.wire.option_warnings import not_sent_on, prefixed, unknown_header
from emulator.wire.redaction import Redaction, parse_redaction
from emulator.wire.retry_delay import RetryDelay

DEFAULT_RETRIES = 3
# The end of the year 9999.
_LATEST_SECONDS = 253_402_300_799
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

Lines = Iterable[tuple[str, str]]

_COMMA_LISTS = frozenset({"label", "redact-fields"})
_CONTROLS = re.compile("[\\x00-\\x08\\x0a-\\x1f\\x7f]")
# Not copied by Upstash-Header-Forward beside the hop-by-hop lines (contract 3.3).
_NOT_COPIED = frozenset({"accept-encoding", "user-agent"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """A callback's destination and the publish options of the message that will carry it.

    ``headers`` are spelled as if that message were published directly: ``Upstash-Callback-Retries: 1`` is kept
    as ``("Upstash-Retries", "1")``.
    """

    url: str
    headers: Headers = ()


@keyword_value
class MessageOptions:
    """The options that a message keeps unchanged, each declared only here.

    They are fields of ``PublishOptions`` and of ``broker.message.Message``, which gets them by ``kept_options``. A
    retry from the dead letter queue may override them. The store writes those with JSON values under their names;
    ``store.records`` encodes the others.
    """

    method: str = "POST"
    retry_delay: str | None = None
    timeout_ms: int | None = None
    labels: tuple[str, ...] = ()
    flow_control: FlowControl | None = None
    callback: Callback | None = None
    failure_callback: Callback | None = None
    redact_fields: str | None = None
    queue_name: str | None = None


KEPT_OPTIONS: Final = tuple(one.name for one in fields(MessageOptions))
_pick = attrgetter(*KEPT_OPTIONS)


def kept_options(options: MessageOptions) -> dict[str, Any]:
    """Return the options that a message keeps, by name."""
    return dict(zip(KEPT_OPTIONS, _pick(options), strict=True))


@keyword_value
class PublishOptions(MessageOptions):
    """All options of a publish. ``None`` means "not given"."""

    headers: Headers = ()
    delay_ms: int | None = None
    not_before_at: int | None = None
    retries: int | None = None
    deduplication_id: str | None = None
    content_based_deduplication: bool = False
    redaction: Redaction | None = None
    cron: str | None = None
    schedule_id: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class _Given:
    """Header lines by purpose; names of options and callbacks without their prefix."""

    options: dict[str, str] = field(default_factory=dict)
    forwards: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    callback: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    failure_callback: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    plain: list[tuple[str, str]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


class _Purpose(Enum):
    """The purpose of a header line."""

    OPTION = auto()
    FORWARD = auto()
    CALLBACK = auto()
    FAILURE_CALLBACK = auto()
    PLAIN = auto()
    """A header of the request itself, which may be forwarded."""
    NOTHING = auto()
    UNKNOWN = auto()


# Longest first: the first matching prefix decides the purpose (contract 3.2).
_PREFIXES = (
    ("failure-callback-", _Purpose.FAILURE_CALLBACK, "upstash-"),
    ("callback-", _Purpose.CALLBACK, "upstash-"),
    ("forward-", _Purpose.FORWARD, ""),
)


def parse_options(*sources: Lines, limits: Limits, prefix: str = "Upstash-") -> PublishOptions:
    """Read options from ``sources`` in order of precedence: request headers, query parameters, group defaults.

    Only the first source's own ``Content-Type`` counts. Errors put ``prefix`` before an option's name. An empty value
    counts as not given. Raises InvalidInput or QuotaExceeded naming the header and the value.
    """
    first, *others = sources
    given = _merge(_sort_lines(first), [_sort_lines(source) for source in others if source])
    reader = _OptionReader(given.options, prefix, limits)
    # Most publishes give few options or none, so only given ones are read.
    values: dict[str, Any] = {
        name: read(reader)
        for name, read in (_OPTIONS[one] for one in given.options if one in _OPTIONS)
        if read
    }
    warnings = [unknown_header(name, prefix) for name in given.unknown]
    if given.forwards:
        warnings += not_sent_on(given.forwards)
        if "content-type" in given.forwards and any(name == "Content-Type" for name, _ in given.plain):
            warnings.append(f"{prefix}Forward-Content-Type is ignored beside Content-Type")
    if given.callback or "callback" in given.options:
        values["callback"] = _callback(reader, "Callback", given.callback, limits, warnings)
    if given.failure_callback or "failure-callback" in given.options:
        values["failure_callback"] = _callback(
            reader, "Failure-Callback", given.failure_callback, limits, warnings
        )
    if "redact-fields" in given.options:
        values["redaction"] = parse_redaction(
            reader.text("Redact-Fields"), field=reader.name("Redact-Fields")
        )
    return PublishOptions(
        headers=_forwarded(given, is_copying=reader.flag("Header-Forward")),
        warnings=tuple(warnings),
        **values,
    )


def given_options(lines: Lines) -> frozenset[str]:
    """Return the names of the fields of ``PublishOptions`` that ``lines`` set."""
    names = (name.lower().removeprefix("upstash-") for name, value in lines if value.strip())
    return frozenset(_OPTIONS[name][0] for name in names if name in _OPTIONS)


def _sort_lines(lines: Lines) -> _Given:
    given = _Given()
    for name, value in lines:
        purpose, key = _purpose_of(name)
        if purpose is _Purpose.NOTHING:
            continue
        if _CONTROLS.search(value):
            raise InvalidInput(
                f"invalid {name} {json.dumps(value[:100])}: a header's value has no control characters (RFC 9110, 5.5)"
            )
        if purpose is _Purpose.PLAIN:
            given.plain.append((key, value))
        elif purpose is _Purpose.OPTION:
            _add_option(given.options, key, shown_text(value))
        elif purpose is _Purpose.FORWARD:
            _add_line(given.forwards, key, value)
        elif purpose is _Purpose.CALLBACK:
            _add_line(given.callback, key, value)
        elif purpose is _Purpose.FAILURE_CALLBACK:
            _add_line(given.failure_callback, key, value)
        else:
            given.unknown.append(key)
    return given


@lru_cache(maxsize=512)
def _purpose_of(name: str) -> tuple[_Purpose, str]:
    """Return the purpose of lines called ``name``, and their name without the purpose's prefix.

    Cached: publishers use the same few names, and reading them is most of the cost of parsing. Raises InvalidInput
    for names that JSON and query strings can hold but a header cannot.
    """
    if not is_header_name(name):
        raise InvalidInput(
            f"invalid header name {name!r}: only letters, digits and !#$%&'*+-.^_`|~ are accepted"
        )
    lowered = name.lower()
    if not lowered.startswith("upstash-"):
        is_dropped = is_hop_by_hop(lowered) or lowered in _NOT_COPIED
        return (_Purpose.NOTHING, "") if is_dropped else (_Purpose.PLAIN, canonical_name(name))
    lowered = lowered.removeprefix("upstash-")
    if lowered in OPTION_HEADERS:
        return _Purpose.OPTION, lowered
    for prefix, purpose, put_in_front in _PREFIXES:
        if lowered.startswith(prefix):
            rest = lowered.removeprefix(prefix)
            return (purpose, canonical_name(put_in_front + rest)) if rest else (_Purpose.NOTHING, "")
    if lowered.startswith(IGNORED_PREFIXES):
        return _Purpose.NOTHING, ""
    return _Purpose.UNKNOWN, f"Upstash-{name[len('upstash-') :]}"


def _add_option(options: dict[str, str], name: str, value: str) -> None:
    stripped = value.strip()
    if name in options and stripped:
        separator = "," if name in _COMMA_LISTS else ", "
        options[name] = f"{options[name]}{separator}{stripped}"
    elif stripped:
        options[name] = stripped


def _add_line(lines: dict[str, list[tuple[str, str]]], name: str, value: str) -> None:
    lines.setdefault(name.lower(), []).append((name, value))


def _merge(first: _Given, others: Sequence[_Given]) -> _Given:
    """Merge all sources: for every name, the first source that has it wins."""
    for layer in others:
        for name, value in layer.options.items():
            first.options.setdefault(name, value)
        for mine, theirs in (
            (first.forwards, layer.forwards),
            (first.callback, layer.callback),
            (first.failure_callback, layer.failure_callback),
        ):
            for name, lines in theirs.items():
                mine.setdefault(name, lines)
        first.unknown.extend(layer.unknown)
    return first


def _forwarded(given: _Given, *, is_copying: bool) -> Headers:
    """Return the forwarded lines: the content type, copied lines if requested, explicit forwards."""
    lines: list[tuple[str, str]] = []
    for name, value in given.plain:
        if name == "Content-Type" or (is_copying and name.lower() not in given.forwards):
            lines.append((name, value))
    has_content_type = any(name == "Content-Type" for name, _ in lines)
    for lowered, forwards in given.forwards.items():
        if not (lowered == "content-type" and has_content_type):
            lines.extend(forwards)
    return tuple(lines)


def _callback(
    reader: "_OptionReader",
    option: str,
    given: dict[str, list[tuple[str, str]]],
    limits: Limits,
    warnings: list[str],
) -> Callback | None:
    """Return the callback, and append a warning for each of its options without effect."""
    url = reader.text(option)
    prefix = f"{reader.name(option)}-"
    if url is None:
        warnings += (f"{prefixed(prefix, name)} is ignored without {reader.name(option)}" for name in given)
        return None
    check_url(url, what=f"{reader.name(option)} url")
    for name in ("upstash-delay", "upstash-not-before"):
        # The service rejects delayed callbacks when the message is published (contract U21).
        if name in given:
            raise InvalidInput(f"{prefixed(prefix, name)} is not supported: a callback is sent at once")
    headers = tuple(line for lines in given.values() for line in lines)
    warnings += parse_options(headers, limits=limits, prefix=prefix).warnings
    return Callback(url=url, headers=headers)


class _OptionReader:
    """Reads one publish's options by type; every error names the header and the value."""

    def __init__(self, options: dict[str, str], prefix: str, limits: Limits) -> None:
        self._options = options
        self._prefix = prefix
        self._limits = limits

    def name(self, option: str) -> str:
        return f"{self._prefix}{option}"

    def text(self, option: str) -> str | None:
        return self._options.get(option.lower())

    def flag(self, option: str) -> bool:
        text = self.text(option)
        if text is None:
            return False
        # Python's SDK writes True and False (contract 3.2).
        if text.lower() not in ("true", "false"):
            raise InvalidInput(f"invalid {self.name(option)} {text!r}: expected true or false")
        return text.lower() == "true"

    def method(self) -> str:
        method = (self.text("Method") or "POST").upper()
        if method not in METHODS:
            raise InvalidInput(
                f"invalid {self.name('Method')} {method!r}: expected one of {', '.join(METHODS)}"
            )
        return method

    def retries(self) -> int | None:
        retries = self._whole_number("Retries")
        if retries is not None and retries > self._limits.max_retries:
            raise QuotaExceeded(
                "quota maxRetries exceeded",
                hint=f"{self.name('Retries')} {retries} is over {self._limits.max_retries}",
            )
        return retries

    def retry_delay(self) -> str | None:
        text = self.text("Retry-Delay")
        return None if text is None else RetryDelay.parse(text, field=self.name("Retry-Delay")).text

    def timeout(self) -> int | None:
        text = self.text("Timeout")
        if text is None:
            return None
        timeout_ms = parse_duration(text, field=self.name("Timeout"))
        if timeout_ms == 0:
            raise InvalidInput(f"invalid {self.name('Timeout')} {text!r}: it must be longer than 0s")
        # It can only shorten the plan's maximum (contract 3.2).
        return min(timeout_ms, self._limits.max_timeout_ms)

    def delay(self) -> int | None:
        text = self.text("Delay")
        if text is None:
            return None
        delay_ms = parse_duration(text, field=self.name("Delay"))
        if delay_ms > self._limits.max_delay_ms:
            raise QuotaExceeded("quota maxDelay exceeded", hint=f"{self.name('Delay')} {text!r}")
        return delay_ms

    def not_before(self) -> int | None:
        text = self.text("Not-Before")
        if text is not None and text.isascii() and text.isdigit() and int(text[:20]) > _LATEST_SECONDS:
            raise InvalidInput(
                f"invalid {self.name('Not-Before')} {text!r}: it takes unix seconds, and these are after the year 9999"
                + (f"; {int(text) // 1000} if milliseconds were meant" if len(text) == 13 else "")
            )
        seconds = self._whole_number("Not-Before")
        return None if seconds is None else seconds * 1000

    def labels(self) -> tuple[str, ...]:
        items = (item.strip() for item in (self.text("Label") or "").split(","))
        return tuple(dict.fromkeys(item for item in items if item))

    def flow_control(self) -> FlowControl | None:
        return parse_flow_control(
            self.text("Flow-Control-Key"), self.text("Flow-Control-Value"), prefix=self._prefix
        )

    def deduplication_id(self) -> str | None:
        text = self.text("Deduplication-Id")
        if text is not None and ":" in text:
            raise InvalidInput("DeduplicationId cannot contain ':'")
        return text

    def checked_name(self, option: str) -> str | None:
        text = self.text(option)
        return None if text is None else check_name(text, what=self.name(option))

    def _whole_number(self, option: str) -> int | None:
        text = self.text(option)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= 12):
            raise InvalidInput(
                f"invalid {self.name(option)} {text!r}: expected a whole number that is not negative"
            )
        return int(text)


# The field of ``PublishOptions`` for each option, and its reader.
_OPTIONS: Final[dict[str, tuple[str, Callable[[_OptionReader], Any] | None]]] = {
    "method": ("method", _OptionReader.method),
    "delay": ("delay_ms", _OptionReader.delay),
    "not-before": ("not_before_at", _OptionReader.not_before),
    "retries": ("retries", _OptionReader.retries),
    "retry-delay": ("retry_delay", _OptionReader.retry_delay),
    "timeout": ("timeout_ms", _OptionReader.timeout),
    # ``_callback`` reads these with their own options.
    "callback": ("callback", None),
    "failure-callback": ("failure_callback", None),
    "label": ("labels", _OptionReader.labels),
    "flow-control-key": ("flow_control", _OptionReader.flow_control),
    "flow-control-value": ("flow_control", _OptionReader.flow_control),
    "deduplication-id": ("deduplication_id", _OptionReader.deduplication_id),
    "content-based-deduplication": (
        "content_based_deduplication",
        lambda reader: reader.flag("Content-Based-Deduplication"),
    ),
    "queue-name": ("queue_name", lambda reader: reader.checked_name("Queue-Name")),
    "redact-fields": ("redact_fields", lambda reader: reader.text("Redact-Fields")),
    "cron": ("cron", lambda reader: reader.text("Cron")),
    "schedule-id": ("schedule_id", lambda reader: reader.checked_name("Schedule-Id")),
}
