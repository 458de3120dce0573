"""Wires one tenant's broker to an event loop: wakes at the next due time, runs deliveries, commits.

Nothing is decided here. Every change goes the same way: tell the broker what happened and what time it is;
hand what it wants kept to the writer; when that is durable, answer the caller and start the attempts.
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Protocol, TypeVar

from emulator.broker import cancelling, schedule_operations
from emulator.broker.broker import Broker
from emulator.broker.lanes import Lane, Lanes
from emulator.broker.message import Accepted, AttemptResult, Draft, Message, Pending
from emulator.broker.state import BrokerState
from emulator.broker.timeline import Timeline
from emulator.broker.writes import (
    Attempt,
    Cleared,
    Effects,
    Logged,
    MessageAccepted,
    ScheduleDeleted,
    ScheduleSaved,
    Write,
)
from emulator.clock import Alarm, Clock, ManualClock, wall_now_at
from emulator.delivery.recent import RecentRequests
from emulator.delivery.request import OutboundRequest, build_request
from emulator.delivery.transport import Transport
from emulator.disturbing import Disturber
from emulator.errors import Conflict, EmulatorError, InvalidInput, StoreUnavailable
from emulator.faults import FaultBook
from emulator.housekeeping import Housekeeping
from emulator.protocol.durations import format_duration
from emulator.protocol.headers import Headers
from emulator.protocol.limits import Limits, Retention
from emulator.store import queries
from emulator.store.filters import MessageFilter
from emulator.store.sql import SqlStore
from emulator.store.writer import RETRY_SECONDS, StoreWriter
from emulator.tenants import Tenant
from emulator.timetable import Timetable

log = logging.getLogger(__name__)

S = TypeVar("S")
T = TypeVar("T")

Observer = Callable[[Sequence[Write]], None]
"""Told of writes once they are durable, in order, and of none at all when it must look anew: everything may be
different (an import), or the server stops. Must return at once and never raise."""

_CACHED_MESSAGES = 10_000
_CACHED_BYTES = 64 * 1024 * 1024
# What is due within this time is kept at hand: it goes out without a look into the store, and so more punctually.
_SOON_MS = 60_000


class LayerShell(Protocol):
    """The half of a broker's layer that reads the store."""

    @property
    def name(self) -> str:
        """The layer's."""
        ...

    async def restore(self, writer: StoreWriter, tenant_id: int, now_at: int) -> None:
        """Give the layer back what an earlier process left."""
        ...

    async def body_of(self, message: Message, body: bytes) -> bytes:
        """What is delivered for a message of the layer that was stored with ``body``; the same at every attempt."""
        ...


