"""Invariants 1, 2 and 7: nothing is lost, everything ends once, and nothing is accepted twice."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from emulator.testing.invariants.index import FINAL, RunIndex
from emulator.testing.invariants.violation import Invariant, Violation

# Contract, 3.5.
DEDUPLICATION_MS: Final = 600_000

# Which line may follow which in a message's log (contract 5.9). ACTIVE after ACTIVE needs a crash between them.
_MAY_FOLLOW: Final[dict[str, frozenset[str]]] = {
    "": frozenset({"CREATED"}),
    "CREATED": frozenset({"ACTIVE", "CANCEL_REQUESTED"}),
    "ACTIVE": frozenset({"ACTIVE", "DELIVERED", "ERROR", "CANCEL_REQUESTED"}),
    "ERROR": frozenset({"RETRY", "FAILED"}),
    "RETRY": frozenset({"ACTIVE", "CANCEL_REQUESTED"}),
    "CANCEL_REQUESTED": frozenset({"CANCELED", "DELIVERED"}),
    **{state: frozenset() for state in FINAL},
}


def check_nothing_lost(index: RunIndex) -> Iterator[Violation]:
    """Every acknowledged message is in the log, and no message was sent before it was durable."""
    for message in index.record.messages:
        if message.is_acknowledged and not index.positions[message.id]:
            yield Violation(
                invariant=Invariant.NOTHING_LOST,
                text=f"{message.id} was acknowledged, and nothing is known of it",
                message_ids=(message.id,),
            )
    for message_id, attempts in index.attempts.items():
        active = index.states(message_id).count("ACTIVE")
        if len(attempts) - active > _attempts_that_a_crash_hid(index, message_id):
            yield Violation(
                invariant=Invariant.NOTHING_LOST,
                text=f"{message_id} was sent {len(attempts)} times, but only {active} attempts are on record:"
                " an attempt started before that was durable",
                message_ids=(message_id,),
            )


def _attempts_that_a_crash_hid(index: RunIndex, message_id: str) -> int:
    """Return how many attempts may lack their log line: a crash cut each off, and it was made again.

    The message itself is on record before any of them, and so is what an attempt uses up of a flow-control key.
    """
    attempts = index.attempts[message_id]
    has_flow_key = any(one.id == message_id and one.flow_key for one in index.record.messages)
    if not index.positions[message_id] or has_flow_key:
        return 0
    return sum(
        one.retried == again.retried
        and (index.record.went_back or index.was_cut_off(one.started_at, again.started_at))
        for one, again in pairwise(attempts)
    )


def check_contents(index: RunIndex) -> Iterator[Violation]:
    """Every delivery carries what was published."""
    for message in index.record.messages:
        for attempt in index.attempts[message.id]:
            for what, sent, seen in (
                ("url", message.url, attempt.url),
                ("body", message.body, attempt.body),
            ):
                if sent is not None and seen is not None and sent != seen:
                    yield Violation(
                        invariant=Invariant.NOTHING_LOST,
                        text=f"{message.id} was published with {what} {sent!r} and delivered with {seen!r}",
                        message_ids=(message.id,),
                    )


def check_histories(index: RunIndex) -> Iterator[Violation]:
    """Each message's log follows the state table, ends once, and has no line after the end."""
    for message_id in index.logged:
        before, before_at = "", 0
        for position in index.positions[message_id]:
            line = index.record.log[position]
            is_legal = line.state in _MAY_FOLLOW[before]
            # A run's messages are cancelled when the run ends.
            is_legal |= line.state == "CANCELED" and before not in FINAL and _is_of_run(index, message_id)
            if before == line.state == "ACTIVE":
                is_legal = index.record.went_back or index.was_cut_off(before_at, line.time_at)
            if not is_legal:
                yield Violation(
                    invariant=Invariant.ONE_END,
                    text=f"{message_id} went {' → '.join(index.states(message_id))}:"
                    f" {line.state} cannot follow {before or 'nothing'}",
                    message_ids=(message_id,),
                )
                break
            before, before_at = line.state, line.time_at


