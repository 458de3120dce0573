"""The observations of a run: calls, crashes, faults."""

from dataclasses import dataclass, field

from emulator.testing.invariants import Interruption
from emulator.testing.recorder import Recorder
from tests.simulation.simulator.spec import body_of
from tests.simulation.simulator.workflows.history import RunHistory


@dataclass
class History:
    """Everything known at the end of a run, except the requests to its destinations.

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
