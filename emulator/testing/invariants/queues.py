"""Invariant 4: how many messages of a queue are under way, and in which order."""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise

from emulator.testing.invariants.index import RunIndex
from emulator.testing.invariants.overlap import check_overlap, check_pause
from emulator.testing.invariants.record import MessageRecord, QueueRecord, possible
from emulator.testing.invariants.violation import Invariant, Violation


def check_queue_parallelism(index: RunIndex) -> Iterator[Violation]:
    """At most ``parallelism`` attempts of a queue are under way at a time."""
    for name, queue in index.record.queues.items():
        yield from check_overlap(
            index,
            index.members(name),
            partial(_limit, queue),
            what=f"queue {name!r}",
            invariant=Invariant.QUEUE,
        )


def check_queue_order(index: RunIndex) -> Iterator[Violation]:
    """A message starts only when a slot is free; with parallelism 1, also after every message published before it."""
    for name, queue in index.record.queues.items():
        started = [
            message for message in index.members(name) if index.first(message.id, "ACTIVE") is not None
        ]
        holding: list[MessageRecord] = []
        for message in sorted(started, key=lambda one: _start(index, one)):
            start = _start(index, message)
            start_at = index.time_at(start)
            holding = [one for one in holding if _is_held_at(index, one, start)]
            limit = _limit(queue, start_at, start_at)
            if len(holding) >= limit:
                ids = tuple(one.id for one in holding)
                yield Violation(
                    invariant=Invariant.QUEUE,
                    text=f"{message.id} started in queue {name!r} at {start_at} with parallelism {limit} while"
                    f" {', '.join(ids)} still held their slots (their retries and callbacks included)",
                    message_ids=(message.id, *ids),
                )
            holding.append(message)
        if {change.value for change in queue.parallelism} <= {1}:
            yield from _check_order(index, name, started)


def check_queue_pauses(index: RunIndex) -> Iterator[Violation]:
    """No attempt starts while the queue is paused."""
    for name, queue in index.record.queues.items():
        yield from check_pause(
            index, index.members(name), queue.is_paused, what=f"queue {name!r}", invariant=Invariant.QUEUE
        )


def _check_order(index: RunIndex, name: str, started: list[MessageRecord]) -> Iterator[Violation]:
    for before, after in pairwise(started):
        if _start(index, before) > _start(index, after):
            yield Violation(
                invariant=Invariant.QUEUE,
                text=f"{before.id} was published to queue {name!r} before {after.id}, and started after it",
                message_ids=(before.id, after.id),
            )


def _limit(queue: QueueRecord, from_at: int, to_at: int) -> int:
    return max(possible(queue.parallelism, from_at, to_at, 1))


def _start(index: RunIndex, message: MessageRecord) -> int:
    start = index.first(message.id, "ACTIVE")
    assert start is not None
    return start


def _is_held_at(index: RunIndex, message: MessageRecord, position: int) -> bool:
    """Return whether a message's slot is held at ``position``: by itself, or by a callback made before."""
    for message_id in (message.id, *index.callbacks[message.id]):
        created, end = index.first(message_id, "CREATED"), index.end_of(message_id)
        if (created is None or created < position) and (end is None or end > position):
            return True
    return False
