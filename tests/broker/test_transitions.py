"""The state table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.broker.message import State
from emulator.broker.transitions import FINAL_STATES, LOGGED, PENDING_STATES, TRANSITIONS, Event, after


def test_every_message_ends_in_exactly_one_of_three_states() -> None:
    assert {State.DELIVERED, State.FAILED, State.CANCELED} == FINAL_STATES
    assert {State.CREATED, State.ACTIVE, State.RETRY} == PENDING_STATES


def test_every_event_is_logged_and_ends_with_the_state_it_leads_to() -> None:
    for moves in TRANSITIONS.values():
        for event, state in moves.items():
            assert LOGGED[event][-1] is state


@given(st.sampled_from(sorted(TRANSITIONS)), st.sampled_from(Event))
def test_a_move_that_the_table_does_not_have_is_an_error(state: State, event: Event) -> None:
    if event in TRANSITIONS[state]:
        assert after(state, event) in TRANSITIONS
    else:
        with pytest.raises(ValueError, match="cannot move on"):
            after(state, event)
