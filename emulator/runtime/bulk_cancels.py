"""Carries out bulk actions: reads a slice of the matches, cancels it, and yields before the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from emulator.broker import bulk_actions, pending_changes
from emulator.broker.bulk_actions import BulkAction, Filter, Subject
from emulator.broker.message import Pending
from emulator.broker.state import BrokerState
from emulator.broker.workflow import end_of_run
from emulator.runtime.read_retry import at_last
from emulator.runtime.task_counter import Work
from emulator.store import bulk_queries
from emulator.store.store import SqlStore
from emulator.store.writer import StoreWriter

T = TypeVar("T")
Change = Callable[[Callable[[BrokerState, int], T]], Awaitable[T]]
ChangeFound = Callable[
    [Callable[[SqlStore], Any], Callable[[BrokerState, int, Any], Any]], Awaitable[tuple[Any, Any]]
]
"""``Runtime.change_found``."""
Cursor = tuple[int, int]


class Cancellable(Protocol):
    """Functions that count, read and cancel one kind of object."""

    def count(self, store: SqlStore, tenant_id: int, wanted: Filter, until_seq: int) -> int:
        """Return the number of matches."""
        ...

    def read(
        self, store: SqlStore, tenant_id: int, action: BulkAction, limit: int
    ) -> tuple[Sequence[Any], Cursor | None]:
        """Return the next matches behind the action's cursor, and the cursor behind them."""
        ...

    def cancel(self, state: BrokerState, found: Sequence[Any], now_at: int) -> None:
        """Cancel the matches that have not ended meanwhile."""
        ...


class CancellableMessages:
    """Unfinished messages."""

    def count(self, store: SqlStore, tenant_id: int, wanted: Filter, until_seq: int) -> int:
        return bulk_queries.count_matches(store, tenant_id, Subject.MESSAGES, wanted, until_seq)

    def read(
        self, store: SqlStore, tenant_id: int, action: BulkAction, limit: int
    ) -> tuple[Sequence[Pending], Cursor | None]:
        found = bulk_queries.next_pending(store, tenant_id, action, limit)
        return found, (0, found[-1].seq) if found else None

    def cancel(self, state: BrokerState, found: Sequence[Pending], now_at: int) -> None:
        pending_changes.cancel(state, found, now_at)


class CancellableRuns:
    """Active runs of workflows."""

    def count(self, store: SqlStore, tenant_id: int, wanted: Filter, until_seq: int) -> int:
        return bulk_queries.count_matches(store, tenant_id, Subject.RUNS, wanted, until_seq)

    def read(
        self, store: SqlStore, tenant_id: int, action: BulkAction, limit: int
    ) -> tuple[Sequence[int], Cursor | None]:
        found = [stored.run.seq for stored in bulk_queries.next_runs(store, tenant_id, action, limit)]
        return found, (0, found[-1]) if found else None

    def cancel(self, state: BrokerState, found: Sequence[int], now_at: int) -> None:
        for run_seq in found:
            active = state.workflows.by_seq(run_seq)
            if active is not None:
                end_of_run.cancel(state.workflows, active, now_at)


class BulkCancels:
    """The bulk actions in progress of one tenant."""

    def __init__(
        self,
        state: BrokerState,
        tenant_id: int,
        *,
        writer: StoreWriter,
        work: Work,
        change: Callable[[Callable[[BrokerState, int], Any]], Awaitable[Any]],
        change_found: ChangeFound,
    ) -> None:
        self.kinds: dict[Subject, Cancellable] = {
            Subject.MESSAGES: CancellableMessages(),
            Subject.RUNS: CancellableRuns(),
        }
        self._state = state
        self._tenant_id = tenant_id
        self._writer = writer
        self._work = work
        self._change = change
        self._change_found = change_found
        self._is_closed = False
        self._done: dict[str, asyncio.Event] = {}

    async def restore(self) -> None:
        """Continue the actions that an earlier process left in progress."""
        load = partial(bulk_queries.load_in_progress, tenant_id=self._tenant_id)
        for action in await self._writer.read(load):
            self._state.bulk_actions[action.id] = action
            self._begin(action)

    async def start(self, subject: Subject, wanted: Filter) -> tuple[BulkAction, asyncio.Event]:
        """Accept an action, or find the one in progress with the same filter; the event says when it is done.

        Raise QuotaExceeded for one too many in progress.
        """
        same = bulk_actions.find_same(self._state, subject, wanted)
        if same is not None:
            return same, self._done[same.id]
        until_seq = self._state.next_seq()
        count = partial(
            self.kinds[subject].count, tenant_id=self._tenant_id, wanted=wanted, until_seq=until_seq
        )
        total = await self._writer.read_after_writes(count)
        begin = partial(bulk_actions.begin, subject=subject, wanted=wanted, total=total, until_seq=until_seq)
        same = bulk_actions.find_same(self._state, subject, wanted)
        if same is not None:
            # Accepted while the matches were counted.
            return same, self._done[same.id]
        action = await self._change(begin)
        return action, self._begin(action)

    def close(self) -> None:
        """Start no further slice; actions in progress continue at the next start."""
        self._is_closed = True

    def _begin(self, action: BulkAction) -> asyncio.Event:
        done = self._done[action.id] = asyncio.Event()
        if action.completed_at is not None:
            self._end(action.id)
        else:
            self._work.begin()
            self._work.spawn(self._carry_out(action))
        return done

    def _end(self, action_id: str) -> None:
        self._done.pop(action_id).set()

    async def _carry_out(self, action: BulkAction) -> None:
        kind = self.kinds[action.subject]
        try:
            while action.completed_at is None and not self._is_closed:
                action = await at_last(partial(self._next_slice, kind, action))
        finally:
            self._end(action.id)
            self._work.end()

    async def _next_slice(self, kind: Cancellable, action: BulkAction) -> BulkAction:
        if self._is_closed:
            return action
        read = partial(kind.read, tenant_id=self._tenant_id, action=action, limit=bulk_actions.SLICE)
        done: BulkAction
        _, done = await self._change_found(read, partial(self._slice, kind, action))
        return done

    @staticmethod
    def _slice(
        kind: Cancellable,
        action: BulkAction,
        state: BrokerState,
        now_at: int,
        read: tuple[Sequence[Any], Cursor | None],
    ) -> BulkAction:
        if action.id not in state.bulk_actions:
            # A reset has deleted it.
            return bulk_actions.forgotten(action, now_at)
        found, cursor = read
        kind.cancel(state, found, now_at)
        return bulk_actions.advance(state, now_at, action=action, count=len(found), cursor=cursor)
