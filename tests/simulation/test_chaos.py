"""When real workers, producers and PostgreSQL are broken for some seconds, every acknowledged job is done once."""

import sys
from pathlib import Path

import pytest

from tests.simulation.chaos import break_things

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and SIGSTOP exist on POSIX alone")


def test_what_was_acknowledged_is_done_once_whatever_is_killed(tmp_path: Path) -> None:
    report = break_things(tmp_path, seconds=6, seed=1)
    assert report.violations == []
    assert report.done
    assert report.acknowledged > 0
