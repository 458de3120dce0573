"""The places of unfinished messages and the moves between them, as a table.

A state says how far a message has come, a place says which structure holds it. They are independent, with two
exceptions: ``ACTIVE`` is both a state and a place, and a message in a final state has no place. A test compares
the documentation with ``MOVES``.
"""

from enum import StrEnum
from typing import Final


class Place(StrEnum):
    """The structure that holds a message."""

    NEW = "NEW"
    """None yet: it was accepted just now, or read from the store."""
    QUEUE = "QUEUE"
    """Its queue's line: it waits for a slot."""
    QUEUE_OVERFLOW = "QUEUE_OVERFLOW"
    """The store alone: it waits for a slot, and its queue's line holds no more."""
    TIMELINE = "TIMELINE"
    """The timeline: it waits for its time. A message of a queue has its slot by now, and keeps it from here on."""
    BEYOND_HORIZON = "BEYOND_HORIZON"
    """The store alone: its time lies beyond the timeline's horizon. A message of a queue is never here."""
    HELD_BACK = "HELD_BACK"
    """Its queue: it has a slot and is due, but its queue is paused, or lets no more start."""
    LANE = "LANE"
    """Its lane: it is due, and waits for its turn."""
    OVERFLOW = "OVERFLOW"
    """The store alone: it is due, and its lane holds no more. A message of a queue is never here."""
    ACTIVE = "ACTIVE"
    """An attempt is under way."""
    ENDED = "ENDED"
    """None any more: the message is in a final state."""


_TAKEN_BACK: Final = "it is taken back"

# For each place, the places to which a message may move, and the reason.
MOVES: Final[dict[Place, dict[Place, str]]] = {
    Place.NEW: {
        Place.QUEUE: "it is published to a queue",
        Place.QUEUE_OVERFLOW: "it is published to a queue whose line holds no more",
        Place.TIMELINE: "it is published without a queue",
        Place.BEYOND_HORIZON: "it is published without a queue, for a time beyond the horizon",
    },
    Place.QUEUE: {
        Place.TIMELINE: "it gets a slot",
        Place.ENDED: _TAKEN_BACK,
    },
    Place.QUEUE_OVERFLOW: {
        Place.QUEUE: "it is read back",
        Place.ENDED: _TAKEN_BACK,
    },
    Place.TIMELINE: {
        Place.BEYOND_HORIZON: "many nearer messages come",
        Place.HELD_BACK: "its time comes, and its queue lets no more start",
        Place.LANE: "its time comes",
        Place.OVERFLOW: "its time comes, and its lane holds no more",
        Place.ENDED: _TAKEN_BACK,
    },
    Place.BEYOND_HORIZON: {
        Place.TIMELINE: "it is read back, or brought forward",
        Place.ENDED: _TAKEN_BACK,
    },
    Place.HELD_BACK: {
        Place.LANE: "its queue lets it start",
        Place.ENDED: _TAKEN_BACK,
    },
    Place.LANE: {
        Place.HELD_BACK: "its queue is paused, or its parallelism is lowered",
        Place.ACTIVE: "it is its turn",
        Place.ENDED: _TAKEN_BACK,
    },
    Place.OVERFLOW: {
        Place.LANE: "it is read back",
        Place.ENDED: _TAKEN_BACK,
    },
    Place.ACTIVE: {
        Place.TIMELINE: "the attempt fails and retries are left",
        Place.BEYOND_HORIZON: "the attempt fails, and its retry is due beyond the horizon",
        Place.ENDED: "the message is delivered, fails for good or is canceled",
    },
    Place.ENDED: {},
}

IN_STORE_ALONE: Final = frozenset({Place.QUEUE_OVERFLOW, Place.BEYOND_HORIZON, Place.OVERFLOW})
"""Places of messages that take no memory."""
IN_MEMORY: Final = frozenset(Place) - IN_STORE_ALONE - {Place.NEW, Place.ENDED}
