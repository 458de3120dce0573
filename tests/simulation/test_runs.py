"""Workflow runs in the simulated world: what is checked of them, and that something wrong with them is found."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from emulator.simulator import Outcome, Scenario, run_scenario
from emulator.simulator.steps import Crash
from emulator.simulator.workflows.generator import RunGenerator
from emulator.simulator.workflows.replay import CarryOut, Finish, PlanBranches, next_move
from emulator.simulator.workflows.spec import Action, RunSpec
from emulator.simulator.workflows.steps import TriggerRun
from emulator.testing.invariants import (
    DeliveredList,
    Execution,
    Invariant,
    LogRecord,
    Record,
    RunEvent,
    RunRecord,
    StepRecord,
    check_invariants,
)
from emulator.workflow import ending, following
from emulator.workflow_shell import _EncodedLog

_MOST_SEEDS = 200
STEPS = [json.dumps({"stepId": number, "stepType": "Run"}) for number in range(3)]
TIMED_OUT = json.dumps({"stepId": 3, "stepType": "Wait", "waitEventId": "e", "waitTimeout": True})


def _entries(*bodies: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (f"m{number}", base64.b64encode(body.encode()).decode()) for number, body in enumerate(bodies)
    )


def _list(*bodies: str) -> DeliveredList:
    return DeliveredList(message_id=f"m{len(bodies) - 1}", entries=_entries(*bodies))


def good_run() -> RunRecord:
    """A payload, two steps one after the other, a wait that ran out, and the end."""
    return RunRecord(
        id="r",
        state="RUN_SUCCESS",
        response="done",
        returned=["done"],
        steps=[
            StepRecord(body=STEPS[1], asked=1, answered=2, message_id="m1"),
            StepRecord(body=STEPS[2], asked=3, answered=4, message_id="m2"),
        ],
        lists=[_list("", *STEPS[1:number]) for number in (1, 2, 3)] + [_list("", *STEPS[1:], TIMED_OUT)],
        executions=[Execution(step="one", message_id="m0"), Execution(step="one", message_id="m0")],
        reports=[("call", "report"), ("call", "report")],
        events=[RunEvent(event_id="e", answered_at=2_000)],
    )


def _check(run: RunRecord) -> list[str]:
    log = [
        LogRecord(message_id="m3", time_at=at, state=state)
        for at, state in ((1_000, "CREATED"), (1_000, "ACTIVE"), (1_001, "DELIVERED"))
    ]
    return [str(one) for one in check_invariants(Record(messages=(), log=log, runs=[run], is_idle=True))]


def test_a_run_as_it_should_be_has_no_violation() -> None:
    assert _check(good_run()) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"state": None}, "nothing is known of it"),
        ({"state": "RUN_STARTED"}, "has not ended"),
        ({"response": "other"}, "its endpoint returned ['done']"),
        ({"state": "RUN_CANCELED"}, "nobody asked for it"),
        ({"is_cancelled": True}, "was cancelled, which was acknowledged"),
        ({"is_dead_letter": True}, "is in the DLQ"),
        ({"state": "RUN_FAILED"}, "is not in the DLQ"),
        ({"failure_callbacks": 1}, "made 1 failure callbacks instead of 0"),
        ({"reports": [("call", "report"), ("call", "another")]}, "was told 2 times"),
        ({"lists": [_list("", STEPS[2]), _list("", STEPS[1], STEPS[2])]}, "no beginning of another one"),
        (
            {"lists": [replace(_list("", STEPS[1]), message_id="m0")]},
            "was sent m0 with a list that ends with m1",
        ),
        (
            {
                "lists": [
                    DeliveredList(message_id="m2", entries=(_entries("")[0], _entries("", "", STEPS[2])[2]))
                ]
            },
            "without m1 before it",
        ),
        ({"lists": [_list("", STEPS[1], STEPS[1])], "steps": good_run().steps[:1]}, "published 1 times"),
        ({"lists": [_list("", STEPS[2])]}, "another body of m1"),
        (
            {"executions": [Execution(step="one", message_id="m0"), Execution(step="one", message_id="m1")]},
            "carried out 'one' for 2 messages",
        ),
        ({"events": [RunEvent(event_id="e", answered_at=999)]}, "its wait for it ran out at 1000"),
    ],
)
def test_what_is_wrong_with_a_run_is_named(changes: dict[str, Any], text: str) -> None:
    found = _check(replace(good_run(), **changes))
    assert any(text in one for one in found), found


def test_a_run_may_wait_on_when_the_message_it_waits_for_was_taken_back() -> None:
    assert _check(replace(good_run(), state="RUN_STARTED", is_stranded=True)) == []


def test_the_endpoint_goes_on_where_the_list_ends() -> None:
    first, left, right = (Action(name=name, kind="Run") for name in ("first", "left", "right"))
    spec = RunSpec(label="w1", blocks=((first,), (left, right)))
    done = [{"stepId": number, "out": number} for number in range(4)]
    plans = [{"stepId": 0, "targetStep": number} for number in range(4)]
    assert next_move(spec, []) == CarryOut(first, 1, 1)
    assert next_move(spec, done[1:2]) == PlanBranches((left, right), 2)
    assert next_move(spec, [done[1], dict(done[1])]) is None
    assert next_move(spec, [done[1], plans[2]]) == CarryOut(left, 2, 2)
    assert next_move(spec, [done[1], plans[2], plans[3]]) == CarryOut(right, 3, 2)
    assert next_move(spec, [done[1], plans[2], plans[3], done[3]]) is None
    assert next_move(spec, [done[1], plans[2], plans[3], done[3], done[2]]) == Finish((1, 2, 3))


def test_a_trigger_that_changes_nothing_is_answered_when_the_run_it_found_is_durable() -> None:
    spec = RunSpec(label="w1", blocks=((Action(name="first", kind="Run"),),))
    for crash_us in range(200_500, 204_500, 250):
        steps = TriggerRun(200_000, spec), TriggerRun(200_010, spec), Crash(crash_us, 0)
        outcome = run_scenario(Scenario(709, steps))
        assert outcome.is_good, outcome.violations


def _first_failure() -> Outcome:
    for seed in range(_MOST_SEEDS):
        outcome = run_scenario(Scenario(seed, tuple(RunGenerator(seed).steps(200_000))))
        if outcome.violations:
            return outcome
    raise AssertionError(f"{_MOST_SEEDS} seeds did not find it")


def _send_live_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_EncodedLog, "through", lambda self, _position: b"[%s]" % self.text)


def _forget_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_report_call", lambda *_: None)


def _forget_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "fail", lambda *_: None)


@pytest.mark.parametrize(
    ("mutate", "invariant"),
    [
        (_send_live_list, Invariant.STEPS),
        (_forget_reports, Invariant.RUN_END),
        (_forget_failures, Invariant.RUN_END),
    ],
)
def test_a_mutation_of_the_workflow_layer_is_found_within_200_seeds(
    monkeypatch: pytest.MonkeyPatch, mutate: Callable[[pytest.MonkeyPatch], None], invariant: Invariant
) -> None:
    mutate(monkeypatch)
    assert invariant in {violation.invariant for violation in _first_failure().violations}