# Less is how clocks are kept right.
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
        shells: Sequence[LayerShell] = (),
        faults: FaultBook | None = None,
        retention: Retention | None = None,
    ) -> None:
        """``shells`` do the I/O of the broker's layers; ``faults`` are what goes wrong on purpose.

        Without ``retention`` everything is kept for ever.
        """
        self.tenant = tenant
        self.broker = broker
        self.shells = {shell.name: shell for shell in shells}
        self.clock = clock
        self.attempts_made = 0
        self.recent_requests = RecentRequests()
        self.observers: list[Observer] = []
        self.is_ending = False
        self._writer = writer
        self._transport = transport
        self.region = region
        self._is_strict = is_strict
        self._cache = _MessageCache()
        self._work: set[asyncio.Task[None]] = set()
        self._unsettled = 0
        self._settled = asyncio.Event()
        self._settled.set()
        self._alarm: Alarm | None = None
        self._alarm_at: int | None = None
        self._turning = asyncio.Lock()
        self._dead_letters = asyncio.Lock()
        self._timetable = Timetable(clock, self._fire)
        self.faults = faults if faults is not None else FaultBook(broker.state.ids)
        self._disturber = Disturber(
            self.faults,
            transport,
            state=broker.state,
            clock=clock,
            note_held=self._note_held,
            crash=self._begin_crash,
        )
        self._restarting: asyncio.Task[None] | None = None
        self.crashed_at: list[int] = []
        """When this tenant lost its working memory on purpose, in unix milliseconds."""
        self.schedules_fired = 0
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
        self._latest_at = 0
        self._is_closed = False

    async def start(self) -> None:
        """Take up what the store has pending, attempts that a crash cut off included."""
        now_at = self.clock.now_at()
        load = partial(queries.load_snapshot, tenant_id=self.tenant.id, now_at=now_at)
        snapshot = await self._writer.read(load)
        self.broker.restore(snapshot, now_at)
        for shell in self.shells.values():
            await shell.restore(self._writer, self.tenant.id, now_at)
        for schedule in snapshot.schedules:
            self._timetable.put(schedule)
        if self._writer.store.is_memory:
            # Now and not by a task that comes later: what a test sees must not depend on when it gives way.
            await self._refill(*self._begin_refill())
        await self._carry_out(now_at)
        if self._housekeeping is not None:
            self._housekeeping.start()

    def end_streams(self) -> None:
        """Have observers look up and see that it is time to go: a server that stops waits for its listeners."""
        self.is_ending = True
        self._tell(())

    async def close(self, grace_seconds: float = 5.0) -> None:
        """Start nothing more; let attempts under way end within the grace, and leave the rest to the next start."""
        self._is_closed = True
        self._disarm()
        self._timetable.close()
        if self._housekeeping is not None:
            self._housekeeping.close()
        if self._work and grace_seconds > 0:
            await asyncio.wait(self._work, timeout=grace_seconds)
        await self._end_work()

    @property
    def limits(self) -> Limits:
        """The limits of the plan."""
        return self.broker.state.limits

    def group_headers(self, name: str) -> Headers:
        """A URL group's default publish options; none if there is no such group."""
        group = self.broker.state.groups.get(name)
        return group.headers if group else ()

    def note_warnings(self, warnings: Sequence[str]) -> None:
        """Say what the real service would ignore in silence. Raises InvalidInput when strict."""
        for warning in warnings:
            if self._is_strict:
                raise InvalidInput(f"{warning} (refused because the server is strict)")
            log.warning("%s", warning, extra={"event": "ignored_option", "tenant": self.tenant.name})

    # What callers ask for

    async def publish(self, drafts: Sequence[Draft]) -> list[list[Accepted] | EmulatorError]:
        """Accept drafts in order; a bad one does not stop the others. Returns when all accepted are durable."""
        self._check_accepting()
        now_at = self.clock.now_at()
        results: list[list[Accepted] | EmulatorError] = []
        for draft in drafts:
            try:
                results.append(self.broker.publish(draft, now_at))
            except EmulatorError as error:
                results.append(error)
        await self._carry_out(now_at)
        return results

    async def cancel(self, wanted: MessageFilter, count: int | None = None) -> int:
        """Cancel up to ``count`` unfinished messages that match; how many were."""
        select = partial(queries.select_pending, tenant_id=self.tenant.id, wanted=wanted, count=count)
        candidates = await self._writer.read(select)
        return await self.change(lambda state, now_at: cancelling.cancel(state, candidates, now_at))

    async def change(self, operation: Callable[[BrokerState, int], T]) -> T:
        """Carry out an operation of the broker; returns its answer when its effects are durable."""
        self._check_accepting()
        now_at = self.clock.now_at()
        answer = operation(self.broker.state, now_at)
        await self._carry_out(now_at)
        return answer

    async def change_dead_letters(
        self, select: Callable[[SqlStore], S], operation: Callable[[BrokerState, int, S], T]
    ) -> tuple[S, T]:
        """Select entries of the DLQ and act on them, one caller at a time: no entry is published twice.

        Returns what was selected, and the operation's answer.
        """
        async with self._dead_letters:
            selected = await self._writer.read_after_writes(select)
            return selected, await self.change(lambda state, now_at: operation(state, now_at, selected))

    async def read(self, query: Callable[[SqlStore], T]) -> T:
        """Run a query on committed state."""
        return await self._writer.read(query)

    async def read_after_writes(self, query: Callable[[SqlStore], T]) -> T:
        """Run a query that sees everything that happened before this call."""
        return await self._writer.read_after_writes(query)

    # Time

    def next_due_at(self) -> int | None:
        """When time alone will next make something happen, schedules included."""
        times = (
            self.broker.next_change_at(self.clock.now_at()),
            self._timetable.next_at(),
            self._next_wake_at(),
        )
        return min((time for time in times if time is not None), default=None)

    @property
    def is_idle(self) -> bool:
        """Whether no message is under way or waits: for its time, its turn, a queue or a resume."""
        state = self.broker.state
        is_busy = (
            self._unsettled or state.active or self.next_due_at() is not None or state.lanes.waiting_count()
        )
        return not is_busy and not any(line.queue.is_paused for line in state.queues.values())

    def _next_wake_at(self) -> int | None:
        return self.clock.next_wake_at() if isinstance(self.clock, ManualClock) else None

    async def settle(self) -> None:
        """Return when nothing that is due now is left to do."""
        while self._unsettled:
            self._settled.clear()
            await self._settled.wait()

    async def advance_to(self, target_at: int) -> None:
        """Turn a manual clock to ``target_at``, stopping at every due time on the way. Raises Conflict."""
        clock = self._manual_clock()
        if target_at < clock.now_at():
            clock.set(target_at)
        async with self._turning:
            await self.settle()
            while (due_at := self.next_due_at()) is not None and due_at <= target_at:
                clock.set(max(due_at, clock.now_at()))
                self._timetable.run_due(clock.now_at())
                await self._carry_out(clock.now_at())
                await self.settle()
            clock.set(max(target_at, clock.now_at()))
            if self._housekeeping is not None:
                await self._housekeeping.run_if_due()

    def run_schedules(self) -> None:
        """Under a clock that somebody else turns: fire the schedules whose time has come."""
        self._timetable.run_due(self.clock.now_at())

    async def run_until_idle(self, limit_ms: int) -> None:
        """Turn a manual clock until no message waits for its time, at most by ``limit_ms``.

        Schedules are not pending work, but fire when their time passes on the way. Raises Conflict when the
        limit is reached, with the destinations that keep going round.
        """
        clock = self._manual_clock()
        deadline_at = clock.now_at() + limit_ms
        await self.settle()
        while self.broker.next_due_at(clock.now_at()) is not None or clock.next_wake_at() is not None:
            next_at = self.next_due_at()
            assert next_at is not None
            if next_at > deadline_at:
                raise Conflict(await self._what_goes_round(limit_ms))
            await self.advance_to(next_at)

    async def _what_goes_round(self, limit_ms: int) -> str:
        select = partial(
            queries.busiest_urls, tenant_id=self.tenant.id, since_at=self.clock.now_at() - limit_ms, count=5
        )
        busiest = await self._writer.read_after_writes(select)
        counted = ", ".join(f"{url} ({count} messages)" for url, count in busiest)
        return f"not idle after {format_duration(limit_ms)}; what keeps going round: {counted}"

    async def reset(self) -> None:
        """Forget all of this tenant's messages, queues, groups, schedules and logs, and its faults."""
        self.faults.clear()
        await self.change(lambda state, _now_at: state.clear())

    async def crash(self) -> None:
        """Lose all that is not durable, as ``kill -9`` would, and take up what the store has."""
        self.crashed_at.append(self.clock.now_at())
        await self.start_again(lambda _store: None)

    async def start_again(self, change: Callable[[SqlStore], None], now_at: int | None = None) -> None:
        """Stop at once, change what the store has of this tenant, and start from that; nothing is accepted meanwhile.

        ``now_at`` is where a manual clock stands then.
        """
        if self._restarting is not None:
            raise StoreUnavailable("the emulator is starting again")
        self._restarting = asyncio.current_task()
        self._unsettled += 1
        try:
            self._disarm()
            self._timetable.clear()
            if self._housekeeping is not None:
                self._housekeeping.close()
            await self._end_work()
            self._cache = _MessageCache()
            self.broker.state.forget()
            try:
                await self._writer.read_after_writes(change)
                if now_at is not None and isinstance(self.clock, ManualClock):
                    self.clock.start_again_at(now_at)
            finally:
                await self.start()
            self._tell(())
        finally:
            self._restarting = None
            self._note_settled()

    def _begin_crash(self) -> None:
        self._unsettled += 1
        self._crash_task = asyncio.create_task(self._crash_unless_starting())
        self._crash_task.add_done_callback(lambda _: self._note_settled())

    async def _crash_unless_starting(self) -> None:
        # Asked only now: several deliveries of one moment may be struck.
        if self._restarting is None:
            await self.crash()

    async def _end_work(self) -> None:
        own = asyncio.current_task()
        work = [task for task in self._work if task is not own]
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)

    def _manual_clock(self) -> ManualClock:
        if not isinstance(self.clock, ManualClock):
            raise Conflict("the clock is the system's and cannot be turned; start with --clock manual")
        return self.clock

    def _fire(self, schedule_id: str) -> None:
        """A schedule's time has come."""
        now_at = self.clock.now_at()
        if schedule_operations.fire(self.broker.state, now_at, schedule_id=schedule_id):
            self.schedules_fired += 1
        self._carry_out(now_at)

    # The way of every change

    def _check_accepting(self) -> None:
        if self._is_closed:
            raise StoreUnavailable("the server is shutting down")
        if self._restarting is not None:
            raise StoreUnavailable("the emulator is starting again")
        if self._writer.refusal is not None:
            raise StoreUnavailable(self._writer.refusal)

    def _note_time(self, now_at: int) -> None:
        """Say once that the clock was set back, which is felt as waiting."""
        if now_at < self._latest_at - _LEAST_SET_BACK_MS:
            log.warning(
                "the clock was set back by %s seconds: what waits for its time waits until the clock gets there again",
                (self._latest_at - now_at) // 1000,
                extra={"event": "clock_set_back", "tenant": self.tenant.name},
            )
        self._latest_at = now_at

    def _carry_out(self, now_at: int) -> Awaitable[None]:
        self._note_time(now_at)
        effects = self.broker.step(now_at)
        self._follow(effects.writes, now_at)
        self._unsettled += len(effects.attempts)
        is_followed = bool(effects.attempts or self.observers)
        then = partial(self._made_durable, effects) if is_followed else None
        durable = self._writer.write(self.tenant.id, effects.writes, then)
        if self.broker.state.timeline.wants_refill():
            self._spawn(self._refill(*self._begin_refill()))
        for lane in self.broker.state.lanes.wanting_refill():
            self._begin_lane_refill(lane, now_at)
        self._arm()
        return durable

    def _follow(self, writes: Sequence[Write], now_at: int) -> None:
        """Keep at hand what is soon delivered, and the timetable in step with the schedules."""
        for write in writes:
            match write:
                case Logged():
                    pass
                case MessageAccepted(message, body) if message.not_before_at - now_at <= _SOON_MS:
                    if body is not None or message.body_seq is None:
                        self._cache.put(message, body or b"")
                case ScheduleSaved(schedule):
                    self._timetable.put(schedule)
                case ScheduleDeleted(schedule_id):
                    self._timetable.remove(schedule_id)
                case Cleared():
                    self._timetable.clear()
                case _:
                    pass

    def _made_durable(self, effects: Effects, failure: BaseException | None) -> None:
        if failure is not None:
            self._note_settled(len(effects.attempts))
            return
        if effects.writes:
            self._tell(effects.writes)
        if effects.attempts:
            self._launch(effects.attempts)

    def _tell(self, writes: Sequence[Write]) -> None:
        for observer in tuple(self.observers):
            observer(writes)

    def _launch(self, attempts: Sequence[Attempt]) -> None:
        missing = [attempt.seq for attempt in attempts if attempt.seq not in self._cache]
        if missing:
            self._spawn(self._load_and_deliver(attempts, missing))
            return
        for attempt in attempts:
            self._spawn(self._deliver(attempt, *self._cache.take(attempt.seq)))

    async def _load_and_deliver(self, attempts: Sequence[Attempt], missing: Sequence[int]) -> None:
        known = {
            attempt.seq: self._cache.take(attempt.seq) for attempt in attempts if attempt.seq in self._cache
        }
        load = partial(queries.load_for_delivery, seqs=missing)
        known |= await self._at_last(partial(self._writer.read, load))
        for attempt in attempts:
            if attempt.seq in known:
                self._spawn(self._deliver(attempt, *known[attempt.seq]))
            else:
                # A reset took it away after it had been let go.
                self._note_settled()

    async def _at_last(self, read: Callable[[], Awaitable[T]]) -> T:
        """What is read for deliveries, however long the store does not answer: nobody else would ask for it again."""
        refusal: str | None = None
        while True:
            try:
                return await read()
            except StoreUnavailable as error:
                if str(error) != refusal:
                    refusal = str(error)
                    log.warning("the store cannot be read: %s", refusal, extra={"event": "store_unreadable"})
                await asyncio.sleep(RETRY_SECONDS)

    async def _deliver(self, attempt: Attempt, message: Message, body: bytes) -> None:
        try:
            result = await self._attempt(attempt, message, body)
            self.attempts_made += 1
            if not result.is_success:
                self._cache.put(message, body)
            now_at = self.clock.now_at()
            self.broker.attempt_finished(message, body, result, now_at)
            # A store that refuses says so itself, and does what it was handed when it can.
            with contextlib.suppress(StoreUnavailable):
                await self._carry_out(now_at)
        finally:
            self._note_settled()

    async def _attempt(self, attempt: Attempt, message: Message, body: bytes) -> AttemptResult:
        state = self.broker.state
        if message.tag is not None:
            body = await self._at_last(partial(self.shells[message.tag.layer].body_of, message, body))
        request = build_request(
            message,
            body,
            retried=attempt.retried,
            signing_key=state.keys.current,
            jwt_id=state.ids.jwt_id(),
            signed_at_seconds=wall_now_at() // 1000,
            default_timeout_ms=state.limits.max_timeout_ms,
            region=self.region,
        )

        def note_sent(sent: OutboundRequest) -> None:
            self.recent_requests.keep(message.seq, attempt.retried, sent.headers)

        if self.faults:
            return await self._disturber.send(message, request, note_sent)
        note_sent(request)
        return await self._transport.send(request)

    def _begin_refill(self) -> tuple[Timeline, Callable[[SqlStore], tuple[list[Pending], bool]]]:
        timeline = self.broker.state.timeline
        start, limit = timeline.begin_refill()
        self._unsettled += 1
        return timeline, partial(queries.load_due, tenant_id=self.tenant.id, start=start, limit=limit)

    async def _refill(
        self, timeline: Timeline, query: Callable[[SqlStore], tuple[list[Pending], bool]]
    ) -> None:
        try:
            read, is_complete = await self._at_last(partial(self._writer.read_after_writes, query))
            timeline.refill(read, is_complete=is_complete)
            await self._carry_out(self.clock.now_at())
        finally:
            self._note_settled()

    def _note_held(self, change: int) -> None:
        """An attempt waits for the clock, and is nothing to wait for; or it goes on."""
        self._note_settled(change)

    def _begin_lane_refill(self, lane: Lane, now_at: int) -> None:
        state = self.broker.state
        start, limit = state.lanes.begin_refill(lane)
        query = partial(queries.load_due, tenant_id=self.tenant.id, start=start, limit=limit, until_at=now_at)
        self._unsettled += 1
        self._spawn(self._refill_lane(lane, state.lanes, query, state.timeline.horizon))

    async def _refill_lane(
        self,
        lane: Lane,
        lanes: Lanes,
        query: Callable[[SqlStore], tuple[list[Pending], bool]],
        horizon: tuple[int, int] | None,
    ) -> None:
        try:
            read, is_complete = await self._at_last(partial(self._writer.read_after_writes, query))
            state, now_at = self.broker.state, self.clock.now_at()
            if state.lanes is lanes:
                # Else a reset, or a start anew, has forgotten the lane.
                state.refill_lane(lane, read, now_at, is_complete=is_complete, horizon=horizon)
                await self._carry_out(now_at)
        finally:
            self._note_settled()

    def _note_settled(self, count: int = 1) -> None:
        self._unsettled -= count
        if not self._unsettled:
            self._settled.set()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work_done)

    def _work_done(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("an attempt could not be carried out", exc_info=task.exception())

    # The alarm

    def _arm(self) -> None:
        due_at = None if self._is_closed else self.broker.next_change_at(self.clock.now_at())
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
        if not self._is_closed:
            self._carry_out(self.clock.now_at())


class _MessageCache:
    """Messages that will soon be delivered, so that the usual delivery reads nothing; the oldest go first."""

    def __init__(self) -> None:
        self._entries: OrderedDict[int, tuple[Message, bytes]] = OrderedDict()
        self._bytes = 0

    def __contains__(self, seq: int) -> bool:
        return seq in self._entries

    def put(self, message: Message, body: bytes) -> None:
        if message.seq in self._entries:
            self.take(message.seq)
        self._entries[message.seq] = (message, body)
        self._bytes += len(body)
        while len(self._entries) > _CACHED_MESSAGES or self._bytes > _CACHED_BYTES:
            _, (_, dropped) = self._entries.popitem(last=False)
            self._bytes -= len(dropped)

    def take(self, seq: int) -> tuple[Message, bytes]:
        message, body = self._entries.pop(seq)
        self._bytes -= len(body)
        return message, body
