"""Checks that queues and flow-control keys share: a limit of concurrent attempts, and pauses."""

from collections.abc import Callable, Iterator, Sequence

from emulator.testing.invariants.index import RunIndex
from emulator.testing.invariants.record import AttemptRecord, MessageRecord, SettingChange, possible
from emulator.testing.invariants.violation import Invariant, Violation


def check_overlap(
    index: RunIndex,
    members: Sequence[MessageRecord],
    limit: Callable[[int, int], int | None],
    *,
    what: str,
    invariant: Invariant,
) -> Iterator[Violation]:
    """No request of ``members`` is sent while the allowed number is under way already.

    ``limit`` is given the time of the decision and that of the request, and tells the largest bound that may have
    held then, ``None`` for none.
    """
    attempts = [attempt for message in members for attempt in index.attempts[message.id]]
    # With a manual clock many things happen at one time: the record's order tells which came first.
    place = {id(attempt): number for number, attempt in enumerate(index.record.attempts)}
    under_way: list[AttemptRecord] = []
    for attempt in sorted(attempts, key=lambda one: (one.started_at, place[id(one)])):
        started_at = attempt.started_at
        under_way = [*(other for other in under_way if other.ended_at > started_at), attempt]
        most = limit(_decided_at(index, attempt.message_id, started_at), started_at)
        if most is not None and len(under_way) > most:
            ids = tuple(other.message_id for other in under_way)
            yield Violation(
                invariant=invariant,
                text=f"{what} allows {most} at a time, but at {started_at} {len(ids)} were under way:"
                f" {', '.join(ids)}",
                message_ids=ids,
            )


def check_pause(
    index: RunIndex,
    members: Sequence[MessageRecord],
    pauses: Sequence[SettingChange[bool]],
    *,
    what: str,
    invariant: Invariant,
) -> Iterator[Violation]:
    """No attempt of ``members`` is decided while a pause is certainly in force."""
    for message in members:
        for position in index.positions[message.id]:
            line = index.record.log[position]
            is_paused: list[bool] = possible(pauses, line.time_at, line.time_at, False)
            if line.state == "ACTIVE" and all(is_paused):
                yield Violation(
                    invariant=invariant,
                    text=f"{what} is paused at {line.time_at}, but an attempt of {message.id} started",
                    message_ids=(message.id,),
                )


def _decided_at(index: RunIndex, message_id: str, started_at: int) -> int:
    """Return when the attempt sent at ``started_at`` was decided: the time of its line in the log."""
    decided = (
        index.time_at(position)
        for position in index.positions[message_id]
        if index.record.log[position].state == "ACTIVE" and index.time_at(position) <= started_at
    )
    return max(decided, default=started_at)
