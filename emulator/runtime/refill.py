"""Read messages that are only in the store back into memory before they are needed."""

from collections.abc import Awaitable, Callable
from functools import partial

from emulator.broker.dispatch_lanes import Lane
from emulator.broker.message import Pending
from emulator.broker.pending_messages import PendingMessages
from emulator.broker.queue_operations import refill_queue
from emulator.broker.queues import QueueLine
from emulator.broker.state import BrokerState
from emulator.broker.stored_tail import Key
from emulator.clock import Clock
from emulator.runtime.read_retry import at_last
from emulator.runtime.task_counter import Work
from emulator.store import queries
from emulator.store.store import SqlStore
from emulator.store.writer import StoreWriter

Query = Callable[[SqlStore], tuple[list[Pending], bool]]


class Refills:
    """Reads pending messages onto one tenant's timeline, into its lanes and into its queues' lines."""

    def __init__(
        self,
        state: BrokerState,
        tenant_id: int,
        *,
        writer: StoreWriter,
        clock: Clock,
        work: Work,
        carry_out: Callable[[int], Awaitable[None]],
    ) -> None:
        self._state = state
        self._tenant_id = tenant_id
        self._writer = writer
        self._clock = clock
        self._work = work
        self._carry_out = carry_out

    def begin_wanted(self, now_at: int) -> None:
        """Start tasks for the reads that are wanted now."""
        state = self._state
        if state.pending.timeline.wants_refill():
            self._work.spawn(self._refill(*self._begin()))
        for lane in state.lanes.wanting_refill():
            self._begin_lane(lane, now_at)
        for line in state.pending.take_lines_to_refill():
            self._work.spawn(self._refill_line(line, *self._begin_line(line)))

    async def refill_timeline(self) -> None:
        """Read the timeline's next messages, and wait for them."""
        await self._refill(*self._begin())

    def _begin(self) -> tuple[PendingMessages, Query]:
        pending = self._state.pending
        start, limit = pending.timeline.begin_refill()
        self._work.begin()
        return pending, partial(queries.load_due, tenant_id=self._tenant_id, start=start, limit=limit)

    async def _refill(self, pending: PendingMessages, query: Query) -> None:
        try:
            read, is_complete = await at_last(partial(self._writer.read_after_writes, query))
            pending.refill_timeline(read, is_complete=is_complete)
            await self._carry_out(self._clock.now_at())
        finally:
            self._work.end()

    def _begin_lane(self, lane: Lane, now_at: int) -> None:
        state = self._state
        start, limit, until_at = state.lanes.begin_refill(lane, now_at)
        query = partial(
            queries.load_due, tenant_id=self._tenant_id, start=start, limit=limit, until_at=until_at
        )
        self._work.begin()
        self._work.spawn(self._refill_lane(lane, state.pending, query, state.pending.timeline.horizon))

    async def _refill_lane(
        self, lane: Lane, pending: PendingMessages, query: Query, horizon: Key | None
    ) -> None:
        try:
            read, is_complete = await at_last(partial(self._writer.read_after_writes, query))
            now_at = self._clock.now_at()
            if self._state.pending is pending:
                # Otherwise a reset or a restart has removed the lane.
                pending.refill_lane(lane, read, now_at, is_complete=is_complete, horizon=horizon)
                await self._carry_out(now_at)
        finally:
            self._work.end()

    def _begin_line(self, line: QueueLine) -> tuple[PendingMessages, Query]:
        (_, from_seq), limit = line.begin_refill()
        self._work.begin()
        return self._state.pending, partial(
            queries.load_queued,
            tenant_id=self._tenant_id,
            queue_name=line.queue.name,
            from_seq=from_seq,
            limit=limit,
        )

    async def _refill_line(self, line: QueueLine, pending: PendingMessages, query: Query) -> None:
        try:
            read, is_complete = await at_last(partial(self._writer.read_after_writes, query))
            now_at = self._clock.now_at()
            if self._state.pending is pending:
                # Otherwise a reset or a restart has removed the line.
                refill_queue(self._state, now_at, line=line, read=read, is_complete=is_complete)
                await self._carry_out(now_at)
        finally:
            self._work.end()
