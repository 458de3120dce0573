"""Size of a benchmark, and the folder that it writes to."""

from dataclasses import dataclass
from pathlib import Path

from emulator.tenants import PUBLISHED_USERS
from scripts.benchmarks.figures import Report
from scripts.benchmarks.load import request_bytes

BODY = b'{"n": 1, "text": "' + b"x" * 200 + b'"}'
FAR_AWAY = {"Upstash-Delay": "1d"}


@dataclass(frozen=True)
class Size:
    """The size of a benchmark: runs, messages of a run, seconds of waiting, stored messages for growth."""

    runs: int
    count: int
    lateness_seconds: int
    pending: int
    stored: tuple[int, ...]
    jobs: int
    stored_jobs: int
    virtual: int
    workflow_runs: int
    is_full: bool


QUICK = Size(
    runs=3, count=1_000, lateness_seconds=5, pending=50_000, stored=(1_000, 10_000), jobs=300, stored_jobs=100_000,
    virtual=500,
    workflow_runs=300, is_full=False,
)  # fmt: skip
FULL = Size(
    runs=5, count=5_000, lateness_seconds=15, pending=1_000_000, stored=(1_000, 10_000, 100_000, 1_000_000),
    jobs=2_000, stored_jobs=10_000_000, virtual=3_000, workflow_runs=10_000, is_full=True,
)  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """The argument of every section: its size, a temporary folder for databases, a lasting one for pictures."""

    size: Size
    folder: Path
    pictures: Path
    report: Report

    def database(self, name: str) -> str:
        return str(self.folder / f"{name}.db")


def publish_request(url: str, destination: str, headers: dict[str, str] | None = None) -> bytes:
    """Return the bytes of one publish by the first published test user."""
    lines = {
        "Authorization": f"Bearer {PUBLISHED_USERS[0].token}",
        "Content-Type": "application/json",
        **(headers or {}),
    }
    return request_bytes(f"{url}/v2/publish/{destination}", lines, BODY)
