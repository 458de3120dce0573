"""Random steps about runs, with random numbers of their own, so that steps about messages stay the same."""

import random
from collections.abc import Callable
from typing import Literal

from tests.simulation.simulator.network import Plan, Reaction
from tests.simulation.simulator.scenario import Scenario
from tests.simulation.simulator.spec import RETRY_DELAYS, FlowSpec
from tests.simulation.simulator.steps import Step
from tests.simulation.simulator.workflows.spec import Action, Block, Kind, RunSpec, Trigger
from tests.simulation.simulator.workflows.steps import (
    CallBackAgain,
    CallWebhook,
    CancelRun,
    NotifyRun,
    RunAgain,
    TriggerRun,
)

_LEAST_STEPS, _MOST_STEPS = 2, 8
_EVERY = 3
_SECOND_US = 1_000_000
_AGAIN: tuple[Literal["resume", "restart", "delete"], ...] = ("resume", "resume", "restart", "delete")
_ACTIONS: tuple[tuple[Kind, int], ...] = (
    ("Run", 40), ("SleepFor", 16), ("Call", 18), ("Wait", 14), ("WaitForWebhook", 10), ("Invoke", 14),
)  # fmt: skip
_WAITS = ("Wait", "WaitForWebhook")
_DEEPEST = 2
_TRIGGERS: tuple[Trigger, ...] = ("client", "rest", "unknown sdk")
# A few entries of a list, or no list at all.
_LAZY_FETCH_BYTES = (700, 1_000_000)
_FLOWS = (
    FlowSpec(key="runs-narrow", parallelism=1),
    FlowSpec(key="runs-slow", rate=3, period_seconds=10),
    FlowSpec(key="runs-both", parallelism=2, rate=4, period_seconds=60),
)

Maker = Callable[["RunGenerator", int], Step]


def has_runs(seed: int) -> bool:
    """Return whether a seed has workflow runs: every third has."""
    return seed % _EVERY == 1


class RunGenerator:
    """The random numbers of one seed's runs, and the runs that its steps named so far."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.dice = random.Random(f"{seed} runs")
        self.specs: list[RunSpec] = []
        self.triggered: list[RunSpec] = []
        self._labels = 0
        self.lazy_fetch_bytes = self.dice.choice(_LAZY_FETCH_BYTES)

    def steps(self, from_us: int) -> list[Step]:
        """Return steps from ``from_us`` on, in the order of their times; the first triggers a run."""
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

    def scenario(self, from_us: int) -> Scenario:
        """Return a scenario of these steps alone."""
        steps = tuple(self.steps(from_us))
        return Scenario(self.seed, steps, lazy_fetch_bytes=self.lazy_fetch_bytes)

    def new_run(self) -> RunSpec:
        """Return a workflow to trigger."""
        trigger = self.dice.choices(_TRIGGERS, (70, 15, 15))[0]
        spec = self._new_spec(depth=0, trigger=trigger)
        self.triggered.append(spec)
        return spec

    def _new_spec(self, depth: int, trigger: Trigger = "client") -> RunSpec:
        """Return a workflow of some blocks, with its faults."""
        dice = self.dice
        self._labels += 1
        label = f"w{self._labels}"
        spec = RunSpec(
            label=label,
            blocks=tuple(self._block(number, depth) for number in range(dice.randint(1, 4 - depth))),
            retries=dice.choice((0, 1, 3, 3, 8)),
            retry_delay=dice.choice(tuple(RETRY_DELAYS)) if dice.random() < 0.5 else None,
            delay_seconds=dice.choice((1, 60)) if dice.random() < 0.1 else None,
            flow=dice.choice(_FLOWS) if dice.random() < 0.3 else None,
            # Over the REST API there is always one: the workflow's own by default.
            has_failure_callback=trigger != "client" or dice.random() < 0.7,
            callback_retries=dice.choice((0, 0, 3)),
            callback_plan=self._plan(dice.choice((0, 1, 4))),
            plan=self._plan(dice.choice((0, 2, 6, 12))),
            trigger=trigger,
        )
        self.specs.append(spec)
        return spec

    def _block(self, number: int, depth: int) -> Block:
        branches = self.dice.choice((1, 1, 1, 2, 3))
        return tuple(self._action(f"s{number}{'abc'[branch]}", depth) for branch in range(branches))

    def _action(self, name: str, depth: int) -> Action:
        dice = self.dice
        kinds = [one for one in _ACTIONS if one[0] != "Invoke" or depth < _DEEPEST]
        [(kind, _)] = dice.choices(kinds, [weight for _, weight in kinds])
        if kind == "Invoke":
            return Action(name=name, kind=kind, child=self._new_spec(depth + 1))
        if kind == "Call":
            retries = dice.choice((0, 0, 2))
            return Action(name=name, kind=kind, retries=retries, plan=self._plan(dice.randint(0, 3)))
        seconds = dice.choice((1, 20, 600, 7_200)) if kind in ("SleepFor", *_WAITS) else 0
        return Action(name=name, kind=kind, seconds=seconds)

    def _plan(self, most: int) -> Plan:
        """Return reactions to the first requests, mostly good ones."""
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
    # Sometimes the same trigger again: it changes nothing while the run is active, and starts another run later.
    if make.triggered and make.dice.random() < 0.1:
        return TriggerRun(at_us, make.dice.choice(make.triggered))
    return TriggerRun(at_us, make.new_run())


def _notify(make: RunGenerator, at_us: int) -> Step:
    label, event_id = _event(make, "Wait")
    return NotifyRun(at_us, label, event_id, is_for_run=make.dice.random() < 0.7)


def _call_webhook(make: RunGenerator, at_us: int) -> Step:
    label, event_id = _event(make, "WaitForWebhook")
    return CallWebhook(at_us, label, event_id, make.dice.choice(("GET", "POST", "PUT")))


def _event(make: RunGenerator, kind: Kind) -> tuple[str, str]:
    """Return a workflow's label, and an event that it waits for, if any."""
    waits = [
        (spec.label, spec.event_id(action))
        for spec in make.specs
        for block in spec.blocks
        for action in block
        if action.kind == kind
    ]
    return make.dice.choice(waits or [(make.specs[0].label, "nobody")])


def _cancel(make: RunGenerator, at_us: int) -> Step:
    return CancelRun(at_us, make.dice.choice(make.specs).label)


def _again(make: RunGenerator, at_us: int) -> Step:
    return RunAgain(at_us, make.dice.choice(_AGAIN))


def _call_back_again(make: RunGenerator, at_us: int) -> Step:
    return CallBackAgain(at_us)


KINDS: tuple[tuple[str, float, Maker], ...] = (
    ("trigger a run", 5, _trigger),
    ("notify", 5, _notify),
    ("call a webhook", 3, _call_webhook),
    ("cancel a run", 1, _cancel),
    ("resume, restart or delete a failed run", 2, _again),
    ("send failure callbacks again", 2.5, _call_back_again),
)
"""The kinds of steps about runs: name, frequency and maker."""
