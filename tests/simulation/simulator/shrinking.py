"""Shrink a failing scenario: drop steps while it still fails in the same way."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self, TypeVar

from tests.simulation.simulator.runner import Outcome, run_scenario
from tests.simulation.simulator.scenario import Scenario

_MOST_RUNS = 300


class _Scenario(Protocol):
    """Steps, some of which can be left out."""

    @property
    def steps(self) -> Sequence[object]: ...

    def without(self, start: int, count: int) -> Self: ...


class _Outcome(Protocol):
    """The result of a scenario."""

    @property
    def scenario(self) -> Any: ...

    def fails_like(self, other: Any) -> bool: ...


S = TypeVar("S", bound=_Scenario)
Came = TypeVar("Came", bound=_Outcome)


def shrink(
    failed: Outcome,
    *,
    run: Callable[[Scenario], Outcome] = run_scenario,
    note: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Return the smallest failing run that was found. ``note`` is told the number of runs so far, and of
    steps left.
    """
    return shrink_steps(failed, run=run, note=note)


def shrink_steps(
    failed: Came, *, run: Callable[[S], Came], note: Callable[[int, int], None] | None = None
) -> Came:
    """``shrink`` for scenarios and outcomes of any kind."""
    smallest, runs = failed, 0
    chunk = max(1, len(failed.scenario.steps) // 2)
    while runs < _MOST_RUNS:
        start = 0
        before = len(smallest.scenario.steps)
        while start < len(smallest.scenario.steps) and runs < _MOST_RUNS:
            tried = run(smallest.scenario.without(start, chunk))
            runs += 1
            if tried.fails_like(failed):
                smallest = tried
            else:
                start += chunk
            if note is not None:
                note(runs, len(smallest.scenario.steps))
        if chunk > 1:
            chunk //= 2
        elif len(smallest.scenario.steps) == before:
            break
    return smallest
