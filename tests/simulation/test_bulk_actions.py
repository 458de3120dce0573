"""When the process dies while one action cancels many messages, all of them are cancelled at the end."""

from dataclasses import dataclass

import pytest

from emulator.broker import bulk_actions, pending_changes
from emulator.runtime.bulk_cancels import BulkCancels
from emulator.testing.invariants import Invariant
from tests.simulation.simulator import Outcome, Scenario, run_scenario
from tests.simulation.simulator.bulk import CancelCrowd, CancelRuns, publish_crowd
from tests.simulation.simulator.report import describe_failure
from tests.simulation.simulator.spec import MessageSpec
from tests.simulation.simulator.steps import Crash, Step
from tests.simulation.simulator.workflows.spec import Action, RunSpec
from tests.simulation.simulator.workflows.steps import TriggerRun

_COUNT, _SLICE = 60, 5
_CANCEL_US = 400_000
_DOWNTIME_MS = 3_000


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make slices small, so that a few messages are cancelled in many steps."""
    monkeypatch.setattr(bulk_actions, "SLICE", _SLICE)


@dataclass(frozen=True)
class _Cancelled:
    """The number of messages cancelled before the crash, and after it."""

    before: int
    after: int


def _run(crash_after_us: int, *, is_async: bool, torn: float | None = None) -> Outcome:
    crowd = MessageSpec(label="crowd", delay_seconds=90_000)
    other = MessageSpec(label="other", delay_seconds=60)
    return run_scenario(
        Scenario(
            crash_after_us,
            (
                publish_crowd(200_000, crowd, _COUNT),
                publish_crowd(200_000, other, 3),
                CancelCrowd(_CANCEL_US, "crowd", is_async),
                Crash(_CANCEL_US + crash_after_us, _DOWNTIME_MS, torn),
            ),
        )
    )


def _cancelled(outcome: Outcome) -> _Cancelled:
    assert outcome.shown is not None
    times = [line["time"] for line in outcome.shown.log if line["state"] == "CANCELED"]
    crashed_at = min(times, default=0) + _DOWNTIME_MS // 2
    before = sum(time < crashed_at for time in times)
    return _Cancelled(before, len(times) - before)


@pytest.mark.parametrize("is_async", [True, False], ids=["without waiting", "waiting"])
def test_an_action_that_a_crash_cut_off_is_carried_on_to_its_end(is_async: bool) -> None:
    seen = []
    for crash_after_us in (4_000, 9_000, 14_000, 19_000):
        outcome = _run(crash_after_us, is_async=is_async, torn=0.5 if crash_after_us == 9_000 else None)
        assert outcome.is_good, describe_failure(outcome)
        assert outcome.shown is not None
        for action in outcome.shown.bulk_actions:
            assert (action["total"], action["processed"], action["state"]) == (_COUNT, _COUNT, "FINISHED")
            cancelled = _cancelled(outcome)
            assert cancelled.before + cancelled.after == _COUNT
            seen.append(cancelled)
        delivered = [line for line in outcome.shown.log if line["state"] == "DELIVERED"]
        assert len(delivered) == 3 + (0 if outcome.shown.bulk_actions else _COUNT)
    assert any(one.before and one.after for one in seen), f"no crash hit the middle: {seen}"


def test_runs_that_a_crash_left_are_cancelled_too() -> None:
    labels = tuple(f"w{number}" for number in range(12))
    step = Action(name="step", kind="Run")
    specs = [RunSpec(label=label, blocks=((step,),), delay_seconds=90_000) for label in labels]
    caught = 0
    for crash_after_us in (4_000, 9_000, 14_000):
        steps: tuple[Step, ...] = (
            *(TriggerRun(200_000, spec) for spec in specs),
            CancelRuns(_CANCEL_US, labels),
            Crash(_CANCEL_US + crash_after_us, _DOWNTIME_MS),
        )
        outcome = run_scenario(Scenario(crash_after_us, steps))
        assert outcome.is_good, describe_failure(outcome)
        assert outcome.shown is not None
        for action in outcome.shown.bulk_actions:
            assert (action["total"], action["processed"]) == (len(labels), len(labels))
            assert {run["workflowState"] for run in outcome.shown.runs} == {"RUN_CANCELED"}
            times = [run["workflowRunCompletedAt"] for run in outcome.shown.runs]
            caught += max(times) - min(times) > _DOWNTIME_MS // 2
    assert caught, "no crash hit the middle"


async def _restore_nothing(self: BulkCancels) -> None:
    """Do not resume bulk actions after a start."""


def test_an_action_that_is_not_taken_up_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BulkCancels, "restore", _restore_nothing)
    assert Invariant.ONE_END in {one.invariant for one in _run(14_000, is_async=True).violations}


def test_a_slice_that_is_noted_before_it_is_cancelled_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash between the two would leave messages that were examined but not cancelled."""
    monkeypatch.setattr(pending_changes, "cancel", lambda _state, _found, _now_at: 0)
    assert Invariant.ONE_END in {one.invariant for one in _run(20_000, is_async=True).violations}
