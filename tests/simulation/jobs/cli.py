"""The job simulator's command line: many seeds with a summary, or one seed in full."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.simulation.jobs.generator import make_scenario
from tests.simulation.jobs.runner import run_scenario, shrink
from tests.simulation.simulator.cli import each_seed, make_parser, say_progress, say_shrinking

_PROGRESS_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Summary:
    """The outcome of one seed, small enough to pass between processes."""

    seed: int
    is_good: bool
    counts: dict[str, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return 0 if nothing was violated, 1 if something was, 2 for bad arguments."""
    given = make_parser(
        "simulate-jobs",
        "Run the job system beside an emulator in a simulated world, where workers are killed, frozen and stopped, the"
        " database goes away and deliveries are lost or doubled, and check its promises. The same seed gives the same"
        " run.",
    ).parse_args(arguments)
    if given.seed is not None:
        return _run_one(given.seed, is_shrinking=given.shrink, is_verbose=given.verbose)
    return _run_many(range(given.start, given.start + given.seeds), given.workers, is_shrinking=given.shrink)


def _run_one(seed: int, *, is_shrinking: bool, is_verbose: bool) -> int:
    outcome = run_scenario(make_scenario(seed))
    if is_verbose:
        print(outcome.scenario)
        print(outcome.events)
    verdict = "nothing violated" if outcome.is_good else "FAILED"
    print(f"seed {seed}: {len(outcome.scenario.steps)} steps, {_told(outcome.counts)}: {verdict}")
    if outcome.is_good:
        return 0
    if is_shrinking:
        outcome = shrink(outcome, note=say_shrinking)
        print(file=sys.stderr)
    print(outcome.describe())
    return 1


def _run_many(seeds: range, workers: int, *, is_shrinking: bool) -> int:
    last_said = started = time.monotonic()
    counts: Counter[str] = Counter()
    failed: list[int] = []
    for done, summary in enumerate(each_seed(_summary_of, seeds, workers), start=1):
        counts.update(summary.counts)
        if not summary.is_good:
            failed.append(summary.seed)
            print(
                f"\nseed {summary.seed} FAILED; again with: ./scripts/simulate-jobs --seed {summary.seed}",
                flush=True,
            )
        if time.monotonic() - last_said > _PROGRESS_SECONDS:
            last_said = time.monotonic()
            say_progress(done, len(seeds), len(failed), last_said - started)
    print(f"\n{len(seeds)} seeds, {_told(counts)}: {len(failed)} seeds failed")
    if not failed:
        return 0
    print(f"failed: {', '.join(map(str, failed))}\n")
    _run_one(failed[0], is_shrinking=is_shrinking, is_verbose=False)
    return 1


def _told(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _summary_of(seed: int) -> Summary:
    outcome = run_scenario(make_scenario(seed))
    return Summary(seed, outcome.is_good, outcome.counts)
