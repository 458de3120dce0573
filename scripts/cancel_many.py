"""Cancel many waiting messages while the server is killed; ``--help`` says how."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.simulation.simulator.bulk_sigkill import cancel_under_kills


def main() -> int:
    """Return the exit code: 0 if every message was cancelled exactly once, else 1."""
    parser = argparse.ArgumentParser(description="Cancel many waiting messages while the server is killed.")
    parser.add_argument(
        "--messages", type=int, default=100_000, help="number of messages (default: %(default)s)"
    )
    parser.add_argument("--kills", type=int, default=2, help="number of kills (default: %(default)s)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="qstash-cancelled-") as directory:
        report = cancel_under_kills(Path(directory), count=given.messages, kills=given.kills, note=_say)
    print(file=sys.stderr)
    print(
        f"{given.messages} messages published in {report.publish_seconds:.1f} s, cancelled in "
        f"{report.cancel_seconds:.1f} s with kills at {', '.join(map(str, report.killed_at)) or 'no time'}: "
        f"{report.state}, {report.processed} of {report.total} processed; in the file {dict(report.states)}; "
        f"memory {report.memory_before_mib:.0f} MiB before, at most {report.memory_mib:.0f} MiB"
    )
    is_whole = (
        report.processed == report.total == given.messages
        and report.states == {"CANCELED": given.messages, "lines": given.messages}
        and len(report.killed_at) == given.kills
    )
    return 0 if is_whole else 1


def _say(text: str) -> None:
    print(f"\r{text} ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
