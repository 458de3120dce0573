"""Every unfinished message has its place, however few are held in memory and whatever happens while the store is read.

The broker alone, told the time by the test, beside a store that knows nothing but the broker's writes: a message that
is in neither the broker's memory nor its idea of what the store has is lost.
"""

import random
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.broker.broker import Broker
from emulator.broker.dispatch_lanes import Lane
from emulator.broker.message import AttemptResult, Draft, Message, Pending, State
from emulator.broker.pending_changes import cancel, expedite
from emulator.broker.pending_messages import PendingMessages, Windows
from emulator.broker.place import IN_MEMORY, IN_STORE_ALONE, MOVES, Place
from emulator.broker.queue_operations import delete_queue, is_being_deleted, refill_queue, upsert_queue
from emulator.broker.queues import QueueLine
from emulator.broker.resources import SigningKeys
from emulator.broker.state import BrokerState
from emulator.broker.writes import MessageAccepted, MessageFinished, MessageRescheduled
from emulator.wire.destination import Destination, DestinationKind
from emulator.wire.ids import IdFactory
from emulator.wire.limits import LENIENT
from emulator.wire.options import parse_options

_NOW_AT = 1_780_315_200_000
_HOSTS = ("https://one.com", "https://two.com")


@dataclass
class _Row:
    """Row of an unfinished message in the store."""

    message: Message
    due_at: int
    retried: int = 0
    state: State = State.CREATED

    def pending(self) -> Pending:
        found = Pending.of(self.message)
        found.due_at, found.retried, found.state = self.due_at, self.retried, self.state
        return found


@dataclass
class _Reading:
    """A read under way: for the timeline, a lane or a queue's line. ``rows`` is ``None`` until it has taken place."""

    of: Lane | QueueLine | None
    start: tuple[int, int]
    limit: int
    horizon: tuple[int, int] | None
    until_at: int
    rows: tuple[list[Pending], bool] | None = None


