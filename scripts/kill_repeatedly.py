"""Kill a busy server repeatedly and check its invariants; see ``--help``."""

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from tests.simulation.simulator.sigkill import kill_repeatedly


def main() -> int:
    """Return the exit code: 0 if all invariants hold, else 1."""
    parser = argparse.ArgumentParser(description="Kill a busy server with SIGKILL, and check its invariants.")
    parser.add_argument("--rounds", type=int, default=100, help="number of kills (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, help="seed that chooses the moments of the kills (default: random)"
    )
    given = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix="qstash-killed-") as directory:
        report = kill_repeatedly(Path(directory), rounds=given.rounds, seed=seed, note=_say)
    print(file=sys.stderr)
    print(
        f"{report.rounds} kills, {report.acknowledged} messages acknowledged, {report.attempts} attempts of which"
        f" {report.repeated} were repeated after a kill, {report.firings} firings of schedules:"
        f" {len(report.violations)} violations"
    )
    for violation in report.violations[:20]:
        print(violation)
    return 1 if report.violations else 0


def _say(text: str) -> None:
    print(f"\r{text} ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
