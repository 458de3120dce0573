"""What the clients of a run saw: what they asked, from when to when, and what they were answered."""

from dataclasses import dataclass, field
from typing import Any, TypeVar

from emulator.testing.invariants import Change, Interruption
from emulator.testing.recorder import Calls
from tests.simulation.simulator.spec import MessageSpec
from tests.simulation.simulator.workflows.history import RunHistory

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a call. ``status`` is ``None`` when it was cut off: nobody knows whether it took effect."""

    status: int | None
    content: Any
    sent_at: int
    done_at: int

    @property
    def is_ok(self) -> bool:
        return self.status is not None and self.status < 300

    @property
    def may_hold(self) -> bool:
        """Whether what was asked may have taken effect."""
        return self.status is None or self.is_ok

    def change(self, value: T) -> Change[T]:
        """``value`` as a setting that this call put in force, or may have."""
        return Change(
            value=value, sent_at=self.sent_at, done_at=self.done_at, is_certain=self.status is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A publish of ``spec`` that made ``ids`` (duplicates left out)."""

    spec: MessageSpec
    ids: tuple[str, ...]
    sent_at: int


@dataclass
class History:
    """Everything that clients know at the end of a run; ``calls`` is what the recorder reads of it."""

    specs: dict[str, MessageSpec] = field(default_factory=dict)
    calls: Calls = field(default_factory=Calls)
    published: list[Published] = field(default_factory=list)
    signing_keys: list[Change[str]] = field(default_factory=list)
    bulk_actions: dict[str, int] = field(default_factory=dict)
    """When each action that was accepted was, by its id."""
    removed_dead_letters: set[str] = field(default_factory=set)
    republished: set[str] = field(default_factory=set)
    has_unknown_republished: bool = False
    interruptions: list[Interruption] = field(default_factory=list)
    went_back: bool = False
    faults: list[str] = field(default_factory=list)
    runs: RunHistory = field(default_factory=RunHistory)

    def ids_of(self, label: str) -> tuple[str, ...]:
        """The ids that the publisher of ``label`` was answered so far."""
        return tuple(
            one for published in self.published if published.spec.label == label for one in published.ids
        )
