"""A Workflow SDK's next move, given the list of steps that it was sent (contract W2, W5.3 and W9)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.simulation.simulator.workflows.spec import Action, Block, RunSpec

Step = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CarryOut:
    """Carry out a step, as one of ``concurrent`` that run at the same time."""

    action: Action
    step_id: int
    concurrent: int


@dataclass(frozen=True, slots=True)
class PlanBranches:
    """Announce the steps of a block, the first as ``first_id``; each is then delivered on its own."""

    block: Block
    first_id: int


@dataclass(frozen=True, slots=True)
class Finish:
    """The route returns, with what its steps returned."""

    results: tuple[Any, ...]


Move = CarryOut | PlanBranches | Finish


def next_move(spec: RunSpec, steps: Sequence[Step]) -> Move | None:
    """Return the move after a delivery of ``steps``, or ``None`` if another delivery makes it.

    ``steps`` are plans and results in the order of the list, without the initial payload. Of two entries for one
    step the first counts, and a delivery that ends with the second does nothing.
    """
    unique: dict[tuple[Any, Any], Step] = {}
    for step in steps:
        unique.setdefault(_key(step), step)
    if steps and unique[_key(steps[-1])] is not steps[-1]:
        return None
    results = {step["stepId"]: step for step in unique.values() if step["stepId"]}
    planned = {step["targetStep"] for step in unique.values() if not step["stepId"]}
    first_id = 1
    for block in spec.blocks:
        ids = range(first_id, first_id + len(block))
        if not all(step_id in results for step_id in ids):
            return _move_within(block, ids, planned, steps[-1] if steps else {})
        first_id += len(block)
    return Finish(tuple(results[step_id].get("out") for step_id in sorted(results)))


def _move_within(block: Block, ids: range, planned: set[int], last: Step) -> Move | None:
    if len(block) == 1:
        return CarryOut(block[0], ids[0], 1)
    if not planned.intersection(ids):
        return PlanBranches(block, ids[0])
    target: int = last.get("targetStep", 0)
    if last.get("stepId") == 0 and target in ids:
        return CarryOut(block[target - ids[0]], target, len(block))
    return None


def _key(step: Step) -> tuple[Any, Any]:
    return step["stepId"], step.get("targetStep") if step["stepId"] == 0 else None
