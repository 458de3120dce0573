"""The dead letter queue: publishing entries again, and deleting them (contract 5.6)."""

from collections.abc import Sequence
from dataclasses import replace

from emulator.broker.message import AttemptResult, DeadLetter, Draft, Message, State
from emulator.broker.publishing import (
    Target,
    accept,
    check_not_before,
    check_queue_quota,
    make_message,
    not_before_at,
)
from emulator.broker.state import BrokerState
from emulator.broker.writes import DeadLettered, DeadLetterRemoved, MessageAccepted, MessageFinished
from emulator.wire.headers import Headers
from emulator.wire.ids import dlq_id as make_dlq_id
from emulator.wire.options import KEPT_OPTIONS, PublishOptions


def retry(
    state: BrokerState,
    now_at: int,
    *,
    entries: Sequence[tuple[DeadLetter, Message]],
    overrides: PublishOptions,
    given: frozenset[str],
) -> list[str]:
    """Publish each entry's message again, at once and without deduplication, and remove the entry.

    ``overrides`` apply where ``given`` names the option, its headers where the message has one of the same name.
    Return the new message ids, in order. Raises QuotaExceeded for a time too far away, or one queue too many."""
    check_not_before(state, overrides, now_at)
    check_queue_quota(state, overrides.queue_name)
    return [_retry_one(state, now_at, dead, message, overrides, given) for dead, message in entries]


def remove(state: BrokerState, now_at: int, *, dlq_ids: Sequence[str]) -> int:
    """Remove entries; return how many there were."""
    for dlq_id in dlq_ids:
        state.write(DeadLetterRemoved(dlq_id))
    return len(dlq_ids)


def adopt(state: BrokerState, now_at: int, *, draft: Draft, response: AttemptResult) -> str:
    """Add a message that another server gave up, with its last response; it is not sent. Return its DLQ id."""
    message = make_message(state, draft, Target(url=draft.destination.value), now_at, body_seq=None)
    dlq_id = make_dlq_id(now_at, message.seq)
    state.write(MessageAccepted(message, draft.body or None))
    state.log(message.seq, State.CREATED, now_at)
    state.write(
        DeadLettered(DeadLetter(dlq_id=dlq_id, message_seq=message.seq, failed_at=now_at, response=response))
    )
    state.log(message.seq, State.FAILED, now_at, retried=message.max_retries, result=response)
    state.write(MessageFinished(message.seq, State.FAILED, message.max_retries, now_at))
    return dlq_id


# Each option and the message's field for it.
_OVERRIDABLE = {name: name for name in KEPT_OPTIONS} | {"retries": "max_retries"}


def _retry_one(
    state: BrokerState,
    now_at: int,
    dead: DeadLetter,
    message: Message,
    overrides: PublishOptions,
    given: frozenset[str],
) -> str:
    changes = {field: getattr(overrides, option) for option, field in _OVERRIDABLE.items() if option in given}
    again = replace(
        message,
        seq=state.next_seq(),
        id=state.ids.message_id(now_at),
        created_at=now_at,
        not_before_at=not_before_at(overrides, now_at),
        headers=_overridden(message.headers, overrides.headers),
        slot_of=None,
        slot_queue=None,
        **changes,
    )
    state.write(DeadLetterRemoved(dead.dlq_id))
    accept(state, again, None, now_at)
    return again.id


def _overridden(headers: Headers, by: Headers) -> Headers:
    names = {name.lower() for name, _ in by}
    return (*(line for line in headers if line[0].lower() not in names), *by)
