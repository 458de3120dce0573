"""Real workers, producers and PostgreSQL, broken for some seconds: what was acknowledged is done once."""

import sys
from pathlib import Path

import pytest

from tests.simulation.chaos import break_things

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and SIGSTOP are things of POSIX")


def test_what_was_acknowledged_is_done_once_whatever_is_killed(tmp_path: Path) -> None:
    report = break_things(tmp_path, seconds=6, seed=1)
    assert report.violations == []
    assert report.done
    assert report.acknowledged > 0
