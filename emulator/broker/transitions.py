"""The permitted transitions of a message, as a table; a test compares the documentation with it."""

from enum import StrEnum
from typing import Final

from emulator.broker.message import State


class Event(StrEnum):
    """An event of an unfinished message."""

    ATTEMPT_STARTED = "an attempt starts"
    SUCCEEDED = "the destination answers 2xx"
    FAILED_WITH_RETRY = "the attempt fails and retries are left"
    FAILED_FOR_GOOD = "the attempt fails and none is left, or the answer forbids them"
    CANCELED = "a cancel takes effect"


TRANSITIONS: Final[dict[State, dict[Event, State]]] = {
    State.CREATED: {Event.ATTEMPT_STARTED: State.ACTIVE, Event.CANCELED: State.CANCELED},
    State.ACTIVE: {
        Event.SUCCEEDED: State.DELIVERED,
        Event.FAILED_WITH_RETRY: State.RETRY,
        Event.FAILED_FOR_GOOD: State.FAILED,
        Event.CANCELED: State.CANCELED,
    },
    State.RETRY: {Event.ATTEMPT_STARTED: State.ACTIVE, Event.CANCELED: State.CANCELED},
    State.DELIVERED: {},
    State.FAILED: {},
    State.CANCELED: {},
}

# The log states that each event writes, in order (contract 5.9).
LOGGED: Final[dict[Event, tuple[State, ...]]] = {
    Event.ATTEMPT_STARTED: (State.ACTIVE,),
    Event.SUCCEEDED: (State.DELIVERED,),
    Event.FAILED_WITH_RETRY: (State.ERROR, State.RETRY),
    Event.FAILED_FOR_GOOD: (State.ERROR, State.FAILED),
    Event.CANCELED: (State.CANCELED,),
}

PENDING_STATES: Final = frozenset(state for state, moves in TRANSITIONS.items() if moves)
FINAL_STATES: Final = frozenset(TRANSITIONS) - PENDING_STATES


def after(state: State, event: Event) -> State:
    """Return the next state. Raises ValueError for a transition that is not in the table."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise ValueError(f"a message that is {state} cannot move on: {event.value}") from None
