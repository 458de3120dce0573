"""The seam for state machines on top of the broker, such as workflow runs.

A layer makes messages of its own: each carries a ``LayerTag``. The broker delivers them like any other, with
their delays, retries, queues and flow control; the layer decides what counts as success, and what follows instead
of callbacks and the dead letter queue. What the layer wants kept, it writes in the same step, so that either
both are durable or neither is. What is delivered as the body of a tagged message is the shell's affair: the
layer's half of it reads the store.

Plain publishing knows nothing of layers.
"""

from dataclasses import dataclass
from typing import Protocol

from emulator.broker.message import AttemptResult, Message, Pending
from emulator.broker.retry import Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded:
    """An attempt for a message of the layer is over.

    ``retried`` counts the retries made before it. The message has made its move already: it is delivered, failed,
    or due again, ``pending`` being its unfinished self then. ``decision`` is ``None`` when the message had been
    taken back while the attempt was under way, and the attempt failed.
    """

    message: Message
    pending: Pending
    body: bytes
    result: AttemptResult
    retried: int
    decision: Decision | None


class Layer(Protocol):
    """What the broker asks of a layer. Like the broker it is told the time, and neither waits nor does I/O."""

    @property
    def name(self) -> str:
        """What its tags say."""
        ...

    def judge(self, message: Message, result: AttemptResult) -> AttemptResult:
        """The result as the layer sees it: an answer of 2xx may be a failure to it."""
        ...

    def attempt_ended(self, ended: AttemptEnded, now_at: int) -> None:
        """Decide what follows."""
        ...

    def advance(self, now_at: int) -> None:
        """Do what time alone makes due, before the broker does."""
        ...

    def next_due_at(self) -> int | None:
        """When time alone will next make something due, in unix milliseconds."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...
