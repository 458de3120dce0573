"""The order of events, which decides which of two wins in whatever order they arrive. Pure.

Stripe guarantees neither order nor single delivery, and its times are whole seconds, which several events may share.
Stamps are totally ordered, and the greatest wins: applying events in any order, any number of times, ends in the same
state. Stamps are compared by, in turn:

1. an end: a subscription that is cancelled never comes back, so nothing undoes it;
2. the time of the event;
3. how far the object's state has come, where the seconds are equal;
4. the event's id, so that there is always an answer.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# Source: Stripe docs, billing/subscriptions/overview, subscription statuses (read 2026-11).
_PROGRESS = {
    "incomplete": 1,
    "trialing": 2,
    "active": 3,
    "past_due": 4,
    "unpaid": 5,
    "paused": 5,
    "incomplete_expired": 8,
    "canceled": 9,
}
_FIRST_END = 8


@dataclass(frozen=True, slots=True)
class Stamp:
    """The order of an event: its time, how far its object had come, and its id."""

    at: datetime
    rank: int
    event_id: str

    def supersedes(self, other: "Stamp | None") -> bool:
        """Return whether this event is newer than ``other``; an event is not newer than itself."""
        return other is None or self.order > other.order

    def columns(self, prefix: str) -> dict[str, Any]:
        """Return the stamp as the tables' columns."""
        return {f"{prefix}_at": self.at, f"{prefix}_rank": self.rank, f"{prefix}_event_id": self.event_id}

    @property
    def order(self) -> tuple[bool, datetime, int, str]:
        """Return the key that stamps are compared by, as the module says."""
        return (self.rank >= _FIRST_END, self.at.astimezone(UTC), self.rank, self.event_id)


def stored_stamp(row: Any, prefix: str) -> Stamp | None:
    """Return the stamp in a row, ``None`` before the first event."""
    at = getattr(row, f"{prefix}_at")
    return (
        None if at is None else Stamp(at, getattr(row, f"{prefix}_rank"), getattr(row, f"{prefix}_event_id"))
    )


def progress_of(status: str) -> int:
    """Return how far a subscription in this state has come; unknown states come first."""
    return _PROGRESS.get(status, 0)


def has_ended(status: str) -> bool:
    """Return whether a subscription in this state never changes again."""
    return progress_of(status) >= _FIRST_END
