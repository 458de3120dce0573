"""The result of a check."""

from dataclasses import dataclass
from enum import Enum


class Invariant(Enum):
    """The invariants of docs/architecture.md, by number, and two of workflow runs."""

    NOTHING_LOST = "1. a publish that was answered with 2xx is never lost"
    ONE_END = "2. every accepted message ends delivered, failed (and in the DLQ) or cancelled"
    ATTEMPTS = "3. attempts are at most retries + 1, except after a crash in mid-delivery"
    QUEUE = "4. a queue of parallelism p has at most p messages under way, in the order of publishing"
    FLOW_CONTROL = "5. a flow-control key never exceeds its parallelism, nor its rate in any period"
    TIME = "6. no attempt happens before its due time; a schedule fires once for each of its times"
    DEDUPLICATION = "7. a deduplication id accepted within ten minutes never makes a second message"
    SIGNATURE = "8. every signature verifies with the current key and with no other"
    RUN_END = "9. every accepted run ends once: succeeded, failed (and in the DLQ of runs) or cancelled"
    STEPS = "10. a run's list of steps only grows, and holds each accepted step once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One breach: the invariant, a description, and the ids of the messages concerned."""

    invariant: Invariant
    text: str
    message_ids: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.invariant.value}: {self.text}"
