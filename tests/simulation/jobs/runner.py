"""Run a scenario in a world of its own and check the result; shrink a scenario that fails."""

import logging
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.simulation.jobs.recording import Record, read_record
from tests.simulation.jobs.rules import Violation, check
from tests.simulation.jobs.scenario import Scenario
from tests.simulation.jobs.world import World
from tests.simulation.simulator.events import EventLog
from tests.simulation.simulator.shrinking import shrink_steps

# Actions of the log lines that no injected fault excuses.
_UNEXPECTED = frozenset(
    {"interval_failed", "publish_refused", "malformed", "malformed_callback", "signature_rejected"}
)

_LOGGERS = "jobs_core", "emulator", "sqlalchemy.pool", "asyncio", "tests.simulation.jobs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a run."""

    scenario: Scenario
    violations: list[Violation]
    faults: list[str]
    events: EventLog
    record: Record | None

    @property
    def is_good(self) -> bool:
        return not self.violations and not self.faults

    @property
    def counts(self) -> dict[str, int]:
        """Return how many jobs, runs, deliveries and faults there were."""
        if self.record is None:
            return {}
        history = self.record.history
        return {
            "jobs": len(self.record.jobs),
            "runs": len(history.runs),
            "deliveries": len(history.deliveries),
            "deaths": sum(trouble.kind == "killed" for trouble in history.troubles),
            "completed": sum(job.status == "completed" for job in self.record.jobs),
            "failed": sum(job.status == "failed" for job in self.record.jobs),
        }

    @property
    def trace(self) -> str:
        """Return the events, line by line: the same seed gives the same text. Labels replace jobs' random ids."""
        text = str(self.events)
        for job in self.record.jobs if self.record else ():
            text = text.replace(job.job_id, job.label)
        return text

    def fails_like(self, other: "Outcome") -> bool:
        """Return whether the two runs share a violated rule or kind of fault."""
        rules = {violation.rule for violation in self.violations}
        return bool(rules & {violation.rule for violation in other.violations}) or bool(
            self.faults and other.faults
        )

    def describe(self) -> str:
        """Return the scenario, the violations, and the events that led to them."""
        tags = self._tags()
        happened = self.events.about(tags) if tags else self.events.happenings
        parts = [f"seed {self.scenario.seed}, {len(self.scenario.steps)} steps:", str(self.scenario).rstrip()]
        parts += [f"\nviolated: {violation}" for violation in self.violations[:5]]
        parts += [f"\nfault: {fault}" for fault in self.faults[:5]]
        return "\n".join([*parts, "\nwhat led to it (simulated time, from the start):", *map(str, happened)])

    def _tags(self) -> frozenset[str]:
        """Return the ids of the jobs that violations name."""
        labels = {violation.label for violation in self.violations}
        jobs = self.record.jobs if self.record else ()
        return frozenset(job.job_id for job in jobs if job.label in labels or job.idempotency_key in labels)


def run_scenario(scenario: Scenario) -> Outcome:
    """Run a scenario and check the rules. Must not be called on an event loop."""
    quick = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="jobs-simulation-", dir=quick if quick.is_dir() else None
    ) as directory:
        return _run(scenario, Path(directory))


def shrink(failed: Outcome, *, note: Callable[[int, int], None] | None = None) -> Outcome:
    """Return the smallest failing run found. ``note`` is called with the runs so far and the steps left."""
    return shrink_steps(failed, run=run_scenario, note=note)


def _run(scenario: Scenario, directory: Path) -> Outcome:
    world = World(scenario, directory)
    faults = world.history.faults
    record = None
    with _listening(world):
        try:
            world.live_through()
            is_pending = world.qstash.runtime.next_due_at() is not None
            record = read_record(world.database.path, world.history, undelivered=is_pending)
        except Exception:  # noqa: BLE001 -- an error of the world is a finding, too
            faults.append(traceback.format_exc())
        finally:
            world.close()
    violations = check(record) if record is not None else []
    return Outcome(
        scenario=scenario, violations=violations, faults=faults, events=world.events, record=record
    )


@contextmanager
def _listening(world: World) -> Iterator[None]:
    """Collect the processes' log lines, and keep them from the console."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    handler = _Collector(world)
    before = [(logger, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, was_propagating in before:
            logger.removeHandler(handler)
            logger.propagate = was_propagating


class _Collector(logging.Handler):
    def __init__(self, world: World) -> None:
        super().__init__(logging.WARNING)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        job_id = getattr(record, "job_id", None)
        self._world.note(f"log       {record.getMessage()}", *([job_id] if job_id else ()))
        is_emulators = record.name.startswith("emulator") and record.levelno >= logging.ERROR
        if getattr(record, "event", None) in _UNEXPECTED or is_emulators:
            self._world.fault(f"{record.name}: {self.format(record)}")
