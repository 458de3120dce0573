"""The steps of a run."""

from dataclasses import dataclass, replace

from emulator.broker.pending_messages import DEFAULT_WINDOWS, Windows
from tests.simulation.simulator.steps import Step


@dataclass(frozen=True, slots=True)
class Scenario:
    """Steps in the order of their times. ``seed`` also decides all latencies, by the moment. Lists of steps over
    ``lazy_fetch_bytes`` are left to be fetched. ``windows`` bound the messages held in memory.
    """

    seed: int
    steps: tuple[Step, ...]
    lazy_fetch_bytes: int = 1_000_000
    windows: Windows = DEFAULT_WINDOWS

    def without(self, start: int, count: int) -> "Scenario":
        """Return the scenario without ``count`` steps from ``start`` on."""
        return replace(self, steps=self.steps[:start] + self.steps[start + count :])

    def __str__(self) -> str:
        return "".join(f"{step.at_us / 1_000_000:14.6f} s  {step}\n" for step in self.steps)
