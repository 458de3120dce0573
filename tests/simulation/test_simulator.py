"""The emulator in the simulated world: its invariants hold, and the simulator finds deliberate defects."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from emulator.broker.message import Pending
from emulator.broker.pending_messages import PendingMessages
from emulator.broker.queues import QueueLine
from emulator.store.store import SqlStore
from emulator.testing.invariants import Invariant
from emulator.testing.recorder.readers import retry_waits_ms
from tests.simulation.simulator import Outcome, make_scenario, run_scenario, shrink
from tests.simulation.simulator.report import describe_failure
from tests.simulation.simulator.spec import RETRY_DELAYS

_CHUNK = 5
_MOST_SEEDS = 200


@pytest.mark.parametrize("start", range(0, 100, _CHUNK))
def test_no_invariant_is_violated_whatever_happens(start: int) -> None:
    for seed in range(start, start + _CHUNK):
        outcome = run_scenario(make_scenario(seed))
        assert outcome.is_good, describe_failure(shrink(outcome))


def test_a_crash_cuts_off_all_calls_of_a_step() -> None:
    """The crash of this seed comes between two calls; the second one once waited for ever."""
    assert run_scenario(make_scenario(1462)).is_good


@pytest.mark.parametrize("expression", RETRY_DELAYS)
def test_the_recorder_reads_retry_delays_as_they_were_worked_out_by_hand(expression: str) -> None:
    waits = RETRY_DELAYS[expression]
    assert retry_waits_ms(expression, len(waits)) == waits


def _skip_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    apply, count = SqlStore.apply, 0

    def skip_every_fifth(self: SqlStore, work) -> None:
        nonlocal count
        count += 1
        if count % 5:
            apply(self, work)

    monkeypatch.setattr(SqlStore, "apply", skip_every_fifth)


def _ignore_parallelism(monkeypatch: pytest.MonkeyPatch) -> None:
    def grant_to_all(self: QueueLine) -> Iterator[Pending]:
        while self._waiting:
            yield self._waiting.popitem(last=False)[1]

    def always(self: QueueLine, seq: int) -> bool:
        return True

    monkeypatch.setattr(QueueLine, "grant", grant_to_all)
    monkeypatch.setattr(QueueLine, "may_start", always)


def _forget_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    wait_for_time = PendingMessages.wait_for_time

    def forget_second_retry(self: PendingMessages, pending: Pending) -> None:
        if pending.retried != 2:
            wait_for_time(self, pending)

    monkeypatch.setattr(PendingMessages, "wait_for_time", forget_second_retry)


def _first_failure() -> Outcome:
    for seed in range(_MOST_SEEDS):
        outcome = run_scenario(make_scenario(seed))
        if outcome.violations:
            return outcome
    raise AssertionError(f"{_MOST_SEEDS} seeds did not find it")


@pytest.mark.parametrize(
    ("mutate", "invariant"),
    [
        (_skip_commits, Invariant.NOTHING_LOST),
        (_ignore_parallelism, Invariant.QUEUE),
        (_forget_retries, Invariant.ONE_END),
    ],
)
def test_a_mutation_of_the_broker_is_found_within_200_seeds(
    monkeypatch: pytest.MonkeyPatch, mutate: Callable[[pytest.MonkeyPatch], None], invariant: Invariant
) -> None:
    mutate(monkeypatch)
    outcome = _first_failure()
    assert invariant in {violation.invariant for violation in outcome.violations}


def test_a_failing_scenario_is_shrunk_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    _ignore_parallelism(monkeypatch)
    failed = _first_failure()
    smallest = shrink(failed)
    assert smallest.fails_like(failed)
    assert len(smallest.scenario.steps) <= 3
    told = describe_failure(smallest)
    assert "violated: 4. a queue of parallelism p" in told
    assert "publish" in told
    assert "request " in told


_PRINT_EVENTS = """
import sys
from tests.simulation.simulator import make_scenario, run_scenario
sys.stdout.write(str(run_scenario(make_scenario(1)).events))
"""


def test_a_seed_gives_the_same_run_byte_for_byte_whatever_the_hash_seed() -> None:
    other = subprocess.run(
        [sys.executable, "-c", _PRINT_EVENTS],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert other == str(run_scenario(make_scenario(1)).events)
    assert other.count("request ") > 5
