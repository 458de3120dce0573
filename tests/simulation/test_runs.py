"""Workflow runs in the simulated world: the checks of their records, and the defects that these find."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from emulator.broker.workflow import attempts, end_of_run
from emulator.runtime.step_lists import _EncodedLog
from emulator.testing.invariants import (
    DeliveredList,
    Execution,
    Invariant,
    InvokedRun,
    LogRecord,
    Record,
    RunRecord,
    SentEvent,
    StepRecord,
    check_invariants,
)
from emulator.wire import workflow
from emulator.wire.headers import Headers
from tests.simulation.simulator import Outcome, Scenario, run_scenario
from tests.simulation.simulator.network import Reaction
from tests.simulation.simulator.spec import FlowSpec
from tests.simulation.simulator.steps import Crash
from tests.simulation.simulator.workflows.generator import RunGenerator
from tests.simulation.simulator.workflows.replay import CarryOut, Finish, PlanBranches, next_move
from tests.simulation.simulator.workflows.spec import Action, RunSpec, Trigger
from tests.simulation.simulator.workflows.steps import (
    CallBackAgain,
    CallWebhook,
    CancelRun,
    RunAgain,
    TriggerRun,
)

_MOST_SEEDS = 200
STEPS = [json.dumps({"stepId": number, "stepType": "Run"}) for number in range(3)]
TIMED_OUT = json.dumps({"stepId": 3, "stepType": "Wait", "waitEventId": "e", "waitTimeout": True})
NEWS = json.dumps(
    {"stepId": 3, "stepType": "Wait", "waitEventId": "e", "waitTimeout": False, "out": "bmV3cw=="}
)
INVOKED = json.dumps(
    {"stepId": 3, "stepType": "Invoke", "out": json.dumps({"isFailed": True, "isCanceled": False})}
)


def _entries(*bodies: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (f"m{number}", base64.b64encode(body.encode()).decode()) for number, body in enumerate(bodies)
    )


def _list(*bodies: str) -> DeliveredList:
    return DeliveredList(message_id=f"m{len(bodies) - 1}", entries=_entries(*bodies))


def good_run() -> RunRecord:
    """Return the record of a run: a payload, two steps in sequence, a wait that timed out, and the end."""
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
        events=[SentEvent(event_id="e", answered_at=2_000)],
    )


def _check(run: RunRecord) -> list[str]:
    log = [
        LogRecord(message_id="m3", time_at=at, state=state)
        for at, state in ((1_000, "CREATED"), (1_000, "ACTIVE"), (1_001, "DELIVERED"))
    ]
    record = Record(messages=(), log=log, runs=[run], lazy_fetch_bytes=1_000, is_idle=True)
    return [str(one) for one in check_invariants(record)]


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
        ({"events": [SentEvent(event_id="e", answered_at=999)]}, "its wait for it ran out at 1000"),
        ({"lists": [_list("", NEWS)]}, "with 'news', which nobody sent"),
        ({"lists": [_list("", NEWS, NEWS)], "sent": {"e": {"news"}}}, "was sent 'news' for e twice"),
        ({"lists": [_list("", INVOKED)]}, "so did 0 of the runs that it invoked"),
        (
            {"lists": [_list("", INVOKED)], "invoked": [InvokedRun(step_id=3, id="c", state="RUN_CANCELED")]},
            "so did 0 of the runs that it invoked",
        ),
        (
            {
                "lists": [_list("", INVOKED, INVOKED)],
                "invoked": [InvokedRun(step_id=3, id="c", state="RUN_FAILED")],
            },
            "was told 2 times",
        ),
        ({"callbacks_again": [True]}, "made 0 failure callbacks instead of 1"),
        ({"callbacks_again": [False], "failure_callbacks": 2}, "made 2 failure callbacks instead of 0"),
        ({"callback": ("m3", "CALLBACK_INPROGRESS")}, "of which the log says DELIVERED"),
        ({"lists": [replace(_list("", STEPS[1]), is_fetched=True)]}, "was sent nothing of a list"),
        ({"lists": [_list("x" * 2_000)]}, "was sent all of a list"),
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


_SECOND_US = 1_000_000
_FAILS = Reaction(status=500)


def _run(*blocks: Action, **more: Any) -> RunSpec:
    return RunSpec(label="w1", blocks=tuple((action,) for action in blocks), **more)


def _shown(outcome: Outcome, text: str) -> int:
    """Return how often ``text`` is in the events of a scenario without violations."""
    assert outcome.is_good, (outcome.violations, outcome.faults)
    return str(outcome.events).count(text)


def test_a_run_that_is_invoked_may_fail_or_be_cancelled() -> None:
    step = Action(name="step", kind="Run")
    failing = RunSpec(label="w2", blocks=((step,),), retries=0, plan=(_FAILS,))
    sleeping = RunSpec(label="w3", blocks=((Action(name="nap", kind="SleepFor", seconds=60),),))
    spec = _run(
        Action(name="invoke", kind="Invoke", child=failing),
        Action(name="invoke another", kind="Invoke", child=sleeping),
    )
    steps = TriggerRun(200_000, spec), CancelRun(20 * _SECOND_US, "w3")
    outcome = run_scenario(Scenario(1, steps))
    assert _shown(outcome, "endpoint  wfr_w1 carries out invoke") == 2
    assert _shown(outcome, "endpoint  wfr_w1 returns") == 1


def test_a_resumed_run_invokes_again_what_reports_to_the_failed_one() -> None:
    slow = RunSpec(label="w2", blocks=((Action(name="nap", kind="SleepFor", seconds=600),),))
    invoke = Action(name="invoke", kind="Invoke", child=slow)
    fails = Action(name="fails", kind="Run")
    plan = (Reaction(), Reaction(), Reaction(status=500, after_ms=400))
    spec = RunSpec(label="w1", blocks=((invoke, fails),), retries=0, plan=plan)
    steps = TriggerRun(200_000, spec), RunAgain(10 * _SECOND_US, "resume")
    assert _shown(run_scenario(Scenario(1, steps)), "carries out invoke") == 2


def test_a_run_is_resumed_however_often_the_answers_of_its_endpoint_are_lost() -> None:
    lost = Reaction(loses_answer=True)
    spec = _run(
        Action(name="step", kind="Run"),
        retries=0,
        plan=(lost, lost, lost, Reaction(after_ms=20_000), lost, lost),
    )
    at_seconds = (830.104519, 831.053184, 889.784299)
    steps = [RunAgain(int(second * _SECOND_US), "resume") for second in at_seconds]
    outcome = run_scenario(Scenario(953, (TriggerRun(200_000, spec), *steps)))
    assert _shown(outcome, "resume/") == 3


def test_a_webhook_ends_a_wait_before_and_after_it_is_called() -> None:
    early = Action(name="early", kind="WaitForWebhook", seconds=600)
    late = Action(name="late", kind="WaitForWebhook", seconds=600)
    spec = _run(Action(name="nap", kind="SleepFor", seconds=20), early, late)
    steps = (
        TriggerRun(200_000, spec),
        CallWebhook(_SECOND_US, "w1", spec.event_id(early), "POST"),
        CallWebhook(60 * _SECOND_US, "w1", spec.event_id(late), "GET"),
    )
    outcome = run_scenario(Scenario(1, steps))
    assert _shown(outcome, "endpoint  wfr_w1 returns") == 1
    assert outcome.events.happenings[-2].at_us < 400 * _SECOND_US


@pytest.mark.parametrize("trigger", ["rest", "unknown sdk"])
def test_a_run_is_triggered_over_the_rest_api(trigger: Trigger) -> None:
    spec = _run(Action(name="step", kind="Run"), trigger=trigger)
    outcome = run_scenario(Scenario(1, (TriggerRun(200_000, spec),)))
    assert _shown(outcome, "triggers the run itself") == (trigger == "unknown sdk")
    assert _shown(outcome, "endpoint  wfr_w1 returns") == 1


def test_a_run_that_is_cancelled_before_its_sdk_takes_it_up_does_not_begin_anew() -> None:
    """A second trigger is answered with the same creation time."""
    spec = _run(Action(name="step", kind="Run"), trigger="unknown sdk")
    for cancel_us in range(200_500, 206_500, 1_000):
        outcome = run_scenario(Scenario(1, (TriggerRun(200_000, spec), CancelRun(cancel_us, "w1"))))
        assert outcome.is_good, (outcome.violations, outcome.faults)
        told = str(outcome.events)
        assert "cancel=true: 200" not in told or "carries out" not in told


def test_a_failure_callback_is_sent_again() -> None:
    spec = _run(
        Action(name="step", kind="Run"),
        retries=0,
        callback_retries=0,
        plan=(_FAILS,),
        callback_plan=(_FAILS,),
    )
    steps = TriggerRun(200_000, spec), CallBackAgain(5 * _SECOND_US), CallBackAgain(10 * _SECOND_US)
    assert _shown(run_scenario(Scenario(1, steps)), "request   w1.failed") == 3


def test_long_lists_are_fetched_and_flow_control_holds_for_all_steps() -> None:
    spec = RunSpec(
        label="w1",
        blocks=(
            tuple(Action(name=name, kind="Run") for name in ("left", "middle", "right")),
            (Action(name="last", kind="Run"),),
        ),
        flow=FlowSpec(key="narrow", parallelism=1),
    )
    outcome = run_scenario(Scenario(1, (TriggerRun(200_000, spec),), lazy_fetch_bytes=700))
    assert _shown(outcome, "endpoint  wfr_w1 returns") == 1
    assert _shown(outcome, "fetches the list") > 1


def _first_failure() -> Outcome:
    for seed in range(_MOST_SEEDS):
        outcome = run_scenario(RunGenerator(seed).scenario(200_000))
        if outcome.violations:
            return outcome
    raise AssertionError(f"{_MOST_SEEDS} seeds did not find it")


def _send_live_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_EncodedLog, "through", lambda self, _position: b"[%s]" % self.text)


def _forget_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_report_call", lambda *_: None)


def _forget_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end_of_run, "fail", lambda *_: None)


def _say_that_all_went_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def completed_invoke(step: dict[str, Any], **outcome: Any) -> bytes:
        return workflow.completed_invoke(step, **{**outcome, "is_failed": False})

    monkeypatch.setattr("emulator.broker.workflow.end_of_run.completed_invoke", completed_invoke)


def _forget_flow_control(monkeypatch: pytest.MonkeyPatch) -> None:
    def inherited(own: Headers, configuration: Headers) -> Headers:
        return tuple(
            line for line in workflow.inherited(own, configuration) if "flow-control" not in line[0].lower()
        )

    monkeypatch.setattr("emulator.broker.workflow.messages.inherited", inherited)


@pytest.mark.parametrize(
    ("mutate", "invariant"),
    [
        (_send_live_list, Invariant.STEPS),
        (_forget_reports, Invariant.RUN_END),
        (_forget_failures, Invariant.RUN_END),
        (_say_that_all_went_well, Invariant.STEPS),
        (_forget_flow_control, Invariant.FLOW_CONTROL),
    ],
)
def test_a_mutation_of_the_workflows_is_found_within_200_seeds(
    monkeypatch: pytest.MonkeyPatch, mutate: Callable[[pytest.MonkeyPatch], None], invariant: Invariant
) -> None:
    mutate(monkeypatch)
    assert invariant in {violation.invariant for violation in _first_failure().violations}
