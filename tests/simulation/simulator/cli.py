"""The simulator's command line: many seeds with progress and a summary, or one seed in full."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TypeVar

from tests.simulation.simulator.generator import make_scenario
from tests.simulation.simulator.report import describe_failure
from tests.simulation.simulator.runner import run_scenario
from tests.simulation.simulator.shrinking import shrink

S = TypeVar("S")

_PROGRESS_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Summary:
    """The outcome of one seed, small enough to pass between processes."""

    seed: int
    is_good: bool
    messages: int
    attempts: int
    lives: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return 0 if nothing was violated, 1 if something was, 2 for bad arguments."""
    given = make_parser(
        "simulate",
        "Run the emulator in a simulated world, where processes crash, disks tear writes, clocks jump and"
        " destinations fail, and check its invariants. The same seed gives the same run.",
    ).parse_args(arguments)
    if given.seed is not None:
        return _run_one(given.seed, is_shrinking=given.shrink, is_verbose=given.verbose)
    return _run_many(range(given.start, given.start + given.seeds), given.workers, is_shrinking=given.shrink)


def make_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """Return the parser with the arguments that every simulator has."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument(
        "--seeds", type=_whole, default=200, help="number of seeds to run (default: %(default)s)"
    )
    parser.add_argument("--start", type=_whole, default=0, help="the first of them (default: %(default)s)")
    parser.add_argument("--seed", type=_whole, help="run this one seed, and tell what happened")
    parser.add_argument(
        "--shrink",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="drop steps from a failing scenario while it still fails (default: yes)",
    )
    parser.add_argument(
        "--verbose", action="store_true", help="with --seed: print its scenario and all events"
    )
    parser.add_argument(
        "--workers",
        type=_whole,
        default=os.cpu_count() or 1,
        help="processes to share the seeds (default: %(default)s)",
    )
    return parser


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def _run_one(seed: int, *, is_shrinking: bool, is_verbose: bool) -> int:
    outcome = run_scenario(make_scenario(seed))
    if is_verbose:
        print(outcome.scenario)
        print(outcome.events)
    print(
        f"seed {seed}: {len(outcome.scenario.steps)} steps, {outcome.lives} processes, {outcome.messages} messages,"
        f" {outcome.attempts} attempts: {'no invariant violated' if outcome.is_good else 'FAILED'}"
    )
    if outcome.is_good:
        return 0
    if is_shrinking:
        outcome = shrink(outcome, note=say_shrinking)
        print(file=sys.stderr)
    print(describe_failure(outcome))
    return 1


def say_shrinking(runs: int, steps: int) -> None:
    """Print how far the search for a smaller scenario is."""
    print(f"\rshrinking: {runs} runs, {steps} steps left ", end="", file=sys.stderr, flush=True)


def _run_many(seeds: range, workers: int, *, is_shrinking: bool) -> int:
    started = time.monotonic()
    done: list[Summary] = []
    last_said = started
    for summary in each_seed(_summary_of, seeds, workers):
        done.append(summary)
        if not summary.is_good:
            print(
                f"\nseed {summary.seed} FAILED; again with: ./scripts/simulate --seed {summary.seed}",
                flush=True,
            )
        if time.monotonic() - last_said > _PROGRESS_SECONDS:
            last_said = time.monotonic()
            _say_done(done, len(seeds), last_said - started)
    failed = sorted(summary.seed for summary in done if not summary.is_good)
    _say_done(done, len(seeds), time.monotonic() - started)
    print(file=sys.stderr)
    messages, attempts, lives = (
        sum(getattr(summary, name) for summary in done) for name in ("messages", "attempts", "lives")
    )
    print(
        f"{len(done)} seeds, {lives} processes of which {lives - 2 * len(done)} died or were stopped on the way,"
        f" {messages} messages, {attempts} attempts: {len(failed)} seeds failed"
    )
    if not failed:
        return 0
    print(f"failed: {', '.join(map(str, failed))}\n")
    _run_one(failed[0], is_shrinking=is_shrinking, is_verbose=False)
    return 1


def each_seed(summarise: Callable[[int], S], seeds: Iterable[int], workers: int) -> Iterator[S]:
    """Yield ``summarise`` of each seed, in order, by so many processes. It must be a module's function."""
    if workers <= 1:
        yield from map(summarise, seeds)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(summarise, seeds, chunksize=4)


def _summary_of(seed: int) -> Summary:
    outcome = run_scenario(make_scenario(seed))
    return Summary(seed, outcome.is_good, outcome.messages, outcome.attempts, outcome.lives)


def _say_done(done: Sequence[Summary], of: int, seconds: float) -> None:
    say_progress(len(done), of, sum(not summary.is_good for summary in done), seconds)


def say_progress(done: int, of: int, failed: int, seconds: float) -> None:
    """Print how many seeds are done."""
    print(f"\r{done} of {of} seeds, {failed} failed, {seconds:.0f} s ", end="", file=sys.stderr, flush=True)