@dataclass
class _World:
    """A broker with small windows, the store beside it, and the reads between the two."""

    window: int
    lane_window: int
    queue_window: int = 1
    now_at: int = _NOW_AT
    rows: dict[int, _Row] = field(default_factory=dict)
    under_way: list[int] = field(default_factory=list)
    started: list[tuple[int, int]] = field(default_factory=list)
    finished: set[int] = field(default_factory=set)
    readings: list[_Reading] = field(default_factory=list)
    looked_at: list[tuple[Pending, ExitStack]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = BrokerState(
            ids=IdFactory(random.Random(1)),
            next_seq=count(1).__next__,
            keys=SigningKeys("one", "two"),
            per_origin=2,
            windows=Windows(self.window, self.lane_window, self.queue_window),
        )
        self.broker = Broker(self.state)

    # What happens

    def publish(self, seconds: int, host: int, *, is_queued: bool = False) -> None:
        lines = [("Upstash-Delay", f"{seconds}s"), ("Upstash-Retries", "2")]
        if is_queued:
            lines.append(("Upstash-Queue-Name", "q"))
        draft = Draft(
            destination=Destination(DestinationKind.URL, _HOSTS[host]),
            options=parse_options(lines, limits=LENIENT),
            body=b"",
        )
        self.broker.publish(draft, self.now_at)
        self.step()

    def cancel(self, number: int) -> None:
        if (row := self._row(number)) is not None:
            cancel(self.state, [row.pending()], self.now_at)
            self.step()

    def look(self, number: int) -> None:
        """Somebody begins to look for a message, and finds it in the store."""
        if (row := self._row(number)) is not None:
            reading = ExitStack()
            reading.enter_context(self.state.pending.ended.reading())
            self.looked_at.append((row.pending(), reading))

    def cancel_looked_at(self, number: int) -> None:
        """Cancel the messages that were found, which may have ended since."""
        if self.looked_at:
            candidate, reading = self.looked_at.pop(number % len(self.looked_at))
            with reading:
                cancelled = cancel(self.state, [candidate], self.now_at)
            assert candidate.seq in self.rows or not cancelled
            self.step()

    def expedite(self, number: int) -> None:
        if (row := self._row(number)) is not None:
            expedite(self.state, [row.pending()], self.now_at)
            self.step()

    def answer(self, number: int, status: int, retry_after: int) -> None:
        if self.under_way:
            seq = self.under_way.pop(number % len(self.under_way))
            headers = (("Retry-After", str(retry_after)),) if status == 429 else ()
            result = AttemptResult(status=status, headers=headers)
            self.broker.attempt_finished(self.rows[seq].message, b"", result, self.now_at)
            self.step()

    def turn_clock(self, seconds: int) -> None:
        self.now_at += 1_000 * seconds
        self.step()

    def allow(self, parallelism: int, is_paused: bool) -> None:
        upsert_queue(self.state, self.now_at, name="q", parallelism=parallelism, is_paused=is_paused)
        self.step()

    def delete(self) -> None:
        delete_queue(self.state, self.now_at, name="q")
        self.step()

    def read(self, number: int) -> None:
        """The store is read now, for one of those who asked."""
        waiting = [reading for reading in self.readings if reading.rows is None]
        if waiting:
            reading = waiting[number % len(waiting)]
            reading.rows = self._select(reading)

    def answer_reading(self, number: int) -> None:
        """Give the broker the messages that were read."""
        if self.readings:
            reading = self.readings.pop(number % len(self.readings))
            found, is_complete = reading.rows or self._select(reading)
            pending = self.state.pending
            if reading.of is None:
                pending.refill_timeline(found, is_complete=is_complete)
            elif isinstance(reading.of, QueueLine):
                refill_queue(self.state, self.now_at, line=reading.of, read=found, is_complete=is_complete)
            else:
                pending.refill_lane(
                    reading.of, found, self.now_at, is_complete=is_complete, horizon=reading.horizon
                )
            self.step()

    # What follows

    def step(self) -> None:
        effects = self.broker.step(self.now_at)
        for write in effects.writes:
            match write:
                case MessageAccepted(message=message):
                    self.rows[message.seq] = _Row(message, message.not_before_at)
                case MessageRescheduled(seq=seq, due_at=due_at, retried=retried, state=state):
                    row = self.rows[seq]
                    row.due_at, row.retried, row.state = due_at, retried, state
                case MessageFinished(seq=seq):
                    assert seq in self.rows, f"{seq} ends twice"
                    del self.rows[seq]
                    self.finished.add(seq)
                case _:
                    pass
        self.under_way += [attempt.seq for attempt in effects.attempts]
        self.started += [(attempt.seq, attempt.retried) for attempt in effects.attempts]
        self._ask()
        self._check()

    def drain(self, parallelism: int = 3) -> None:
        while self.looked_at:
            self.cancel_looked_at(0)
        self.allow(parallelism, is_paused=False)
        for _ in range(500):
            while self.readings:
                self.answer_reading(0)
            if not self.rows:
                return
            if self.under_way:
                self.answer(0, 200, 0)
            else:
                self.turn_clock(60)
        raise AssertionError(f"left behind: {sorted(self.rows)}")

    def _ask(self) -> None:
        """Begin the reads that are wanted, as the runtime does."""
        pending = self.state.pending
        horizon = pending.timeline.horizon
        if pending.timeline.wants_refill():
            start, limit = pending.timeline.begin_refill()
            self.readings.append(_Reading(None, start, limit, None, self.now_at + 10**9))
        for lane in pending.lanes.wanting_refill():
            start, limit, until_at = pending.lanes.begin_refill(lane, self.now_at)
            self.readings.append(_Reading(lane, start, limit, horizon, until_at))
        for line in pending.take_lines_to_refill():
            start, limit = line.begin_refill()
            self.readings.append(_Reading(line, start, limit, None, self.now_at + 10**9))

    def _select(self, reading: _Reading) -> tuple[list[Pending], bool]:
        if isinstance(reading.of, QueueLine):
            keys = sorted((0, seq) for seq, row in self.rows.items() if row.message.queue_name)
        else:
            keys = sorted(
                (row.due_at, seq)
                for seq, row in self.rows.items()
                if row.message.queue_name is None and row.due_at <= reading.until_at
            )
        chosen = [key for key in keys if key >= reading.start][: reading.limit]
        return [self.rows[seq].pending() for _, seq in chosen], len(chosen) < reading.limit

    def _check(self) -> None:
        """Each message of the store has one place, in memory or not; and no more are held than may be."""
        pending = self.state.pending
        places = {}
        for seq, row in self.rows.items():
            found = pending.find(row.pending())
            assert found is not None, f"{seq} is lost"
            places[seq] = found.place
        assert not {Place.NEW, Place.ENDED} & set(places.values())
        assert {seq for seq, place in places.items() if place is Place.ACTIVE} == set(self.under_way)
        assert len(pending) == sum(place in IN_MEMORY for place in places.values())
        assert list(places.values()).count(Place.QUEUE) <= 2 * self.queue_window

    def _row(self, number: int) -> _Row | None:
        return self.rows[sorted(self.rows)[number % len(self.rows)]] if self.rows else None


_Step = tuple[Callable[..., None], dict[str, object]]


def _does(act: Callable[..., None], **arguments: st.SearchStrategy[object]) -> st.SearchStrategy[_Step]:
    return st.tuples(st.just(act), st.fixed_dictionaries(arguments))


_NUMBER = st.integers(0, 9)
_PUBLISH = _does(
    _World.publish,
    seconds=st.integers(0, 9),
    host=st.integers(0, 1),
    is_queued=st.sampled_from((False,) * 3 + (True,) * 2),
)
_READ = st.one_of(_does(_World.read, number=_NUMBER), _does(_World.answer_reading, number=_NUMBER))
# What matters most is named more than once, and is drawn more often.
_STEPS = st.one_of(
    _PUBLISH,
    _PUBLISH,
    _PUBLISH,
    _READ,
    _READ,
    _does(_World.turn_clock, seconds=st.integers(1, 5)),
    _does(_World.turn_clock, seconds=st.integers(-5, -1)),
    _does(_World.answer, number=_NUMBER, status=st.sampled_from((200, 429)), retry_after=st.integers(0, 9)),
    _does(_World.cancel, number=_NUMBER),
    _does(_World.look, number=_NUMBER),
    _does(_World.cancel_looked_at, number=_NUMBER),
    _does(_World.expedite, number=_NUMBER),
    _does(_World.allow, parallelism=st.integers(1, 3), is_paused=st.booleans()),
    _does(_World.delete),
)


@settings(max_examples=150, deadline=None)
@given(
    delays=st.lists(st.integers(0, 9), min_size=6, max_size=12),
    steps=st.lists(_STEPS, min_size=10, max_size=50),
    window=st.integers(1, 3),
    lane_window=st.integers(1, 3),
)
def test_nothing_is_lost_or_started_twice_whatever_happens_while_the_store_is_read(
    delays: list[int], steps: list[_Step], window: int, lane_window: int
) -> None:
    world = _World(window, lane_window)
    for seconds in delays:
        world.publish(seconds, 0)
    for act, arguments in steps:
        act(world, **arguments)
    world.drain()
    assert len(set(world.started)) == len(world.started)


def _left_to_the_timeline() -> _World:
    world = _World(window=2, lane_window=5)
    for seconds in (1, 100, 101, 102, 103, 104):
        world.publish(seconds, 0)
    return world


def _left_to_its_lane() -> _World:
    world = _World(window=20, lane_window=2)
    for _ in range(8):
        world.publish(0, 0)
    return world


def _left_to_its_queue() -> _World:
    world = _World(window=20, lane_window=20)
    world.allow(1, is_paused=True)
    for _ in range(9):
        world.publish(0, 0, is_queued=True)
    return world


@pytest.mark.parametrize("crowded", [_left_to_the_timeline, _left_to_its_lane, _left_to_its_queue])
def test_of_two_who_found_a_message_in_the_store_one_cancels_it(crowded: Callable[[], _World]) -> None:
    world = crowded()
    last = len(world.rows) - 1
    world.look(last)
    world.look(last)
    assert world.state.pending.find(world.looked_at[0][0]).place in IN_STORE_ALONE  # type: ignore[union-attr]
    world.cancel_looked_at(0)
    world.cancel_looked_at(0)
    assert len(world.finished) == 1
    assert not world.state.pending.ended


def test_what_ended_is_remembered_for_the_oldest_look_alone() -> None:
    world = _left_to_its_lane()
    ended = world.state.pending.ended
    world.cancel(7)
    assert not ended
    world.look(6)
    world.cancel(6)
    world.look(0)
    world.cancel(5)
    assert len(ended) == 2
    world.cancel_looked_at(0)
    assert len(ended) == 1
    world.cancel_looked_at(0)
    assert not ended


def test_a_long_queue_is_read_back_in_the_order_of_publishing() -> None:
    world = _World(window=20, lane_window=20)
    world.allow(1, is_paused=True)
    for seconds in (9, 8, 7, 6, 5, 4, 3, 2, 1):
        world.publish(seconds, 0, is_queued=True)
    assert len(world.state.pending) == 2
    world.cancel(4)
    world.expedite(7)
    world.drain(parallelism=1)
    assert [seq for seq, _ in world.started] == [1, 2, 3, 4, 6, 7, 8, 9]


def test_a_long_queue_is_deleted_with_what_the_store_alone_remembers() -> None:
    world = _World(window=20, lane_window=20)
    world.allow(1, is_paused=True)
    for _ in range(9):
        world.publish(0, 0, is_queued=True)
    world.delete()
    assert is_being_deleted(world.state, "q")
    world.publish(0, 0, is_queued=True)
    while world.readings:
        world.answer_reading(0)
    assert not world.rows
    assert not is_being_deleted(world.state, "q")
    world.publish(0, 0, is_queued=True)
    assert world.started == [(11, 0)]


def test_what_is_brought_forward_while_it_is_being_read_and_then_fails_is_tried_again() -> None:
    """It left the part that is being read, and comes back to it."""
    world = _World(window=1, lane_window=5)
    for seconds in (1, 2, 3, 4, 500):
        world.publish(seconds, 0)
    world.turn_clock(1)
    world.answer(0, 200, 0)
    world.read(0)
    assert world.readings[0].rows
    world.expedite(3)
    assert world.under_way == [5]
    world.answer(0, 429, retry_after=5)
    world.drain()
    assert world.started.count((5, 1)) == 1


def test_what_a_crowded_lane_left_to_the_store_is_sent_though_the_clock_is_set_back() -> None:
    world = _World(window=20, lane_window=2)
    for _ in range(8):
        world.publish(0, 0)
    world.turn_clock(-10)
    while world.under_way:
        world.answer(0, 200, 0)
        while world.readings:
            world.answer_reading(0)
    assert not world.rows


def test_what_is_canceled_while_its_lane_is_read_after_the_clock_was_set_back_stays_canceled() -> None:
    """It waits for a time that the lane has seen already, so that the reading finds it."""
    world = _World(window=20, lane_window=2)
    for _ in range(5):
        world.publish(0, 0)
    world.turn_clock(-10)
    world.publish(10, 0)
    world.answer(0, 200, 0)
    world.answer(0, 200, 0)
    world.read(0)
    found, _ = world.readings[0].rows or ([], False)
    assert [pending.seq for pending in found] == [5, 6]
    world.cancel(len(world.rows) - 1)
    world.drain()
    assert 6 not in {seq for seq, _ in world.started}


def test_what_makes_way_for_nearer_ones_while_the_store_is_read_is_not_forgotten() -> None:
    world = _World(window=2, lane_window=5)
    for seconds in (1, 100, 101, 102, 103):
        world.publish(seconds, 0)
    world.turn_clock(1)
    world.cancel(1)
    assert world.readings, "the store is being read"
    for seconds in (10, 11, 12, 13, 14, 15):
        world.publish(seconds, 1)
    world.drain()


def test_what_is_taken_back_before_its_time_does_not_pile_up() -> None:
    world = _World(window=2, lane_window=5)
    world.publish(1, 0)
    for _ in range(100):
        world.publish(100, 0)
        world.cancel(1)
    assert len(world.state.pending) == 1
    assert len(world.state.pending.timeline._heap) <= 8
    world.drain()


def test_a_message_of_a_queue_is_held_however_far_away_it_is() -> None:
    world = _World(window=1, lane_window=5)
    for seconds in (1, 2, 3, 4):
        world.publish(seconds, 0)
    world.publish(100, 0, is_queued=True)
    found = world.state.pending.find(world.rows[5].pending())
    assert found is not None
    assert found.place is Place.TIMELINE
    assert world.state.pending.find(world.rows[4].pending()).place is Place.BEYOND_HORIZON  # type: ignore[union-attr]


def test_every_place_but_the_last_leads_on_and_can_be_reached() -> None:
    assert set(MOVES) == set(Place)
    reached = {to for moves in MOVES.values() for to in moves}
    assert set(Place) - reached == {Place.NEW}
    assert [place for place, moves in MOVES.items() if not moves] == [Place.ENDED]
    assert not IN_MEMORY & IN_STORE_ALONE


def test_a_move_that_the_table_does_not_have_is_an_error() -> None:
    pending = PendingMessages(capacity=1, per_origin=1, windows=Windows())
    for place, to in product(Place, Place):
        moved = Pending(seq=1, due_at=1, lane=_HOSTS[0], place=place)
        if to in MOVES[place] or to is place:
            pending._put(moved, to)
            assert moved.place is to
        else:
            with pytest.raises(ValueError, match=f"from {place} to {to}"):
                pending._put(moved, to)
