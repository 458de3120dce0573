"""The values of the broker: drafts, messages, their attempts' results and log lines.

Instants are unix milliseconds, spans carry their unit in their name.
"""

from dataclasses import dataclass
from enum import StrEnum

from emulator.broker.place import Place
from emulator.broker.workflow.note import MessageNote
from emulator.wire.destination import Destination, origin_of
from emulator.wire.fast_dataclass import keyword_value
from emulator.wire.headers import Headers
from emulator.wire.options import MessageOptions, PublishOptions


class State(StrEnum):
    """A message's state, spelled as on the wire (contract 5.9)."""

    CREATED = "CREATED"
    """Accepted and stored; no attempt has started."""
    ACTIVE = "ACTIVE"
    """An attempt is under way."""
    RETRY = "RETRY"
    """An attempt failed and another one is scheduled."""
    DELIVERED = "DELIVERED"
    """A 2xx answer was received. Final."""
    FAILED = "FAILED"
    """No retries are left, or the destination forbade them; the message is in the DLQ. Final."""
    CANCELED = "CANCELED"
    """Cancelled before it was delivered. Final."""

    ERROR = "ERROR"
    """Only in logs: the attempt failed."""
    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    """Only in logs: a cancel was requested."""


ATTEMPT_ENDS = frozenset({State.DELIVERED, State.ERROR, State.CANCELED})
"""The log states that end an attempt; CANCELED only if one is under way."""


@keyword_value
class Draft:
    """A validated publish: everything needed to make its message or messages.

    ``stored_body_seq`` names a body that is already in the store (a schedule's); ``body`` is empty then.
    """

    destination: Destination
    options: PublishOptions
    body: bytes
    stored_body_seq: int | None = None
    caller_ip: str | None = None
    schedule_id: str | None = None


@keyword_value
class Accepted:
    """The answer to the publisher for one message. ``seq`` is internal, and 0 for a duplicate."""

    message_id: str
    url: str
    is_duplicate: bool = False
    seq: int = 0


@keyword_value
class Message(MessageOptions):
    """A message as accepted; immutable.

    ``seq`` grows with every message of the store and orders queues. ``body_seq`` names the stored body (the
    seq of the first message that brought it; ``None`` when empty), so that a fan-out stores one body.
    ``slot_of`` is set on callbacks: the seq of the message in ``slot_queue`` whose slot waits for this one.
    ``source_id`` is set on callbacks: the id of the message they report.
    ``note`` is set on messages of a workflow run, which then decides what is delivered and what follows.
    """

    seq: int
    id: str
    url: str
    headers: Headers
    body_seq: int | None
    created_at: int
    not_before_at: int
    max_retries: int
    topic_name: str | None = None
    endpoint_name: str | None = None
    schedule_id: str | None = None
    caller_ip: str | None = None
    api: str | None = None
    slot_of: int | None = None
    slot_queue: str | None = None
    source_id: str | None = None
    note: MessageNote | None = None

    @property
    def lane(self) -> str:
        """Return the name of its lane: its flow-control key's, else its destination's origin."""
        return flow_lane(self.flow_control.key) if self.flow_control else origin_of(self.url)


def flow_lane(key: str) -> str:
    """Return the name of a flow-control key's lane; a prefix distinguishes it from origins."""
    return f"flow:{key}"


@dataclass(slots=True, kw_only=True)
class Pending:
    """The part of an unfinished message that is needed to decide when it is sent."""

    seq: int
    due_at: int
    lane: str
    state: State = State.CREATED
    place: Place = Place.NEW
    retried: int = 0
    queue_name: str | None = None
    slot_of: int | None = None
    slot_queue: str | None = None
    is_cancel_requested: bool = False

    @staticmethod
    def of(message: Message) -> "Pending":
        return Pending(
            seq=message.seq,
            due_at=message.not_before_at,
            lane=message.lane,
            queue_name=message.queue_name,
            slot_of=message.slot_of,
            slot_queue=message.slot_queue,
        )


@keyword_value
class AttemptResult:
    """The result of one attempt. ``status`` is 0 without a complete response; ``error`` then says why.

    ``is_final`` says that no retry may follow, whatever the status. ``sent`` are the stored header lines of the
    request, ``None`` if it was not sent. ``note`` describes an irregularity of an accepted response, such as a body
    that was cut.
    """

    status: int
    headers: Headers = ()
    body: bytes = b""
    error: str | None = None
    is_final: bool = False
    sent: Headers | None = None
    note: str | None = None

    @property
    def is_success(self) -> bool:
        return self.error is None and 200 <= self.status <= 299

    def with_sent(self, sent: Headers) -> "AttemptResult":
        """Return a copy with the request's header lines. (``dataclasses.replace`` takes four times as long.)"""
        return AttemptResult(
            status=self.status,
            headers=self.headers,
            body=self.body,
            error=self.error,
            is_final=self.is_final,
            sent=sent,
            note=self.note,
        )


@keyword_value
class LogEntry:
    """One line of a message's history. ``sent`` are the header lines of the attempt that this line ends."""

    message_seq: int
    time_at: int
    state: State
    retried: int
    next_delivery_at: int | None = None
    error: str | None = None
    response: AttemptResult | None = None
    sent: Headers | None = None


@keyword_value
class DeadLetter:
    """A message that failed for good, with the last response."""

    dlq_id: str
    message_seq: int
    failed_at: int
    response: AttemptResult
