"""Break real workers, producers and PostgreSQL; ``--help`` says how."""

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from tests.simulation.chaos import break_things


def main() -> int:
    """0 if every job has come to its one end."""
    parser = argparse.ArgumentParser(
        description="Kill, freeze and stop workers, kill producers, restart PostgreSQL at once; then count the jobs."
    )
    parser.add_argument("--minutes", type=float, default=10, help="for how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="decides what is done; real time decides the rest")
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
