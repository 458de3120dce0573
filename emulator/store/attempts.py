"""Pair log lines into attempts: a line that starts one, and the line that ends it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from emulator.broker.message import ATTEMPT_ENDS, State


class Line(Protocol):
    """The fields of a log line that pairing needs."""

    @property
    def message_seq(self) -> int: ...
    @property
    def state(self) -> State: ...
    @property
    def retried(self) -> int: ...
    @property
    def time_at(self) -> int: ...
    @property
    def next_delivery_at(self) -> int | None: ...


L = TypeVar("L", bound=Line)


@dataclass(slots=True)
class LoggedAttempt(Generic[L]):
    """One delivery attempt. Times are unix milliseconds.

    ``due_at`` is its due time by the log. ``end`` is ``None`` while it is under way, and if a crash cut it off;
    ``cut_off_at`` is then the start of the next one. ``next_at`` is the due time of a retry.
    """

    start: L
    due_at: int
    end: L | None = None
    cut_off_at: int | None = None
    next_at: int | None = None

    @property
    def retried(self) -> int:
        """Return how many retries came before it."""
        return self.start.retried

    @property
    def started_at(self) -> int:
        """Return when it began."""
        return self.start.time_at

    @property
    def ended_at(self) -> int | None:
        """Return when it ended, or was found cut off."""
        return self.cut_off_at if self.end is None else self.end.time_at


def pair_attempts(lines: Iterable[L], not_before_at: Mapping[int, int]) -> list[LoggedAttempt[L]]:
    """Return the attempts of any number of messages, in the order in which they started.

    ``lines`` are in the order in which they were written; ``not_before_at`` has the due times of first attempts by
    message seq, as far as known.
    """
    attempts: list[LoggedAttempt[L]] = []
    latest: dict[int, LoggedAttempt[L]] = {}
    promised: dict[int, int] = {}
    for line in lines:
        seq = line.message_seq
        last = latest.get(seq)
        if line.state is State.ACTIVE:
            if last is not None and last.end is None:
                last.cut_off_at = line.time_at
            first_at = not_before_at.get(seq, line.time_at) if line.retried == 0 else line.time_at
            attempt = LoggedAttempt(line, promised.get(seq, first_at))
            attempts.append(attempt)
            latest[seq] = attempt
        elif line.state in ATTEMPT_ENDS and last is not None and last.end is None:
            last.end = line
        if line.next_delivery_at is not None:
            promised[seq] = line.next_delivery_at
            if last is not None:
                last.next_at = line.next_delivery_at
    return attempts
