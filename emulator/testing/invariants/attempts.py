"""Invariants 3 and 6: how many attempts a message gets, and when."""

import math
from collections.abc import Iterator

from emulator.testing.invariants.index import FINAL, RunIndex
from emulator.testing.invariants.record import AttemptRecord, MessageRecord
from emulator.testing.invariants.violation import Invariant, Violation

_DAY_MS = 86_400_000


def check_attempts(index: RunIndex) -> Iterator[Violation]:
    """A message has at most ``retries + 1`` attempts, numbered from 0 without a gap; only a crash repeats one."""
    for message in index.record.messages:
        attempts = index.attempts[message.id]
        for text in (
            _too_many(message, attempts),
            _out_of_order(index, attempts),
            _given_up_early(index, message, attempts),
        ):
            if text is not None:
                yield _violation(message, f"{message.id} {text}")


def check_retries(index: RunIndex) -> Iterator[Violation]:
    """No attempt is sent after the message has ended."""
    for message_id, attempts in index.attempts.items():
        end = index.first(message_id, *FINAL)
        if end is None:
            continue
        for attempt in attempts:
            if attempt.started_at > index.time_at(end):
                state = index.record.log[end].state
                yield Violation(
                    invariant=Invariant.ATTEMPTS,
                    text=f"{message_id} was {state} at {index.time_at(end)}, and was sent again at"
                    f" {attempt.started_at}",
                    message_ids=(message_id,),
                )


def check_due_times(index: RunIndex) -> Iterator[Violation]:
    """No attempt starts early: the first waits for its publisher's time, a later one for its retry's."""
    for message in index.record.messages:
        attempts = index.attempts[message.id]
        for attempt in attempts:
            due_at = message.due_at
            if attempt.retried:
                ends = [
                    one.ended_at + _wait_ms(message, one)
                    for one in attempts
                    if one.retried == attempt.retried - 1 and one.status is not None
                ]
                due_at = max([due_at, *ends])
            if attempt.started_at < due_at:
                yield Violation(
                    invariant=Invariant.TIME,
                    text=f"attempt {attempt.retried} of {message.id} started at {attempt.started_at},"
                    f" {due_at - attempt.started_at} ms before it was due",
                    message_ids=(message.id,),
                )


def _too_many(message: MessageRecord, attempts: list[AttemptRecord]) -> str | None:
    most = max((attempt.retried for attempt in attempts), default=0)
    if message.max_retries is not None and most > message.max_retries:
        return f"has {message.max_retries} retries, and was sent with Upstash-Retried: {most}"
    return None


def _out_of_order(index: RunIndex, attempts: list[AttemptRecord]) -> str | None:
    numbers = [attempt.retried for attempt in attempts]
    last = -1
    for before, attempt in zip([None, *attempts], attempts, strict=False):
        if attempt.retried == last and before is not None:
            if not index.record.went_back and not index.was_cut_off(before.started_at, attempt.started_at):
                return (
                    f"was sent with Upstash-Retried {numbers}: the same attempt twice, and no crash between"
                )
        elif attempt.retried != last + 1:
            return f"was sent with Upstash-Retried {numbers}: they should count 0, 1, 2 …"
        last = attempt.retried
    return None


def _given_up_early(index: RunIndex, message: MessageRecord, attempts: list[AttemptRecord]) -> str | None:
    if message.max_retries is None or not attempts or index.first(message.id, "FAILED") is None:
        return None
    last = attempts[-1]
    if last.retried < message.max_retries and not last.forbids_retries:
        return f"has {message.max_retries} retries, and FAILED after {last.retried} of them"
    return None


def _wait_ms(message: MessageRecord, failed: AttemptRecord) -> int:
    """Return the least wait after a failed attempt (contract 4.3 and 4.4), in whole seconds for the default
    backoff.
    """
    if failed.retry_after_ms is not None and failed.retry_after_ms <= _DAY_MS:
        return failed.retry_after_ms
    if message.retry_waits_ms is not None:
        return message.retry_waits_ms[min(failed.retried, len(message.retry_waits_ms) - 1)]
    if message.max_retries is None:
        return 0
    return min(_DAY_MS, math.floor(math.exp(2.5 * min(failed.retried + 1, 5))) * 1000)


def _violation(message: MessageRecord, text: str) -> Violation:
    return Violation(invariant=Invariant.ATTEMPTS, text=text, message_ids=(message.id,))
