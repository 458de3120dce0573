"""A run as seen from outside: clients' answers, destinations' requests, the API's lists.

Nothing here comes from the broker. ``emulator.testing.invariants`` checks the record; the simulator and the
harness fill one. Instants are unix milliseconds of the emulator's clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from emulator.testing.invariants.run_record import RunRecord

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingChange(Generic[T]):
    """A setting that a call from ``sent_at`` to ``done_at`` put in force.

    It took effect somewhere between the two. ``is_certain`` is false when the call was not answered: it may
    never have taken effect.
    """

    value: T
    sent_at: int
    done_at: int
    is_certain: bool = True


def possible(changes: Sequence[SettingChange[T]], from_at: int, to_at: int, default: T) -> list[T]:
    """Return the values that may have been in force at some time from ``from_at`` to ``to_at``, both inclusive.

    ``default`` held before the first change. Of changes in one millisecond, the later in ``changes`` came
    later.
    """
    begun = [(order, change) for order, change in enumerate(changes) if change.sent_at <= to_at]
    settled = [(order, change) for order, change in begun if change.is_certain and change.done_at < from_at]
    values = [] if settled else [default]
    return values + [
        change.value
        for order, change in begun
        if not any((later.sent_at, after) > (change.done_at, order) for after, later in settled)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRecord:
    """A message that was accepted, in the order of publishing.

    ``is_acknowledged``: its publisher was answered 2xx. A message that only the log tells of (a callback, a
    schedule's, one whose publisher was cut off) is not. ``due_at`` is the earliest time of the first attempt.
    ``max_retries``, ``url`` and ``body`` are checked where they are known. ``retry_waits_ms`` are the waits that
    its retry-delay expression asks for after each failed attempt (the last repeats); ``None`` is the default
    backoff. ``queue`` and ``flow_key`` name whose limits apply. ``reports`` is, of a callback, the id of the message
    that it reports on. ``is_of_run``: it belongs to a workflow run, which takes it back when it ends, and stands in the
    DLQ in its place. ``state`` is the one that the store has for it, where that is known.
    """

    id: str
    is_acknowledged: bool = True
    due_at: int = 0
    url: str | None = None
    body: bytes | None = None
    max_retries: int | None = None
    retry_waits_ms: tuple[int, ...] | None = None
    queue: str | None = None
    flow_key: str | None = None
    deduplication_key: str | None = None
    schedule_id: str | None = None
    has_callback: bool = False
    has_failure_callback: bool = False
    reports: str | None = None
    is_of_run: bool = False
    state: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """A request that was sent to a destination.

    ``retried`` is the header ``Upstash-Retried``. ``ended_at`` is when the sender knew the outcome, or was cut off
    by a crash; ``status`` is ``None`` in that case, 0 when there was no response. ``forbids_retries``: the answer
    was 489 with its header. ``retry_after_ms`` is the wait that the response asked for. ``url``, ``body`` and
    ``signature`` are what the destination got; without a ``url`` nobody saw the request.
    """

    message_id: str
    retried: int
    started_at: int
    ended_at: int
    status: int | None
    forbids_retries: bool = False
    retry_after_ms: int | None = None
    url: str | None = None
    body: bytes | None = None
    signature: str | None = None

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status <= 299


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """A line of the log; the record holds them in the order in which they were written."""

    message_id: str
    time_at: int
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """The emulator was down from ``from_at`` to ``to_at``; or, if ``is_crash`` is false, its clock was moved from one
    to the other. A stop that does not wait for all that is under way counts as a crash.
    """

    from_at: int
    to_at: int
    is_crash: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """``rate`` attempts in each period of ``period_seconds``; ``is_fresh`` starts a new period."""

    rate: int | None = None
    period_seconds: int = 1
    is_fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRecord:
    """The settings of a queue. It has parallelism 1 and is not paused until a call says otherwise."""

    parallelism: Sequence[SettingChange[int]] = ()
    is_paused: Sequence[SettingChange[bool]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowKeyRecord:
    """The limits of a flow-control key, set by messages or by calls; ``None`` is no limit."""

    parallelism: Sequence[SettingChange[int | None]] = ()
    is_paused: Sequence[SettingChange[bool]] = ()
    rate: Sequence[SettingChange[Rate]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRecord:
    """A time during which a schedule was certainly active with this cron line, both ends exclusive.

    ``since_at`` is when it may have become so at the earliest, if that was before ``from_at``.
    """

    schedule_id: str
    cron: str
    from_at: int
    until_at: int
    since_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A whole run. Unknown parts are left empty and are not checked.

    ``messages`` are in the order of publishing, ``attempts`` in the order in which they were sent. ``is_idle``: the
    run ended with nothing left to do, so every message must have come to its end. ``went_back``: the clock was turned
    back, so that times of different lines cannot be compared. ``dead_letters`` are the message ids with an entry in
    the DLQ at the end, ``removed_dead_letters`` those whose entry was, or may have been, deleted or published again.
    ``cancels`` maps the ids of messages whose cancel was answered 2xx to the time of the answer. ``runs`` are workflow
    runs; their messages are among ``messages``. ``lazy_fetch_bytes`` is the size above which a list of steps is left to
    be fetched, if it is known.
    """

    messages: Sequence[MessageRecord]
    attempts: Sequence[AttemptRecord] = ()
    log: Sequence[LogRecord] = ()
    dead_letters: frozenset[str] = frozenset()
    removed_dead_letters: frozenset[str] = frozenset()
    cancels: dict[str, int] = field(default_factory=dict)
    queues: dict[str, QueueRecord] = field(default_factory=dict)
    flow_keys: dict[str, FlowKeyRecord] = field(default_factory=dict)
    schedules: Sequence[ScheduleRecord] = ()
    signing_keys: Sequence[SettingChange[str]] = ()
    runs: Sequence[RunRecord] = ()
    interruptions: Sequence[Interruption] = ()
    lazy_fetch_bytes: int | None = None
    is_idle: bool = False
    went_back: bool = False
