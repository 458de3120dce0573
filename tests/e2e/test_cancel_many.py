"""kill -9 in the middle of a bulk cancel; a hundred thousand are ``./scripts/cancel-many``."""

from itertools import pairwise
from pathlib import Path

import pytest

from tests.simulation.simulator.bulk_sigkill import cancel_under_kills


@pytest.mark.timeout(300)
def test_what_a_killed_server_had_not_cancelled_is_cancelled_by_the_next(tmp_path: Path) -> None:
    report = cancel_under_kills(tmp_path, count=4_000, kills=1, note=lambda _text: None)
    assert report.states == {"CANCELED": 4_000, "lines": 4_000}
    assert (report.state, report.processed, report.total) == ("FINISHED", 4_000, 4_000)
    [killed_at] = report.killed_at
    assert 0 < killed_at < 4_000
    # What is shown is durable: a kill takes nothing of it back.
    assert all(before <= after for before, after in pairwise(report.seen))
