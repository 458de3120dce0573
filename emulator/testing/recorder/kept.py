"""The final state of a run as plain values, from the store or the API."""

from collections.abc import Sequence
from dataclasses import dataclass

from emulator.testing.recorder.asked import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMessage:
    """A message of the final state. ``callbacks`` are the URLs of its callback and its failure callback.

    ``group`` and ``endpoint`` are the URL group that it was published to and the endpoint there. ``state`` is the
    store's, where that was read.
    """

    id: str
    state: str | None
    url: str
    body: bytes
    due_at: int
    max_retries: int
    retry_delay: str | None
    queue: str | None
    group: str | None
    endpoint: str | None
    schedule_id: str | None
    flow_key: str | None
    limits: Limits | None
    callbacks: tuple[str | None, str | None]
    is_of_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLine:
    """A line of the log."""

    message_id: str
    time_at: int
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAttempt:
    """An attempt from the log. ``status`` is 0 without a response, ``None`` while under way or cut off."""

    message_id: str
    retried: int
    started_at: int
    ended_at: int | None
    status: int | None
    headers: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """All of one tenant; the log and the attempts in the order in which they were written."""

    messages: Sequence[KeptMessage]
    log: Sequence[KeptLine]
    attempts: Sequence[KeptAttempt]
    dead_letters: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedRequest:
    """A request as a destination received it."""

    message_id: str
    retried: int
    url: str
    body: bytes
    signature: str | None
