"""Random steps about runs, from a seed of their own: the steps about messages stay what they are without them."""

import random
from collections.abc import Callable
from typing import Literal

from emulator.simulator.network import Plan, Reaction
from emulator.simulator.spec import RETRY_DELAYS
from emulator.simulator.steps import Step
from emulator.simulator.workflows.spec import Action, Block, Kind, RunSpec
from emulator.simulator.workflows.steps import CancelRun, NotifyRun, RunAgain, TriggerRun

_LEAST_STEPS, _MOST_STEPS = 2, 8
_EVERY = 3
_SECOND_US = 1_000_000
_AGAIN: tuple[Literal["resume", "restart", "delete"], ...] = ("resume", "resume", "restart", "delete")
_ACTIONS: tuple[Kind, ...] = ("Run", "SleepFor", "Call", "Wait")

Maker = Callable[["RunGenerator", int], Step]


def has_runs(seed: int) -> bool:
    """Whether a seed has workflow runs: every third has."""
    return seed % _EVERY == 1


class RunGenerator:
    """One seed's dice for runs, and the runs that its steps have named so far."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(f"{seed} runs")  # noqa: S311  it must repeat
        self.specs: list[RunSpec] = []

    def steps(self, from_us: int) -> list[Step]:
        """Some steps from ``from_us`` on, in the order of their times; the first triggers a run."""
        steps = [_trigger(self, from_us)]
        at_us = from_us
        for _ in range(self.dice.randint(_LEAST_STEPS, _MOST_STEPS)):
            at_us += self._gap_us()
            [(_, _, make)] = self.dice.choices(KINDS, [weight for _, weight, _ in KINDS])
            steps.append(make(self, at_us))
        return steps

    def _gap_us(self) -> int:
        spans = (
            (0, 20_000),
            (20_000, _SECOND_US),
            (_SECOND_US, 60 * _SECOND_US),
            (60 * _SECOND_US, 900 * _SECOND_US),
        )
        least, most = self.dice.choices(spans, (35, 30, 25, 10))[0]
        return self.dice.randint(least, most)

    def new_run(self) -> RunSpec:
        """A workflow of some blocks, and how much goes wrong on its way."""
        dice = self.dice
        label = f"w{len(self.specs) + 1}"
        spec = RunSpec(
            label=label,
            blocks=tuple(self._block(number) for number in range(dice.randint(1, 4))),
            retries=dice.choice((0, 1, 3, 3, 8)),
            retry_delay=dice.choice(tuple(RETRY_DELAYS)) if dice.random() < 0.5 else None,
            delay_seconds=dice.choice((1, 60)) if dice.random() < 0.1 else None,
            has_failure_callback=dice.random() < 0.7,
            plan=self._plan(dice.choice((0, 2, 6, 12))),
        )
        self.specs.append(spec)
        return spec

    def _block(self, number: int) -> Block:
        branches = self.dice.choice((1, 1, 1, 2, 3))
        return tuple(self._action(f"s{number}{'abc'[branch]}") for branch in range(branches))

    def _action(self, name: str) -> Action:
        dice = self.dice
        kind = dice.choices(_ACTIONS, (40, 20, 20, 20))[0]
        seconds = dice.choice((1, 20, 600, 7_200)) if kind in ("SleepFor", "Wait") else 0
        if kind != "Call":
            return Action(name=name, kind=kind, seconds=seconds)
        return Action(
            name=name, kind=kind, retries=dice.choice((0, 0, 2)), plan=self._plan(dice.randint(0, 3))
        )

    def _plan(self, most: int) -> Plan:
        """Reactions to the first requests, well for the most part."""
        return tuple(self._reaction() for _ in range(most))

    def _reaction(self) -> Reaction:
        kind = self.dice.choices(
            ("ok", "late", "fails", "forbids", "refuses", "loses"), (50, 12, 14, 1, 6, 17)
        )[0]
        return {
            "ok": Reaction(after_ms=self.dice.randint(0, 60)),
            "late": Reaction(after_ms=self.dice.choice((300, 4_000, 20_000))),
            "fails": Reaction(status=self.dice.choice((500, 503, 404)), after_ms=self.dice.choice((0, 400))),
            "forbids": Reaction(status=489, forbids_retries=True),
            "refuses": Reaction(refuses=True),
            "loses": Reaction(loses_answer=True),
        }[kind]


def _trigger(make: RunGenerator, at_us: int) -> Step:
    # Now and then the same once more: while the run is active, that changes nothing; later it is another run.
    if make.specs and make.dice.random() < 0.1:
        return TriggerRun(at_us, make.dice.choice(make.specs))
    return TriggerRun(at_us, make.new_run())


def _notify(make: RunGenerator, at_us: int) -> Step:
    spec = make.dice.choice(make.specs)
    waits = [action for block in spec.blocks for action in block if action.kind == "Wait"]
    event_id = spec.event_id(make.dice.choice(waits)) if waits else "nobody"
    return NotifyRun(at_us, spec.label, event_id, is_for_run=make.dice.random() < 0.7)


def _cancel(make: RunGenerator, at_us: int) -> Step:
    return CancelRun(at_us, make.dice.choice(make.specs).label)


def _again(make: RunGenerator, at_us: int) -> Step:
    return RunAgain(at_us, make.dice.choice(_AGAIN))


KINDS: tuple[tuple[str, float, Maker], ...] = (
    ("trigger a run", 5, _trigger),
    ("notify", 5, _notify),
    ("cancel a run", 1, _cancel),
    ("resume, restart or delete a failed run", 2, _again),
)
"""What a step about runs can be: its name, how often it comes, and how it is made."""
