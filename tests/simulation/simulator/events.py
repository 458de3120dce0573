"""The event log of a run: the same seed gives the same text."""

from dataclasses import dataclass, field

from tests.simulation.simulator.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the log; ``tags`` are the labels and ids that it concerns."""

    at_us: int
    text: str
    tags: frozenset[str]

    def __str__(self) -> str:
        return f"{self.at_us / 1_000_000:14.6f} s  {self.text}"


@dataclass
class EventLog:
    """The lines of a run in order; time is the world's, from the start of the run."""

    timeline: Timeline
    happenings: list[Happening] = field(default_factory=list)

    def note(self, text: str, *tags: str) -> None:
        """Add a line at the present time."""
        self.happenings.append(Happening(self.timeline.now_us, text, frozenset(tags)))

    def about(self, tags: frozenset[str]) -> list[Happening]:
        """Return the lines about any of ``tags``, and those without tags."""
        return [one for one in self.happenings if not one.tags or one.tags & tags]

    def __str__(self) -> str:
        return "".join(f"{one}\n" for one in self.happenings)
