"""What was seen of runs from outside: by those who trigger and notify them, and by their endpoint."""

from dataclasses import dataclass, field
from typing import Any

from emulator.simulator.workflows.spec import RunSpec
from emulator.testing.invariants import DeliveredList, Execution, RunEvent, StepRecord


def key_of(run_id: str, created_at: object) -> str:
    """What tells runs apart: an id may be used again once its run has ended."""
    return f"{run_id}@{created_at}"


@dataclass
class RunHistory:
    """Everything that is known at the end, by run key where it is a dictionary of lists.

    ``first_ids`` are the first messages of runs whose trigger was answered 2xx, ``copies`` the keys of runs whose
    resume or restart was. ``cancels`` says by run id whether its cancel was answered 2xx, or cut off. ``removed`` are
    the keys of runs whose entry in the DLQ was, or may have been, taken away. ``acknowledged`` are the ids of messages
    that were accepted, ``due_at`` the earliest times of their delivery.
    """

    specs: dict[str, RunSpec] = field(default_factory=dict)
    first_ids: set[str] = field(default_factory=set)
    copies: set[str] = field(default_factory=set)
    steps: dict[str, list[StepRecord]] = field(default_factory=dict)
    lists: dict[str, list[DeliveredList]] = field(default_factory=dict)
    executions: dict[str, list[Execution]] = field(default_factory=dict)
    reports: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    results: dict[str, list[str]] = field(default_factory=dict)
    events: dict[str, list[RunEvent]] = field(default_factory=dict)
    cancels: dict[str, bool] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    due_at: dict[str, int] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    _moments: int = 0

    def moment(self) -> int:
        """A number that grows: which of two things was first."""
        self._moments += 1
        return self._moments

    def note_message(self, message_id: str, sent_at: int, delay_seconds: int | None = None) -> None:
        """A message of a run, published at ``sent_at``, was accepted."""
        self.acknowledged.add(message_id)
        self.due_at[message_id] = sent_at + 1000 * (delay_seconds or 0)

    def note_execution(self, key: str, step: str, message_id: str) -> int:
        """A step's function runs; how often it did so in this run."""
        made = self.executions.setdefault(key, [])
        made.append(Execution(step=step, message_id=message_id))
        return sum(one.step == step for one in made)

    def note_list(self, key: str, message_id: str, entries: list[dict[str, Any]]) -> None:
        """A list of steps was delivered."""
        listed = tuple((entry["messageId"], entry["body"]) for entry in entries)
        self.lists.setdefault(key, []).append(DeliveredList(message_id=message_id, entries=listed))
