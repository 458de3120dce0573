"""An account's configuration as frozen values: schedules, URL groups, queues, pinned flow-control keys."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType

_REDACTED = "REDACTED:"


@dataclass(frozen=True, slots=True)
class Value:
    """A header's value or a body, which may be a secret: known, known by its SHA-256 alone, or withheld.

    ``digest`` is hexadecimal; both are ``None`` for a value that was left out on purpose.
    """

    data: bytes | None = None
    digest: str | None = None

    @staticmethod
    def of(text: str) -> "Value":
        """Return a value as the API shows it; ``REDACTED:<sha256>`` is a digest (contract 3.8)."""
        digest = text.removeprefix(_REDACTED)
        is_digest = digest != text and len(digest) == 64
        return Value(digest=digest) if is_digest else Value(text.encode())

    @property
    def is_withheld(self) -> bool:
        return self.data is None and self.digest is None

    def could_be(self, other: "Value") -> bool:
        """Return whether both may be equal; a withheld value may be equal to any."""
        if self.is_withheld or other.is_withheld:
            return True
        return self == other or _sum(self) == _sum(other)


def _sum(value: Value) -> str:
    return value.digest or hashlib.sha256(value.data or b"").hexdigest()


WITHHELD = Value()
EMPTY = Value(b"")

Lines = tuple[tuple[str, tuple[Value, ...]], ...]
"""Header lines by canonical name, sorted, each with all its values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFlowLimits:
    """The flow-control limits of a schedule's messages; ``period`` is in seconds."""

    key: str
    parallelism: int | None = None
    rate: int | None = None
    period: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSchedule:
    """A cron line and the message that it publishes. ``delay`` and ``timeout`` are in seconds.

    ``redact`` names the parts that the account shows as digests: ``body``, ``header[Name]``. The retries of callbacks
    are in no answer, so they are written but never compared.
    """

    cron: str
    destination: str
    method: str = "POST"
    headers: Lines = ()
    body: Value = EMPTY
    retries: int = 3
    retry_delay: str | None = None
    delay: int | None = None
    timeout: int | None = None
    callback: str | None = None
    callback_headers: Lines = ()
    failure_callback: str | None = None
    failure_callback_headers: Lines = ()
    callback_retries: int | None = field(default=None, compare=False)
    failure_callback_retries: int | None = field(default=None, compare=False)
    queue: str | None = None
    labels: tuple[str, ...] = ()
    flow_control: AccountFlowLimits | None = None
    redact: frozenset[str] = frozenset()
    paused: bool = False


@dataclass(frozen=True, slots=True)
class AccountEndpoint:
    """One URL of a URL group, perhaps with a name."""

    url: str
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountUrlGroup:
    """Endpoints, whose order has no meaning, and default publish options."""

    endpoints: frozenset[AccountEndpoint]
    headers: Lines = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountQueue:
    parallelism: int = 1
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """The pinned limits of a flow-control key; ``period`` is the rate's, in seconds, and 0 without a rate."""

    parallelism: int | None = None
    rate: int | None = None
    period: int = 0
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """The objects of each part by name; ``None`` is a part that a file does not manage."""

    schedules: Mapping[str, AccountSchedule] | None = field(default_factory=lambda: MappingProxyType({}))
    url_groups: Mapping[str, AccountUrlGroup] | None = field(default_factory=lambda: MappingProxyType({}))
    queues: Mapping[str, AccountQueue] | None = field(default_factory=lambda: MappingProxyType({}))
    flow_control: Mapping[str, Pin] | None = field(default_factory=lambda: MappingProxyType({}))

    def part(self, name: str) -> Mapping[str, AccountSchedule | AccountUrlGroup | AccountQueue | Pin] | None:
        """Return one part by its field's name."""
        found: Mapping[str, AccountSchedule | AccountUrlGroup | AccountQueue | Pin] | None = getattr(
            self, name
        )
        return found

    @property
    def withheld_count(self) -> int:
        """Return the number of unknown values, which count as equal to any."""
        lines = [one.headers for one in (self.url_groups or {}).values()]
        bodies = []
        for one in (self.schedules or {}).values():
            lines += [one.headers, one.callback_headers, one.failure_callback_headers]
            bodies.append(one.body)
        values = [value for each in lines for _, held in each for value in held]
        return sum(value.is_withheld for value in (*values, *bodies))


PARTS = {
    "queues": "queue",
    "url_groups": "URL group",
    "flow_control": "flow control key",
    "schedules": "schedule",
}
"""The noun of each part, in the order of creation: objects that others refer to come first."""

assert set(PARTS) == {one.name for one in fields(AccountState)}


def redacted_parts(headers: Lines, body: Value) -> frozenset[str]:
    """Return the parts that are shown as digests."""
    names = {f"header[{name}]" for name, values in headers if any(one.digest for one in values)}
    return frozenset(names | ({"body"} if body.digest else set()))