def check_ends(index: RunIndex) -> Iterator[Violation]:
    """A delivered message was answered 2xx, a failed one is in the DLQ, and at rest every message has ended."""
    for message_id in index.logged:
        states = index.states(message_id)
        text = None
        if states[-1] == "DELIVERED":
            if index.record.attempts and not any(one.is_success for one in index.attempts[message_id]):
                text = f"{message_id} is DELIVERED, but no destination answered 2xx"
        elif states[-1] == "FAILED":
            is_kept = message_id in index.record.dead_letters | index.record.removed_dead_letters
            if not is_kept and not _is_of_run(index, message_id):
                text = f"{message_id} is FAILED, but not in the DLQ"
        elif states[-1] != "CANCELED" and index.record.is_idle:
            text = f"{message_id} was left at {' → '.join(states)} when nothing was left to do"
        if text is None and states[-1] != "FAILED" and message_id in index.record.dead_letters:
            text = f"{message_id} is in the DLQ, but went {' → '.join(states)}"
        if text is not None:
            yield Violation(invariant=Invariant.ONE_END, text=text, message_ids=(message_id,))


def check_states(index: RunIndex) -> Iterator[Violation]:
    """The store and the log agree on which messages have ended, and how."""
    for message in index.record.messages:
        end = index.end_of(message.id)
        logged = None if end is None else index.record.log[end].state
        kept = message.state if message.state in FINAL else None
        if message.state is not None and kept != logged:
            yield Violation(
                invariant=Invariant.ONE_END,
                text=f"{message.id} went {' → '.join(index.states(message.id))}, and the store has it as"
                f" {message.state}",
                message_ids=(message.id,),
            )


def check_cancels(index: RunIndex) -> Iterator[Violation]:
    """A message whose cancel was acknowledged has it in its log."""
    for message_id in index.record.cancels:
        if index.first(message_id, "CANCEL_REQUESTED") is None:
            yield Violation(
                invariant=Invariant.ONE_END,
                text=f"the cancel of {message_id} was acknowledged, and nothing is known of it",
                message_ids=(message_id,),
            )


def check_callbacks(index: RunIndex) -> Iterator[Violation]:
    """Each outcome has one callback, and each failed message one failure callback (contract 5.5)."""
    for message in index.record.messages:
        states = index.states(message.id)
        outcomes = states.count("ERROR") + states.count("DELIVERED")
        expected = outcomes * message.has_callback + states.count("FAILED") * message.has_failure_callback
        made = index.callbacks[message.id]
        if len(made) != expected:
            yield Violation(
                invariant=Invariant.ONE_END,
                text=f"{message.id} went {' → '.join(states)} and should have made {expected} callbacks;"
                f" it made {len(made)}",
                message_ids=(message.id, *made),
            )


def check_deduplication(index: RunIndex) -> Iterator[Violation]:
    """Messages with the same deduplication key were accepted at least ten minutes apart."""
    by_key: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for message in index.record.messages:
        created = index.first(message.id, "CREATED")
        if message.deduplication_key is not None and created is not None:
            by_key[message.deduplication_key].append((created, message.id))
    for key, created_messages in by_key.items():
        ordered = sorted(created_messages)
        for (first, first_id), (second, second_id) in pairwise(ordered):
            apart_ms = index.time_at(second) - index.time_at(first)
            if apart_ms < DEDUPLICATION_MS:
                yield Violation(
                    invariant=Invariant.DEDUPLICATION,
                    text=f"{first_id} and {second_id} have the same deduplication key {key!r}, and were accepted"
                    f" {apart_ms} ms apart",
                    message_ids=(first_id, second_id),
                )


def _is_of_run(index: RunIndex, message_id: str) -> bool:
    message = index.messages.get(message_id)
    return message is not None and message.is_of_run
