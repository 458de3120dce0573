"""The simulated world takes messages through every place, and through every move between places."""

import pytest

from emulator.broker.message import Pending
from emulator.broker.pending_messages import PendingMessages
from emulator.broker.place import MOVES, Place
from tests.simulation.simulator import make_scenario, run_scenario

_MOST_SEEDS = 100
# They take every move between them. Where they no longer do, all others are tried.
_ENOUGH = (2, 6, 28, 34, 36)
_EVERY_MOVE = {(place, to) for place, moves in MOVES.items() for to in moves}


def test_every_move_is_taken_within_a_hundred_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: set[tuple[Place, Place]] = set()
    put = PendingMessages._put

    def note(self: PendingMessages, pending: Pending, place: Place) -> None:
        taken.add((pending.place, place))
        put(self, pending, place)

    monkeypatch.setattr(PendingMessages, "_put", note)
    for seed in (*_ENOUGH, *range(0, _MOST_SEEDS, 2)):  # even: in those little is held in memory
        assert run_scenario(make_scenario(seed)).is_good
        if taken >= _EVERY_MOVE:
            break
    missing = sorted(f"{place} to {to}" for place, to in _EVERY_MOVE - taken)
    assert not missing, f"no message was ever moved from {', '.join(missing)}"
