"""A queue's parallelism is lowered while attempts are under way (contract 5.1; the design's invariant 4).

The broker alone, told the time by the test: each attempt ends when the test says so.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.broker.broker import Broker
from emulator.broker.flow_operations import pause_flow, resume_flow
from emulator.broker.message import AttemptResult, Draft, Message, Pending
from emulator.broker.pending_changes import cancel, expedite
from emulator.broker.queue_operations import pause_queue, upsert_queue
from emulator.broker.resources import SigningKeys
from emulator.broker.state import BrokerState
from emulator.broker.wait_reason import waiting_reason
from emulator.broker.writes import MessageAccepted, MessageFinished
from emulator.wire.destination import Destination, DestinationKind
from emulator.wire.ids import IdFactory
from emulator.wire.limits import LENIENT
from emulator.wire.options import parse_options

_NOW_AT = 1_780_315_200_000
_RETRIES = 3

_Step = tuple[Callable[..., None], dict[str, object]]


@dataclass
class _Line:
    """A broker with the queue ``q``, and its messages by number, from 1 on. Times are unix milliseconds."""

    now_at: int = _NOW_AT
    messages: dict[int, Message] = field(default_factory=dict)
    under_way: list[int] = field(default_factory=list)
    finished: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.broker = Broker(
            BrokerState(
                ids=IdFactory(random.Random(1)), next_seq=count(1).__next__, keys=SigningKeys("one", "two")
            )
        )

    @property
    def state(self) -> BrokerState:
        return self.broker.state

    def enqueue(self, *, flow_key: str | None = None) -> None:
        lines = [
            ("Upstash-Queue-Name", "q"),
            ("Upstash-Retries", str(_RETRIES)),
            ("Upstash-Retry-Delay", "1000"),
        ]
        if flow_key is not None:
            lines += [
                ("Upstash-Flow-Control-Key", flow_key),
                ("Upstash-Flow-Control-Value", "parallelism=100"),
            ]
        url = "https://example.com/"
        draft = Draft(
            destination=Destination(DestinationKind.URL, url),
            options=parse_options(lines, limits=LENIENT),
            body=b"",
        )
        self.broker.publish(draft, self.now_at)
        self._step()

    def allow(self, parallelism: int) -> None:
        upsert_queue(self.state, self.now_at, name="q", parallelism=parallelism, is_paused=None)
        self._step()

    def pause_queue(self, *, is_paused: bool) -> None:
        pause_queue(self.state, self.now_at, name="q", is_paused=is_paused)
        self._step()

    def pause_flow(self, key: str, *, is_paused: bool) -> None:
        (pause_flow if is_paused else resume_flow)(self.state, self.now_at, None, key=key)
        self._step()

    def cancel(self, number: int) -> None:
        message = self.messages[number]
        cancel(self.state, [Pending.of(message)], self.now_at)
        self._step()

    def answer(self, number: int, status: int) -> None:
        self.under_way.remove(number)
        self.broker.attempt_finished(self.messages[number], b"", AttemptResult(status=status), self.now_at)
        self._step()

    def turn_clock(self, seconds: int) -> None:
        self.now_at += 1_000 * seconds
        self._step()

    def _step(self) -> None:
        effects = self.broker.step(self.now_at)
        for write in effects.writes:
            match write:
                case MessageAccepted(message=message):
                    self.messages[message.seq] = message
                case MessageFinished(seq=seq):
                    self.finished.add(seq)
                case _:
                    pass
        self.under_way += [attempt.seq for attempt in effects.attempts]
        parallelism = self.state.queues["q"].queue.parallelism
        assert not effects.attempts or len(self.under_way) <= parallelism, self.under_way


def _line(parallelism: int, flow_keys: Iterable[str | None]) -> _Line:
    line = _Line()
    line.allow(parallelism)
    for flow_key in flow_keys:
        line.enqueue(flow_key=flow_key)
    return line


def test_a_retry_does_not_start_beside_an_attempt_that_a_lowered_parallelism_left_under_way() -> None:
    line = _line(2, [None, None])
    line.allow(1)
    line.answer(1, 500)
    line.turn_clock(1)
    assert line.under_way == [2]
    line.answer(2, 200)
    assert line.under_way == [1]


def test_what_is_held_back_says_why_and_cannot_be_brought_forward() -> None:
    line = _line(2, [None, None])
    line.allow(1)
    line.answer(1, 500)
    line.turn_clock(1)
    held_back = Pending.of(line.messages[1])
    assert waiting_reason(line.state, held_back, line.now_at) == "queue q lets no more than 1 start"
    assert expedite(line.state, [held_back], line.now_at) == 0


def test_the_first_goes_on_before_the_others_retry() -> None:
    line = _line(2, [None, None])
    line.allow(1)
    line.answer(1, 500)
    line.turn_clock(1)
    line.answer(2, 500)
    line.turn_clock(1)
    assert line.under_way == [1]
    line.answer(1, 200)
    assert line.under_way == [2]


def test_what_waits_for_its_flow_key_does_not_start_beside_an_attempt_that_was_left_under_way() -> None:
    line = _Line()
    line.allow(2)
    line.pause_flow("k", is_paused=True)
    line.enqueue(flow_key="k")
    line.enqueue()
    line.allow(1)
    line.pause_flow("k", is_paused=False)
    assert line.under_way == [2]
    line.answer(2, 200)
    assert line.under_way == [1]


def test_a_lowered_parallelism_leaves_the_first_their_places_in_the_lane_of_their_flow_key() -> None:
    line = _Line()
    line.allow(3)
    line.pause_flow("k", is_paused=True)
    for _ in range(3):
        line.enqueue(flow_key="k")
    line.allow(2)
    line.pause_flow("k", is_paused=False)
    assert line.under_way == [1, 2]
    line.answer(1, 200)
    assert line.under_way == [2, 3]


def test_what_a_pause_took_from_its_lanes_goes_back_in_the_order_of_publishing() -> None:
    line = _Line()
    line.allow(3)
    line.pause_flow("k", is_paused=True)
    for _ in range(3):
        line.enqueue(flow_key="k")
    line.pause_queue(is_paused=True)
    line.pause_queue(is_paused=False)
    line.pause_flow("k", is_paused=False)
    assert line.under_way == [1, 2, 3]


def _answer_one(line: _Line, place: int, status: int) -> None:
    if place < len(line.under_way):
        line.answer(line.under_way[place], status)


def _cancel_one(line: _Line, place: int) -> None:
    unfinished = sorted(line.messages.keys() - line.finished)
    if place < len(unfinished):
        line.cancel(unfinished[place])


def _step(act: Callable[..., None], **arguments: st.SearchStrategy[object]) -> st.SearchStrategy[_Step]:
    return st.tuples(st.just(act), st.fixed_dictionaries(arguments))


# What matters most is named more than once, and is drawn more often.
_ANSWER = _step(_answer_one, place=st.integers(0, 2), status=st.sampled_from((500, 200)))
_TURN = _step(_Line.turn_clock, seconds=st.integers(1, 2))
_ALLOW = _step(_Line.allow, parallelism=st.integers(1, 4))
_STEPS = st.one_of(
    _ANSWER,
    _ANSWER,
    _TURN,
    _TURN,
    _ALLOW,
    _ALLOW,
    _step(_Line.enqueue, flow_key=st.sampled_from((None, "k"))),
    _step(_Line.pause_queue, is_paused=st.booleans()),
    _step(_Line.pause_flow, key=st.just("k"), is_paused=st.booleans()),
    _step(_cancel_one, place=st.integers(0, 5)),
)


@settings(max_examples=50)
@given(steps=st.lists(_STEPS, min_size=15, max_size=30))
def test_nothing_starts_past_the_parallelism_and_everything_ends(steps: list[_Step]) -> None:
    line = _line(4, [None, "k", None, "k"])
    for act, arguments in steps:
        act(line, **arguments)
    line.pause_queue(is_paused=False)
    line.pause_flow("k", is_paused=False)
    for _ in range(len(line.messages)):
        while line.under_way:
            line.answer(line.under_way[0], 200)
        line.turn_clock(1)
    assert line.finished == set(line.messages)
