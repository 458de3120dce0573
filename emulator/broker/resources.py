"""Named resources that outlive a message: queues, URL groups, schedules, flow-control keys, signing keys.

Each is a frozen value; a change makes a new value, which is saved as a whole.
"""

from dataclasses import dataclass, field

from emulator.wire.headers import Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Ordered delivery with at most ``parallelism`` messages at a time (contract 5.1)."""

    name: str
    parallelism: int = 1
    is_paused: bool = False
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One URL of a URL group, with an optional name."""

    url: str
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlGroup:
    """A named fan-out list; ``headers`` are default publish options."""

    name: str
    endpoints: tuple[Endpoint, ...]
    headers: Headers = ()
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A cron line that publishes a message at each fire time.

    ``lines`` are the publish options as given (header lines, then query parameters), parsed at each firing so that
    a URL group's defaults of that moment apply. ``next_at`` is ``None`` when no time will ever match.
    ``last_states`` maps the message ids of the last firing to IN_PROGRESS, SUCCESS or FAIL.
    """

    id: str
    cron: str
    destination: str
    query: str = ""
    lines: Headers = ()
    body_seq: int | None = None
    caller_ip: str | None = None
    created_at: int
    is_paused: bool = False
    next_at: int | None
    last_at: int | None = None
    last_states: dict[str, str] = field(default_factory=dict)
    error: str | None = None


def is_in_window(start_at: int, seconds: int, now_at: int) -> bool:
    """Return whether a rate's window of so many seconds, from ``start_at`` (unix ms), is open at ``now_at`` (unix ms).

    One that lies ahead (the clock was set back) is not.
    """
    return start_at <= now_at < start_at + seconds * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowKey:
    """The limits in force for one flow-control key, and its running count (contract 5.2).

    A fixed window: it starts with the first attempt after the previous one ended.
    """

    key: str
    parallelism: int | None = None
    rate: int | None = None
    period_seconds: int = 1
    is_paused: bool = False
    is_pinned_parallelism: bool = False
    is_pinned_rate: bool = False
    rate_count: int = 0
    period_start_at: int = 0
    used_at: int

    @property
    def period_end_at(self) -> int:
        return self.period_start_at + self.period_seconds * 1000

    def is_in_period(self, now_at: int) -> bool:
        """Return whether the last window is open at ``now_at`` (unix ms)."""
        return is_in_window(self.period_start_at, self.period_seconds, now_at)

    def count_at(self, now_at: int) -> int:
        """Return how many attempts started in the window that is open at ``now_at``."""
        return self.rate_count if self.is_in_period(now_at) else 0


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """``current`` signs; receivers also accept ``next``, which signs after the next rotation."""

    current: str
    next: str
