"""Wires one tenant's broker to an event loop: wakes at the next due time, runs deliveries, commits.

Nothing is decided here. Every change goes the same way: tell the broker what happened and what time it is;
hand what it wants kept to the writer; when that is durable, answer the caller and start the attempts.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from emulator.broker import pending_changes, queue_operations
from emulator.broker.broker import Broker
from emulator.broker.daily_limit import day_start_at
from emulator.broker.message import Accepted, AttemptResult, Draft, Message
from emulator.broker.pending_messages import PendingMessages
from emulator.broker.resources import FlowKey
from emulator.broker.state import BrokerState
from emulator.broker.writes import (
    ClockTurned,
    Effects,
    MessageAccepted,
    Write,
)
from emulator.clock import Alarm, Clock, ManualClock
from emulator.delivery.reachability import Reachability
from emulator.delivery.transport import Transport
from emulator.errors import EmulatorError, InvalidInput, StoreUnavailable
from emulator.faults import FaultSet
from emulator.runtime.bulk_cancels import BulkCancels
from emulator.runtime.clock_control import ClockTurner
from emulator.runtime.deliveries import Deliveries
from emulator.runtime.fault_injection import Disturber
from emulator.runtime.housekeeping import Housekeeping
from emulator.runtime.refill import Refills
from emulator.runtime.restart import Restarter
from emulator.runtime.step_lists import StepLists
from emulator.runtime.task_counter import Work
from emulator.store import queries
from emulator.store.filters import Filter
from emulator.store.store import SqlStore
from emulator.store.writer import StoreWriter
from emulator.tenants import Tenant
from emulator.wire.destination import Destination, DestinationKind
from emulator.wire.headers import Headers
from emulator.wire.limits import Limits, Retention

log: logging.Logger = logging.getLogger(__name__)

S = TypeVar("S")
T = TypeVar("T")

Observer = Callable[[Sequence[Write]], None]
"""Called with writes once they are durable, in order. Called with none when everything may have changed (after an
import), or when the server stops. Must return at once and never raise."""

# A message due within this time is kept in memory: it is sent without reading the store, and so more punctually.
_SOON_MS = 60_000
# A smaller step back is a correction, as time servers make it.
_LEAST_SET_BACK_MS = 1_000


class Runtime:
    """One tenant at work."""

    def __init__(
        self,
        tenant: Tenant,
        *,
        broker: Broker,
        clock: Clock,
        writer: StoreWriter,
        transport: Transport,
        region: str | None = None,
        is_strict: bool = False,
        lazy_fetch_bytes: int,
        faults: FaultSet | None = None,
        retention: Retention | None = None,
        reachability: Reachability | None = None,
    ) -> None:
        """A list of steps over ``lazy_fetch_bytes`` is not sent: the endpoint fetches it. ``faults`` are injected.

        Without ``retention`` everything is kept for ever; without ``reachability`` a URL may name any host.
        """
        self.tenant = tenant
        self.broker = broker
        self.clock = clock
        self.step_lists: StepLists = StepLists(
            broker.state.workflows, tenant.id, writer=writer, lazy_fetch_bytes=lazy_fetch_bytes
        )
        self.faults: FaultSet = faults if faults is not None else FaultSet(broker.state.ids)
        self.observers: list[Observer] = []
        self.is_ending: bool = False
        self.schedules_fired: int = 0
        self._writer = writer
        self._is_strict = is_strict
        self._reachability = reachability
        self._work = Work()
        self._alarm: Alarm | None = None
        self._alarm_at: int | None = None
        self._dead_letters = asyncio.Lock()
        self._latest_at = 0
        # Whether a slice of schedules is on its way to the disk.
        self._is_firing = False
        self._clock_kept_at = tenant.clock_at
        self._is_closed = False
        self._restarter = Restarter(
            clock,
            work=self._work,
            writer=writer,
            forget=self._forget,
            start=self.start,
            keep_clock=self.keep_clock,
            note_restarted=partial(self._tell, ()),
        )
        self.deliveries: Deliveries = Deliveries(
            broker.state,
            transport=transport,
            disturber=Disturber(
                self.faults,
                transport,
                state=broker.state,
                clock=clock,
                # ``settled`` does not wait for attempts that wait for the clock.
                note_held=self._work.end,
                crash=self._restarter.begin_crash,
            ),
            faults=self.faults,
            step_lists=self.step_lists,
            writer=writer,
            work=self._work,
            region=region,
            ended=self._attempt_ended,
        )
        self._refills = Refills(
            broker.state, tenant.id, writer=writer, clock=clock, work=self._work, carry_out=self._carry_out
        )
        self.bulk_cancels: BulkCancels = BulkCancels(
            broker.state,
            tenant.id,
            writer=writer,
            work=self._work,
            change=self.change,
            change_found=self.change_found,
        )
        self._turner = ClockTurner(
            clock,
            tenant.id,
            work=self._work,
            writer=writer,
            next_due_at=self.next_due_at,
            next_pending_at=self._next_pending_at,
            run_due=self._run_due,
            keep=self.keep_clock,
            tidy=self._tidy,
        )
        self._housekeeping: Housekeeping | None = None
        if retention is not None:
            self._housekeeping = Housekeeping(
                tenant.id,
                retention,
                clock=clock,
                writer=writer,
                dead_letters=self._dead_letters,
                change=self.change,
            )

    async def start(self, *, is_new: bool = False) -> None:
        """Load what the store has pending, with the attempts that a crash interrupted, and do what is due.

        The store has nothing of a tenant that ``is_new``, and is not read.
        """
        if not is_new:
            await self._take_up(self.clock.now_at())

    async def _take_up(self, now_at: int) -> None:
        most_queued = self.broker.state.pending.queue_window
        load = partial(
            queries.load_snapshot, tenant_id=self.tenant.id, now_at=now_at, most_queued=most_queued
        )
        snapshot = await self._writer.read(load)
        self.broker.restore(snapshot, now_at)
        if self.limits.max_daily_messages is not None:
            count = partial(queries.count_created, tenant_id=self.tenant.id, from_at=day_start_at(now_at))
            self.broker.state.daily.restore(await self._writer.read(count), now_at)
        await self.step_lists.restore()
        if self._writer.store.is_memory:
            # Awaited here, not done in a task: what a test sees must not depend on when it yields to the event loop.
            await self._refills.refill_timeline()
        await self._run_due(now_at)
        while isinstance(self.clock, ManualClock) and self._is_due(now_at):
            await self._run_due(now_at)  # no alarm rings for the next slice of schedules
        await self.bulk_cancels.restore()

    def end_streams(self) -> None:
        """Call the observers, which see that the server stops: it waits for the clients that listen."""
        self.is_ending = True
        self._tell(())

    async def close(self, grace_seconds: float = 5.0) -> None:
        """Start nothing more. Wait ``grace_seconds`` for attempts under way; the next start makes the others again."""
        self._is_closed = True
        self._disarm()
        self.bulk_cancels.close()
        await self._work.join(grace_seconds)

    @property
    def limits(self) -> Limits:
        """Return the limits of the plan."""
        return self.broker.state.limits

    def group_headers(self, name: str) -> Headers:
        """Return a URL group's default publish options; none if there is no such group."""
        group = self.broker.state.groups.get(name)
        return group.headers if group else ()

    def note_warnings(self, warnings: Sequence[str]) -> None:
        """Log what the real service would ignore in silence. Raise InvalidInput when strict."""
        for warning in warnings:
            if self._is_strict:
                raise InvalidInput(f"{warning} (refused because the server is strict)")
            log.warning("%s", warning, extra={"event": "ignored_option", "tenant": self.tenant.name})

    # What callers ask for

    async def publish(self, drafts: Sequence[Draft]) -> list[list[Accepted] | EmulatorError]:
        """Accept drafts in order. Return, when all is durable, the messages or the refusal of each."""
        refused = [await self._refusal_of(draft) for draft in drafts] if self._reachability else []
        self._check_accepting()
        now_at = self.clock.now_at()
        results: list[list[Accepted] | EmulatorError] = []
        for index, draft in enumerate(drafts):
            if refused and (refusal := refused[index]) is not None:
                results.append(refusal)
                continue
            try:
                results.append(self.broker.publish(draft, now_at))
            except EmulatorError as error:
                results.append(error)
        await self._carry_out(now_at)
        return results

    async def check_reachable(self, destination: Destination) -> None:
        """Raise InvalidInput for a URL that the real service would refuse, if the server is to refuse it too."""
        if self._reachability is not None and destination.kind is DestinationKind.URL:
            await self._reachability.check(destination.value)

    async def _refusal_of(self, draft: Draft) -> EmulatorError | None:
        try:
            await self.check_reachable(draft.destination)
        except EmulatorError as error:
            return error
        return None

    async def cancel(self, wanted: Filter, count: int | None = None) -> int:
        """Cancel up to ``count`` unfinished messages that match. Return how many were cancelled."""
        select = partial(queries.select_pending, tenant_id=self.tenant.id, wanted=wanted, count=count)
        _, cancelled = await self.change_found(
            select, lambda state, now_at, found: pending_changes.cancel(state, found, now_at)
        )
        return cancelled

    async def change(self, operation: Callable[[BrokerState, int], T]) -> T:
        """Carry out an operation of the broker. Return its result when its effects are durable."""
        self._check_accepting()
        now_at = self.clock.now_at()
        answer = operation(self.broker.state, now_at)
        await self._carry_out(now_at)
        return answer

    async def change_found(
        self, select: Callable[[SqlStore], S], operation: Callable[[BrokerState, int, S], T]
    ) -> tuple[S, T]:
        """Select messages in the store, and carry out an operation on them. The broker knows which have ended since.

        Return what was selected, and the operation's result.
        """
        while True:
            pending = self.broker.state.pending
            with pending.ended.reading():
                found = await self._writer.read_after_writes(select)
                if pending is self.broker.state.pending:  # a reset or a crash on purpose forgets everything
                    return found, await self.change(partial(_on_found, operation, found))

    async def change_flow_key(
        self, key: str, operation: Callable[[BrokerState, int, FlowKey | None], T]
    ) -> T:
        """Carry out an operation on a flow-control key, which may be at rest and only in the store."""
        select = partial(queries.find_flow_key, tenant_id=self.tenant.id, key=key)
        while True:
            lanes = self.broker.state.lanes
            with lanes.kept(key):
                stored = await self._writer.read_after_writes(select)
                if lanes is self.broker.state.lanes:  # a reset or a crash on purpose forgets everything
                    return await self.change(partial(_on_found, operation, stored))

    async def delete_queue(self, name: str) -> None:
        """Delete a queue, if there is one, and cancel what waits in it; return when all of it is durable."""
        await self.change(partial(queue_operations.delete_queue, name=name))
        if queue_operations.is_being_deleted(self.broker.state, name):
            while queue_operations.is_being_deleted(self.broker.state, name):
                await self.read_after_writes(lambda _store: None)  # the refills read in between
            await self.read_after_writes(lambda _store: None)

    async def change_dead_letters(
        self, select: Callable[[SqlStore], S], operation: Callable[[BrokerState, int, S], T]
    ) -> tuple[S, T]:
        """Select entries of the DLQ and act on them, one caller at a time, so that no entry is published twice.

        Return what was selected, and the operation's result.
        """
        async with self._dead_letters:
            return await self.change_found(select, operation)

    async def read(self, query: Callable[[SqlStore], T]) -> T:
        """Run a query on committed state."""
        return await self._writer.read(query)

    async def read_after_writes(self, query: Callable[[SqlStore], T]) -> T:
        """Run a query on a state that has every change made before this call."""
        return await self._writer.read_after_writes(query)

    # Time

    def _is_due(self, now_at: int) -> bool:
        next_at = self.broker.state.due_schedules.next_due_at()
        return next_at is not None and next_at <= now_at

    def next_due_at(self) -> int | None:
        """Return when something is due next, schedules included, in unix milliseconds; ``None`` if never."""
        times = (
            self.broker.next_change_at(self.clock.now_at()),
            self._next_wake_at(),
        )
        return min((time for time in times if time is not None), default=None)

    @property
    def is_idle(self) -> bool:
        """Return whether no message is under way, or waits for its time, its turn, a queue or a resume."""
        state = self.broker.state
        is_busy = (
            not self._work.is_settled
            or state.pending.active
            or self.next_due_at() is not None
            or state.lanes.waiting_count()
        )
        return not is_busy and not any(line.queue.is_paused for line in state.queues.values())

    def _next_pending_at(self) -> int | None:
        """Return what ``next_due_at`` does, without schedules."""
        next_at = self.broker.next_due_at(self.clock.now_at())
        return self._next_wake_at() if next_at is None else next_at

    def _next_wake_at(self) -> int | None:
        return self.clock.next_wake_at() if isinstance(self.clock, ManualClock) else None

    async def settle(self) -> None:
        """Return when nothing that is due now is left to do."""
        await self._work.settled()

    async def advance_to(self, target_at: int) -> None:
        """Advance a manual clock to ``target_at`` (unix ms), and do what is due on the way, in order.

        Raise Conflict if that is in the past, or if the clock is the system's.
        """
        await self._turner.advance_to(target_at)

    async def run_until_idle(self, limit_ms: int) -> None:
        """Advance a manual clock until no message waits for its time.

        Raise Conflict when that takes more than ``limit_ms``, or if the clock is the system's.
        """
        await self._turner.run_until_idle(limit_ms)

    def keep_clock(self) -> Awaitable[None]:
        """Store the time of a manual clock, or that the clock is the system's, if that has changed."""
        now_at = self.clock.now_at() if isinstance(self.clock, ManualClock) else None
        is_kept = not self._writer.store.is_memory and now_at != self._clock_kept_at
        self._clock_kept_at = now_at
        return self._writer.write(self.tenant.id, [ClockTurned(now_at)] if is_kept else [])

    async def keep_house(self) -> None:
        """Delete what is past its retention. A refusal of the store is logged, and left to the next time."""
        if self._housekeeping is None:
            return
        try:
            await self._housekeeping.run()
        except EmulatorError as error:
            log.warning("housekeeping is put off: %s", error, extra={"event": "housekeeping_put_off"})

    def _run_due(self, now_at: int) -> Awaitable[None]:
        """Do what is due, and fire a slice of the schedules, which nothing else does.

        Otherwise each of hundreds of attempts that end in one turn of the event loop would fire a slice of its own. The
        next slice waits until this one is durable: a publish meanwhile is in a small commit, and what fired first is
        delivered first.
        """
        self._is_firing = True
        durable = self._carry_out(now_at, fires=True)
        durable.add_done_callback(self._slice_stored)
        return durable

    def _slice_stored(self, _durable: asyncio.Future[None]) -> None:
        self._is_firing = False
        self._arm()

    async def _tidy(self) -> None:
        if self._housekeeping is not None:
            await self._housekeeping.run_if_due()

    # Forgetting, and starting again

    async def reset(self) -> None:
        """Forget all of this tenant's messages, queues, groups, schedules and logs, and its faults."""
        self.faults.clear()
        await self.change(lambda state, _now_at: state.clear())

    async def crash(self) -> None:
        """Discard everything that is not durable, as ``kill -9`` does, and restart from the store."""
        await self._restarter.crash()

    @property
    def crashed_at(self) -> list[int]:
        """Return when this tenant crashed on purpose, in unix milliseconds."""
        return self._restarter.crashed_at

    async def start_again(self, change: Callable[[SqlStore], None], now_at: int | None = None) -> None:
        """Stop at once, apply ``change`` to the store, and restart from the result; nothing is accepted meanwhile.

        ``now_at`` is the new time of a manual clock. Raise StoreUnavailable if a restart is under way.
        """
        await self._restarter.restart(change, now_at)

    async def _forget(self) -> None:
        self._disarm()
        # Before the tasks are waited for: no attempt of the old state may start meanwhile.
        self.broker.state.forget()
        await self._work.cancel()
        self.deliveries.forget()

    # The way of every change

    def _check_accepting(self) -> None:
        if self._is_closed:
            raise StoreUnavailable("the server is shutting down")
        if self._restarter.is_under_way:
            raise StoreUnavailable("the emulator is starting again")
        if (refusal := self._writer.known_refusal) is not None:
            raise StoreUnavailable(refusal)

    def _note_time(self, now_at: int) -> None:
        """Log once that the clock was set back: messages then wait longer."""
        if now_at < self._latest_at - _LEAST_SET_BACK_MS:
            log.warning(
                "the clock was set back by %s seconds: what waits for its time waits until the clock gets there again",
                (self._latest_at - now_at) // 1000,
                extra={"event": "clock_set_back", "tenant": self.tenant.name},
            )
        self._latest_at = now_at

    def _carry_out(self, now_at: int, *, fires: bool = False) -> asyncio.Future[None]:
        self._note_time(now_at)
        effects = self.broker.step(now_at, fires=fires)
        self.schedules_fired += effects.fired
        self._follow(effects.writes, now_at)
        self._work.begin(len(effects.attempts))
        if effects.attempts and self._writer.is_idle and effects.says_only_that_attempts_start:
            # All that led to them is on disk. That they are under way need not be: a crash has them made again.
            self.deliveries.start(effects.attempts)
            effects.attempts = []
        is_followed = bool(effects.attempts or self.observers)
        then = partial(self._made_durable, self.broker.state.pending, effects) if is_followed else None
        durable = self._writer.write(self.tenant.id, effects.writes, then)
        self._refills.begin_wanted(now_at)
        self._arm()
        return durable

    def _follow(self, writes: Sequence[Write], now_at: int) -> None:
        """Keep messages in memory that are due soon."""
        for write in writes:
            if not isinstance(write, MessageAccepted):
                continue
            message, body = write.message, write.body
            is_whole = body is not None or message.body_seq is None
            if is_whole and message.not_before_at - now_at <= _SOON_MS:
                self.deliveries.keep_at_hand(message, body or b"")

    def _made_durable(
        self, pending: PendingMessages, effects: Effects, failure: BaseException | None
    ) -> None:
        if failure is None and effects.writes:
            self._tell(effects.writes)
        if failure is not None or self.broker.state.pending is not pending:
            # A crash, or a reset, has forgotten the attempts; after a crash they are made anew.
            self._work.end(len(effects.attempts))
        elif effects.attempts:
            self.deliveries.start(effects.attempts)

    def _tell(self, writes: Sequence[Write]) -> None:
        for observer in tuple(self.observers):
            observer(writes)

    async def _attempt_ended(self, message: Message, body: bytes, result: AttemptResult) -> None:
        now_at = self.clock.now_at()
        self.broker.attempt_finished(message, body, result, now_at)
        # A store that refuses says so itself, and does what it was handed when it can.
        with contextlib.suppress(StoreUnavailable):
            await self._carry_out(now_at)

    # The alarm

    def _arm(self) -> None:
        due_at = None
        if not self._is_closed:
            due_at = self.broker.next_change_at(self.clock.now_at(), fires=not self._is_firing)
        if due_at == self._alarm_at and self._alarm is not None:
            return
        self._disarm()
        if due_at is not None:
            self._alarm_at = due_at
            self._alarm = self.clock.call_at(due_at, self._ring)

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._alarm_at = None

    def _ring(self) -> None:
        self._alarm = self._alarm_at = None
        if self._is_closed:
            return
        if self._is_firing:
            self._carry_out(self.clock.now_at())
        else:
            self._run_due(self.clock.now_at())


def _on_found(operation: Callable[[BrokerState, int, S], T], found: S, state: BrokerState, now_at: int) -> T:
    return operation(state, now_at, found)
