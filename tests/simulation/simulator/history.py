"""What was seen of a run: calls, crashes, faults."""

from dataclasses import dataclass, field
from typing import Any

from emulator.testing.invariants import Interruption
from emulator.testing.recorder import Recorder
from tests.simulation.simulator.spec import body_of
from tests.simulation.simulator.workflows.history import RunHistory


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to a call. ``status`` is ``None`` if it was cut off: nobody knows whether it took effect."""

    status: int | None
    content: Any
    sent_at: int
    done_at: int

    @property
    def is_ok(self) -> bool:
        return self.status is not None and self.status < 300

    @property
    def may_hold(self) -> bool:
        """Return whether the call may have taken effect."""
        return self.status is None or self.is_ok


@dataclass
class History:
    """Everything that is known at the end of a run beside what its destinations were sent.

    ``faults`` are errors that the emulator logged, and answers of 500. ``bulk_actions`` says when each action that was
    accepted was, by its id.
    """

    recorder: Recorder
    interruptions: list[Interruption] = field(default_factory=list)
    went_back: bool = False
    bulk_actions: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    runs: RunHistory = field(default_factory=RunHistory)

    def ids_of(self, label: str) -> list[str]:
        """Return the ids that publishers of ``label`` were answered so far."""
        body = body_of(label)
        return [one for one, asked in self.recorder.calls.asked.items() if asked.body == body]
