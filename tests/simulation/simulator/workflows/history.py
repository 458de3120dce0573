"""The outside observations of runs, by their clients and their endpoint."""

from dataclasses import dataclass, field
from typing import Any

from emulator.testing.invariants import DeliveredList, Execution, SentEvent, StepRecord
from tests.simulation.simulator.workflows.spec import RunSpec


@dataclass(frozen=True, slots=True)
class Invocation:
    """A run of the workflow ``label`` that the run with the key ``parent`` asked for, as its step ``step_id``."""

    label: str
    parent: str
    step_id: int


def key_of(run_id: str, created_at: object) -> str:
    """Return a run's key: an id may be used again once its run has ended."""
    return f"{run_id}@{created_at}"


@dataclass
class RunHistory:
    """Everything known of runs at the end. Dictionaries of lists are by run key.

    ``first_ids`` are the first messages of runs whose trigger was answered 2xx, ``started`` the keys of runs whose
    resume, restart or trigger over the REST API was. ``invocations`` are by the id of the run that was invoked.
    ``hooks`` are webhooks that were called, by run id; ``sent`` what events and webhooks brought, by event id, answered
    or not. ``callbacks_again`` says by run key whether sending its failure callback again was answered 2xx, or cut off,
    each time. ``cancels`` says by run id whether its cancel was answered 2xx, or cut off. ``removed`` are
    the keys of runs whose entry in the DLQ was, or may have been, taken away. ``acknowledged`` are the ids of messages
    that were accepted, ``due_at`` the earliest times of their delivery.
    """

    specs: dict[str, RunSpec] = field(default_factory=dict)
    first_ids: set[str] = field(default_factory=set)
    started: set[str] = field(default_factory=set)
    invocations: dict[str, Invocation] = field(default_factory=dict)
    steps: dict[str, list[StepRecord]] = field(default_factory=dict)
    lists: dict[str, list[DeliveredList]] = field(default_factory=dict)
    executions: dict[str, list[Execution]] = field(default_factory=dict)
    reports: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    results: dict[str, list[str]] = field(default_factory=dict)
    events: dict[str, list[SentEvent]] = field(default_factory=dict)
    hooks: dict[str, list[SentEvent]] = field(default_factory=dict)
    sent: dict[str, set[str]] = field(default_factory=dict)
    callbacks_again: dict[str, list[bool]] = field(default_factory=dict)
    cancels: dict[str, bool] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    due_at: dict[str, int] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    _moments: int = 0

    def moment(self) -> int:
        """Return a growing number, by which two moments are ordered."""
        self._moments += 1
        return self._moments

    def note_message(self, message_id: str, sent_at: int, delay_seconds: int | None = None) -> None:
        """Record that a message of a run, published at ``sent_at``, was accepted."""
        self.acknowledged.add(message_id)
        self.due_at[message_id] = sent_at + 1000 * (delay_seconds or 0)

    def note_execution(self, key: str, step: str, message_id: str) -> int:
        """Record that a step's function runs. Return how often it has in this run."""
        made = self.executions.setdefault(key, [])
        made.append(Execution(step=step, message_id=message_id))
        return sum(one.step == step for one in made)

    def note_list(
        self, key: str, message_id: str, entries: list[dict[str, Any]], *, is_fetched: bool
    ) -> None:
        """Record that a list of steps was delivered, or left to be fetched."""
        listed = tuple((entry["messageId"], entry["body"]) for entry in entries)
        delivered = DeliveredList(message_id=message_id, entries=listed, is_fetched=is_fetched)
        self.lists.setdefault(key, []).append(delivered)

    def note_invocation(self, label: str, parent: str, step_id: int) -> str:
        """Record that a run of the workflow ``label`` is about to be invoked. Return its id, which is unique."""
        run_id = f"wfr_{label}-{len(self.invocations) + 1}"
        self.invocations[run_id] = Invocation(label, parent, step_id)
        return run_id

    def latest_id(self, label: str) -> str:
        """Return the id of the newest run of the workflow ``label``, as far as its clients know."""
        invoked = [run_id for run_id, one in self.invocations.items() if one.label == label]
        return invoked[-1] if invoked else f"wfr_{label}"
