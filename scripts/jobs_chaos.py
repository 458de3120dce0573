"""Break real workers, producers and PostgreSQL, and count the jobs; see ``--help``."""

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from tests.simulation.chaos import break_things


def main() -> int:
    """Return the exit code: 0 if every job reached exactly one final state, else 1."""
    parser = argparse.ArgumentParser(
        description="Kill, freeze and stop workers, kill producers and restart PostgreSQL; then count the jobs."
    )
    parser.add_argument("--minutes", type=float, default=10, help="minutes to run (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, help="seed that chooses the faults, not their timing (default: random)"
    )
    given = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix="jobs-chaos-") as directory:
        report = break_things(Path(directory), seconds=given.minutes * 60, seed=seed, note=_say)
    print(file=sys.stderr)
    print(report)
    for violation in report.violations[:20]:
        print(violation)
    return 1 if report.violations else 0


def _say(text: str) -> None:
    print(f"\r{text} ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
