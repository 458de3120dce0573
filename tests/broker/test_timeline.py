"""The window of nearest due messages, and the horizon behind which the store remembers."""

from hypothesis import given
from hypothesis import strategies as st

from emulator.broker.message import Pending
from emulator.broker.timeline import Timeline


def _pending(seq: int, due_at: int) -> Pending:
    return Pending(seq=seq, due_at=due_at, lane="https://example.com:443")


class _Store:
    """What the store would know: every pending message, by key."""

    def __init__(self) -> None:
        self.pending: dict[int, Pending] = {}

    def read(self, start: tuple[int, int], limit: int) -> tuple[list[Pending], bool]:
        keys = sorted((one.due_at, one.seq) for one in self.pending.values())
        chosen = [key for key in keys if key >= start][:limit]
        return [self.pending[seq] for _, seq in chosen], len(chosen) < limit


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(min_value=0, max_value=50)),
        st.tuples(st.just("remove"), st.integers(min_value=0, max_value=60)),
        st.tuples(st.just("pop"), st.integers(min_value=0, max_value=60)),
        st.tuples(st.just("begin"), st.just(0)),
        st.tuples(st.just("end"), st.just(0)),
    ),
    max_size=80,
)


@given(_STEPS, st.integers(min_value=1, max_value=6))
def test_whatever_fits_in_the_window_everything_comes_out_once_and_in_order(
    steps: list[tuple[str, int]], window: int
) -> None:
    timeline, store = Timeline(window), _Store()
    read: tuple[list[Pending], bool] | None = None
    out: list[int] = []
    for seq, (verb, number) in enumerate(steps):
        if verb == "add":
            store.pending[seq] = _pending(seq, number)
            timeline.add(store.pending[seq])
        elif verb == "remove":
            if store.pending.pop(number, None) is not None:
                timeline.remove(number)
        elif verb == "pop":
            popped = timeline.pop_due(number)
            if popped is not None:
                del store.pending[popped.seq]
                out.append(popped.seq)
        elif verb == "begin" and read is None and timeline.wants_refill():
            read = store.read(*timeline.begin_refill())
        elif verb == "end" and read is not None:
            timeline.refill(read[0], is_complete=read[1])
            read = None
    if read is not None:
        timeline.refill(read[0], is_complete=read[1])
    rest: list[tuple[int, int]] = []
    for _ in range(1_000):
        if timeline.wants_refill():
            found, is_complete = store.read(*timeline.begin_refill())
            timeline.refill(found, is_complete=is_complete)
        popped = timeline.pop_due(10_000)
        if popped is None and not timeline.wants_refill():
            break
        if popped is not None:
            del store.pending[popped.seq]
            rest.append((popped.due_at, popped.seq))
    assert store.pending == {}
    assert rest == sorted(rest)
    assert len(set(out) | {seq for _, seq in rest}) == len(out) + len(rest)


def test_a_queues_message_is_held_beyond_the_horizon() -> None:
    timeline = Timeline(window=1)
    for seq in range(4):
        timeline.add(_pending(seq, due_at=seq))
    queued = Pending(seq=9, due_at=100, lane="https://example.com:443", queue_name="q")
    timeline.add(queued)
    assert timeline.is_beyond_horizon(queued.due_at, queued.seq)
    assert timeline.get(9) is queued
