"""The job system in the simulated world: its guarantees hold, and the simulation finds deliberate defects."""

import os
import subprocess
import sys

import pytest

from tests.simulation.jobs import make_scenario, run_scenario, shrink
from tests.simulation.jobs.database import Act, Moment, Side
from tests.simulation.jobs.mutations import MUTATIONS, Mutation
from tests.simulation.jobs.rules import Rule
from tests.simulation.jobs.scenario import (
    Ask,
    ChangeWeather,
    Ends,
    Enqueue,
    Freeze,
    How,
    JobSpec,
    Kill,
    LoseCommit,
    LoseDatabase,
    Reaction,
    Scenario,
    Step,
    Weather,
)

_CHUNK = 4
# After the worker has read the delivery's time, and before its claim is committed.
_FREEZES_US = (13_000, 15_000, 17_000)
_SECOND = 1_000_000

# A seed of the first 200 in which the mutation breaks its rule.
_FOUND_AT = {
    "sweep_believes_the_dead": 176,
    "a_lease_uses_up_retries": 0,
    "claim_ignores_the_lease": 0,
    "relay_sees_nothing": 0,
    "postponed_is_forgotten": 0,
    "published_before_the_commit": 0,
    "message_in_a_second_transaction": 5,
    "superseded_attempts_count": 2,
    "retries_are_not_counted": 13,
    "keys_are_ignored": 1,
    "callback_ends_what_runs": 20,
    "one_death_is_enough": 0,
    "answered_before_recorded": 25,
}


@pytest.mark.parametrize("start", range(0, 20, _CHUNK))
def test_no_promise_is_broken_whatever_happens(start: int) -> None:
    for seed in range(start, start + _CHUNK):
        outcome = run_scenario(make_scenario(seed))
        assert outcome.is_good, shrink(outcome).describe()


@pytest.mark.parametrize(("mutate", "rule"), MUTATIONS, ids=[mutate.__name__ for mutate, _ in MUTATIONS])
def test_a_mutation_of_the_job_system_is_found(
    monkeypatch: pytest.MonkeyPatch, mutate: Mutation, rule: Rule
) -> None:
    mutate(monkeypatch)
    outcome = run_scenario(make_scenario(_FOUND_AT[mutate.__name__]))
    assert rule in {violation.rule for violation in outcome.violations}, outcome.describe()


def _run(*steps: Step, status: str = "completed") -> None:
    outcome = run_scenario(Scenario(seed=1, steps=steps, workers=1))
    assert outcome.is_good, outcome.describe()
    assert outcome.record is not None
    assert [job.status for job in outcome.record.jobs] == [status], outcome.describe()


def _enqueue(at_us: int, *plan: Reaction, retries: int = 3, delay_seconds: int = 0) -> Enqueue:
    spec = JobSpec(label="j1", retries=retries, delay_seconds=delay_seconds, plan=plan)
    return Enqueue(at_us, "caller", How.CALL, (spec,))


@pytest.mark.parametrize("after_us", _FREEZES_US)
def test_of_a_worker_that_stood_still_neither_of_two_deliveries_runs_late(after_us: int) -> None:
    """Both were accepted before the freeze; when the worker goes on, their leases end before the handlers start."""
    _run(_enqueue(_SECOND), Freeze(_SECOND + after_us, "worker-1", 70))


def test_the_attempt_of_a_job_that_was_cancelled_ends_though_its_worker_is_dead() -> None:
    _run(_enqueue(_SECOND, Reaction(ends=Ends.KILLED)), Ask(2 * _SECOND, "j1", "cancel"), status="cancelled")


@pytest.mark.parametrize("act", [Act.CLAIM, Act.RECORD])
def test_a_commit_whose_answer_is_lost_costs_the_job_none_of_its_retries(act: Act) -> None:
    _run(
        LoseCommit(_SECOND, Moment(act, Side.AFTER)),
        _enqueue(2 * _SECOND, Reaction(ends=Ends.RAISES), Reaction(ends=Ends.RAISES)),
    )


def test_a_job_goes_on_whose_failure_callbacks_met_no_database() -> None:
    """QStash has given up the message and its callback; the sweep reads that a worker answered that it goes on."""
    _run(
        _enqueue(_SECOND, retries=0, delay_seconds=3),
        LoseDatabase(2 * _SECOND, 3_600),
        ChangeWeather(_SECOND, Weather.CALLBACK_FAILS, 100, 3_600),
        Kill(3_700 * _SECOND, "caller", 1_000),
    )


_PRINT_EVENTS = """
import sys
from tests.simulation.jobs import make_scenario, run_scenario
sys.stdout.write(run_scenario(make_scenario(5)).trace)
"""


def test_a_seed_gives_the_same_run_whatever_the_hash_seed() -> None:
    other = subprocess.run(
        [sys.executable, "-c", _PRINT_EVENTS],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert other == run_scenario(make_scenario(5)).trace
    assert other.count("run ") > 5
