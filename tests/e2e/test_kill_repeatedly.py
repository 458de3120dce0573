"""kill -9 at random moments under load of every kind; the hundred rounds are ``./scripts/kill-repeatedly``."""

from pathlib import Path

import pytest

from tests.simulation.simulator.sigkill import kill_repeatedly


def _check(directory: Path, rounds: int) -> None:
    report = kill_repeatedly(directory, rounds=rounds, seed=rounds)
    assert report.violations == []
    assert report.acknowledged > 10 * rounds
    assert report.attempts >= report.acknowledged


def test_nothing_is_lost_or_done_twice_by_kills_at_random_moments(tmp_path: Path) -> None:
    _check(tmp_path, rounds=3)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_nothing_is_lost_or_done_twice_by_a_hundred_kills(tmp_path: Path) -> None:
    _check(tmp_path, rounds=100)
