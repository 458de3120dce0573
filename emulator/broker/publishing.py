"""A draft becomes messages: one, or one for each endpoint of a URL group (contract 2.1, 3.4, 3.5)."""

from dataclasses import replace

from emulator.broker.message import Accepted, Draft, Message, Pending, State
from emulator.broker.resources import Endpoint
from emulator.broker.state import BrokerState
from emulator.broker.writes import DeduplicationKept, MessageAccepted
from emulator.errors import InvalidInput, NotFound, QuotaExceeded
from emulator.wire.deduplication import WINDOW_MS, content_key, endpoint_key, explicit_key
from emulator.wire.destination import DestinationKind
from emulator.wire.fast_dataclass import keyword_value
from emulator.wire.options import DEFAULT_RETRIES, PublishOptions, kept_options

LLM_URL = "https://qstash.upstash.io/llm/v1/chat/completions"


@keyword_value
class Target:
    """One destination URL of a draft."""

    url: str
    topic_name: str | None = None
    endpoint_name: str | None = None
    api: str | None = None
    deduplication_key: str | None = None


def publish(state: BrokerState, draft: Draft, now_at: int) -> list[Accepted]:
    """Accept ``draft``; return one element for each message, in the order of the group's endpoints.

    Raise NotFound for an unknown URL group, QuotaExceeded and InvalidInput as the options demand, DailyLimitReached;
    nothing is accepted then.
    """
    targets = _targets(state, draft)
    check_not_before(state, draft.options, now_at)
    check_queue_quota(state, draft.options.queue_name)
    state.daily.check(len(targets), now_at)
    body_seq = draft.stored_body_seq
    accepted: list[Accepted] = []
    for target in targets:
        duplicate = _known_duplicate(state, target.deduplication_key, now_at)
        if duplicate is not None:
            accepted.append(duplicate)
            continue
        message = make_message(state, draft, target, now_at, body_seq=body_seq)
        accept(state, message, draft.body if body_seq is None and draft.body else None, now_at)
        body_seq = message.body_seq
        _remember(state, target.deduplication_key, message, now_at)
        accepted.append(Accepted(message_id=message.id, url=message.url, seq=message.seq))
    return accepted


def accept(state: BrokerState, message: Message, body: bytes | None, now_at: int) -> Pending:
    """Store a new message and add it to the pending ones."""
    if message.flow_control is not None:
        state.apply_flow_control(message.flow_control, now_at)
    if message.queue_name is not None:
        state.ensure_queue(message.queue_name, now_at)
    state.write(MessageAccepted(message, body))
    state.daily.note(now_at)
    is_delayed = message.not_before_at > now_at
    state.log(
        message.seq, State.CREATED, now_at, next_delivery_at=message.not_before_at if is_delayed else None
    )
    pending = Pending.of(message)
    state.pending.enter(pending)
    return pending


def make_message(
    state: BrokerState, draft: Draft, target: Target, now_at: int, *, body_seq: int | None
) -> Message:
    """Make the message for one target; ``body_seq`` names the body if an earlier message of the draft brought it."""
    options = draft.options
    seq = state.next_seq()
    return Message(
        seq=seq,
        id=state.ids.message_id(now_at),
        url=target.url,
        headers=options.headers,
        body_seq=body_seq or (seq if draft.body else None),
        created_at=now_at,
        not_before_at=not_before_at(options, now_at),
        max_retries=DEFAULT_RETRIES if options.retries is None else options.retries,
        topic_name=target.topic_name,
        endpoint_name=target.endpoint_name,
        schedule_id=draft.schedule_id,
        caller_ip=draft.caller_ip,
        api=target.api,
        **kept_options(options),
    )


def callback_message(state: BrokerState, draft: Draft, reported: Message, now_at: int) -> Message:
    """Make the message that carries a callback of ``reported``, whose slot, if any, is kept until it is done."""
    message = make_message(state, draft, Target(url=draft.destination.value), now_at, body_seq=None)
    message = replace(message, source_id=reported.id)
    if reported.queue_name is None:
        return message
    return replace(message, slot_of=reported.seq, slot_queue=reported.queue_name)


def _targets(state: BrokerState, draft: Draft) -> list[Target]:
    destination, options = draft.destination, draft.options
    if destination.kind is DestinationKind.LLM and options.callback is None:
        raise InvalidInput("Upstash-Callback is required when publishing to api/llm")
    key = deduplication_key(draft.options, destination.value, draft.body)
    if destination.kind is DestinationKind.LLM:
        return [Target(url=LLM_URL, api="llm", deduplication_key=key)]
    if destination.kind is DestinationKind.URL:
        return [Target(url=destination.value, deduplication_key=key)]
    group = state.groups.get(destination.value)
    if group is None:
        raise NotFound(f"topic {destination.value} not found")
    return [_endpoint_target(group.name, endpoint, destination.query, key) for endpoint in group.endpoints]


def _endpoint_target(group_name: str, endpoint: Endpoint, query: str, key: str | None) -> Target:
    return Target(
        url=_with_query(endpoint.url, query),
        topic_name=group_name,
        endpoint_name=endpoint.name,
        deduplication_key=None if key is None else endpoint_key(key, endpoint.url),
    )


def _with_query(url: str, query: str) -> str:
    """Return ``url`` with ``query`` appended to its query, before its fragment (RFC 3986, 3.4)."""
    if not query:
        return url
    base, hash_sign, fragment = url.partition("#")
    return f"{base}{'&' if '?' in base else '?'}{query}{hash_sign}{fragment}"


def deduplication_key(options: PublishOptions, destination: str, body: bytes) -> str | None:
    """Return the deduplication key, or ``None`` if none was requested. An explicit id wins."""
    if options.deduplication_id is not None:
        return explicit_key(options.deduplication_id)
    if options.content_based_deduplication:
        return content_key(destination=destination, body=body, headers=options.headers)
    return None


def _known_duplicate(state: BrokerState, key: str | None, now_at: int) -> Accepted | None:
    kept = state.deduplications.get(key) if key is not None else None
    if kept is None or kept.expires_at <= now_at:
        return None
    return Accepted(message_id=kept.message_id, url=kept.url, is_duplicate=True)


def _remember(state: BrokerState, key: str | None, message: Message, now_at: int) -> None:
    if key is not None:
        kept = DeduplicationKept(key, message.id, message.url, now_at + WINDOW_MS)
        state.remember_deduplication(kept, now_at)
        state.write(kept)


def not_before_at(options: PublishOptions, now_at: int) -> int:
    """Return when the first attempt is due: not-before beats delay (contract 3.2); the past means now."""
    if options.not_before_at is not None:
        return max(options.not_before_at, now_at)
    return now_at + (options.delay_ms or 0)


def check_not_before(state: BrokerState, options: PublishOptions, now_at: int) -> None:
    """Raise QuotaExceeded for a time further away than the plan allows."""
    due_at = options.not_before_at
    if due_at is not None and due_at > now_at + state.limits.max_delay_ms:
        raise QuotaExceeded("quota maxDelay exceeded", hint=f"Upstash-Not-Before {due_at // 1000}")


def check_queue_quota(state: BrokerState, name: str | None) -> None:
    """Raise QuotaExceeded if a message into the queue ``name`` would make one queue too many."""
    if name is not None and name not in state.queues and len(state.queues) >= state.limits.max_queues:
        raise QuotaExceeded("quota maxQueues exceeded", hint=f"at most {state.limits.max_queues}")
