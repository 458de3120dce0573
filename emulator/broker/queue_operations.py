"""The owner's operations on queues: create, change, pause, delete (contract 2.5 and 5.1)."""

from dataclasses import replace

from emulator.broker.message import Pending
from emulator.broker.pending_changes import cancel
from emulator.broker.place import Place
from emulator.broker.publishing import check_queue_quota
from emulator.broker.queues import QueueLine
from emulator.broker.resources import Queue
from emulator.broker.state import BrokerState
from emulator.broker.writes import QueueDeleted, QueueSaved
from emulator.errors import NotFound, QuotaExceeded


def upsert_queue(
    state: BrokerState, now_at: int, *, name: str, parallelism: int, is_paused: bool | None
) -> None:
    """Create a queue, or change its settings at once; with ``is_paused`` ``None`` its pause stays as it was.

    Raise QuotaExceeded for one queue too many, or too much parallelism.
    """
    if parallelism > state.limits.max_queue_parallelism:
        raise QuotaExceeded(
            "quota maxQueueParallelism exceeded",
            hint=f"{parallelism} is over {state.limits.max_queue_parallelism}",
        )
    check_queue_quota(state, name)
    queue = state.ensure_queue(name, now_at).queue
    _save(
        state,
        replace(
            queue,
            parallelism=parallelism,
            is_paused=queue.is_paused if is_paused is None else is_paused,
            updated_at=now_at,
        ),
    )


def pause_queue(state: BrokerState, now_at: int, *, name: str, is_paused: bool) -> None:
    """Pause or resume; nothing new starts while paused. Raise NotFound."""
    queue = find_queue(state, name).queue
    _save(state, replace(queue, is_paused=is_paused, updated_at=now_at))


def delete_queue(state: BrokerState, now_at: int, *, name: str) -> None:
    """Delete a queue, if it exists, and cancel its waiting messages; an attempt under way finishes.

    If a part of the queue is only in the store, it ``is_being_deleted`` until ``refill_queue`` has had all of it.
    """
    if (line := state.queues.get(name)) is not None:
        line.is_being_deleted = True
        _delete(state, line, now_at)


def is_being_deleted(state: BrokerState, name: str) -> bool:
    """Return whether messages of a deleted queue are still to be cancelled."""
    line = state.queues.get(name)
    return line is not None and line.is_being_deleted


def refill_queue(
    state: BrokerState, now_at: int, *, line: QueueLine, read: list[Pending], is_complete: bool
) -> None:
    """Add the next messages of a queue from the store, in order; ``is_complete`` says that these are the last."""
    if state.queues.get(line.queue.name) is not line:
        return
    state.pending.refill_line(line, read, is_complete=is_complete)
    if line.is_being_deleted:
        _delete(state, line, now_at)


def find_queue(state: BrokerState, name: str) -> QueueLine:
    """Return the queue of that name. Raise NotFound."""
    line = state.queues.get(name)
    if line is None:
        raise NotFound(f"queue {name} not found")
    return line


def _delete(state: BrokerState, line: QueueLine, now_at: int) -> None:
    cancel(state, [member for member in line.members() if member.place is not Place.ACTIVE], now_at)
    if line.stored.start is None:
        del state.queues[line.queue.name]
        state.write(QueueDeleted(line.queue.name))
    else:
        state.pending.rouse(line.queue.name)


def _save(state: BrokerState, queue: Queue) -> None:
    state.queues[queue.name].queue = queue
    state.write(QueueSaved(queue))
    state.pending.recall(queue.name)
    state.pending.rouse(queue.name)
