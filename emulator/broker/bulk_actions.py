"""Bulk actions: cancel all matches of a filter, slice by slice, and persist until done (contract 2.13).

An action concerns the matches that existed when it was accepted: ``until_seq`` is above every such message or run, and
``cursor`` is behind those already processed. Both are stored with each slice, so that a start after a crash continues
after the last durable slice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from emulator.broker.state import BrokerState
from emulator.broker.writes import BulkActionSaved
from emulator.errors import QuotaExceeded

SLICE = 500
MOST_IN_PROGRESS = 1_000
KEPT_MS = 7 * 86_400_000

Filter = Mapping[str, object]


class Subject(StrEnum):
    """The kind of objects that an action cancels."""

    MESSAGES = "messages"
    RUNS = "runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkAction:
    """One action. ``filter`` has the given fields of the filter; ``cursor`` is ``(created at, seq)``.

    Instants are unix milliseconds; ``completed_at`` is ``None`` while it is in progress.
    """

    id: str
    subject: Subject
    filter: Filter
    total: int
    until_seq: int
    created_at: int
    processed: int = 0
    cursor: tuple[int, int] | None = None
    completed_at: int | None = None


def find_same(state: BrokerState, subject: Subject, wanted: Filter) -> BulkAction | None:
    """Return the action in progress with the same filter."""
    return next(
        (one for one in state.bulk_actions.values() if one.subject is subject and one.filter == wanted), None
    )


def begin(
    state: BrokerState, now_at: int, *, subject: Subject, wanted: Filter, total: int, until_seq: int
) -> BulkAction:
    """Accept an action for ``total`` matches. Raise QuotaExceeded for one too many in progress."""
    if len(state.bulk_actions) >= MOST_IN_PROGRESS:
        raise QuotaExceeded("quota maxBulkActions exceeded", hint=f"{MOST_IN_PROGRESS} are in progress")
    action = BulkAction(
        id=state.ids.bulk_action_id(),
        subject=subject,
        filter=wanted,
        total=total,
        until_seq=until_seq,
        created_at=now_at,
        completed_at=None if total else now_at,
    )
    _save(state, action)
    return action


def advance(
    state: BrokerState, now_at: int, *, action: BulkAction, count: int, cursor: tuple[int, int] | None
) -> BulkAction:
    """Record that ``count`` more were processed, the last at ``cursor``. Fewer than a slice means the end."""
    is_done = count < SLICE
    action = replace(
        action,
        processed=action.total if is_done else min(action.processed + count, action.total),
        cursor=cursor or action.cursor,
        completed_at=now_at if is_done else None,
    )
    _save(state, action)
    return action


def _save(state: BrokerState, action: BulkAction) -> None:
    if action.completed_at is None:
        state.bulk_actions[action.id] = action
    else:
        state.bulk_actions.pop(action.id, None)
    state.write(BulkActionSaved(action))


def forgotten(action: BulkAction, now_at: int) -> BulkAction:
    """Return ``action`` as completed, after a reset has deleted it."""
    return replace(action, completed_at=now_at)
