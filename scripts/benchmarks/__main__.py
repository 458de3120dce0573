"""The command ``./scripts/bench``."""

import argparse
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from scripts.benchmarks.figures import Report, say
from scripts.benchmarks.job_growth import job_growth
from scripts.benchmarks.job_queries import measure_job_queries
from scripts.benchmarks.jobs import job_path
from scripts.benchmarks.neighbours import closing_destination, huge_batch, many_schedules
from scripts.benchmarks.profile import profile
from scripts.benchmarks.punctuality import lateness
from scripts.benchmarks.rates import end_to_end, publishing
from scripts.benchmarks.resources import resource_growth
from scripts.benchmarks.setting import FULL, QUICK, Bench
from scripts.benchmarks.start import start_up, virtual_time
from scripts.benchmarks.stored import growth, pending
from scripts.benchmarks.transports import transports
from scripts.benchmarks.workflows import workflows

SECTIONS: dict[str, Callable[[Bench], Awaitable[None]]] = {
    "publish": publishing,
    "end-to-end": end_to_end,
    "jobs": job_path,
    "job-queries": measure_job_queries,
    "lateness": lateness,
    "pending": pending,
    "growth": growth,
    "start": start_up,
    "virtual": virtual_time,
    "workflows": workflows,
}
# These run only when they are named: they answer other questions than "how fast is it".
EXTRAS: dict[str, Callable[[Bench], Awaitable[None]]] = {
    "transports": transports,
    "profile": profile,
    "huge-batch": huge_batch,
    "closing-destination": closing_destination,
    "many-schedules": many_schedules,
    "job-growth": job_growth,
    "resource-growth": resource_growth,
}

DEFAULT_FOLDER = Path(__file__).resolve().parents[2] / "bench-results"


async def measure(bench: Bench, names: list[str]) -> None:
    for name in names:
        started = time.perf_counter()
        say(name)
        try:
            await (SECTIONS | EXTRAS)[name](bench)
        except Exception as error:  # noqa: BLE001  a section that fails must not stop the others
            bench.report.note(f"{name} could not be measured: {type(error).__name__}: {error}")
        say(f"{name} took {time.perf_counter() - started:.0f} s")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./scripts/bench", description="Measure, and print a table.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs: about two minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures as JSON")
    parser.add_argument(
        "--only", action="append", choices=[*SECTIONS, *EXTRAS], metavar="NAME",
        help=f"only this section; repeatable: {', '.join(SECTIONS)}; or {', '.join(EXTRAS)}",
    )  # fmt: skip
    parser.add_argument(
        "--pictures", type=Path, default=DEFAULT_FOLDER, metavar="FOLDER",
        help="folder of the pictures (default: bench-results)",
    )  # fmt: skip
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    options.pictures.mkdir(parents=True, exist_ok=True)
    report = Report()
    with tempfile.TemporaryDirectory(prefix="qstash-bench-") as folder:
        bench = Bench(QUICK if options.quick else FULL, Path(folder), options.pictures, report)
        uvloop.run(measure(bench, options.only or list(SECTIONS)))
    print(report.table())
    report.write_json(options.json or options.pictures / "figures.json")
    say(f"pictures and figures are in {options.pictures}")
    return 1 if any("could not be measured" in note for note in report.notes) else 0


if __name__ == "__main__":
    sys.exit(main())
