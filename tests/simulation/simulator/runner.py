"""Run a scenario through all its processes of the emulator, and check the result."""

import logging
import tempfile
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from emulator.tenants import PUBLISHED_USERS
from emulator.testing.invariants import (
    Interruption,
    Invariant,
    Record,
    Violation,
    check_invariants,
)
from emulator.testing.recorder import Recorder, Start
from tests.simulation.simulator.bulk import check_bulk_actions
from tests.simulation.simulator.events import EventLog
from tests.simulation.simulator.history import History
from tests.simulation.simulator.network import Network
from tests.simulation.simulator.process import Life
from tests.simulation.simulator.recording import Shown, make_record, read_all
from tests.simulation.simulator.scenario import Scenario
from tests.simulation.simulator.steps import Ask, Step, change_schedule, pause_flow, pause_queue
from tests.simulation.simulator.timeline import Timeline
from tests.simulation.simulator.workflows.app import WorkflowApp
from tests.simulation.simulator.workflows.spec import HOST

# Longer than any message's retries take; the longest wait is a day.
_LONGEST_DRAIN_SECONDS = 40 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a run. ``faults`` are errors that the emulator logged, and answers of 500.

    ``urls`` are the messages' destinations by id. ``lives`` counts processes, the one that reads at the end
    included.
    """

    scenario: Scenario
    violations: list[Violation]
    faults: list[str]
    events: EventLog
    urls: dict[str, str]
    shown: Shown | None = None
    attempts: int = 0
    messages: int = 0
    lives: int = 0

    @property
    def is_good(self) -> bool:
        """Return whether there are neither violations nor faults."""
        return not self.violations and not self.faults

    def fails_like(self, other: "Outcome") -> bool:
        """Return whether the same kind of thing is wrong in both."""
        kinds = {violation.invariant for violation in self.violations}
        return bool(kinds & {violation.invariant for violation in other.violations}) or bool(
            self.faults and other.faults
        )


def run_scenario(scenario: Scenario) -> Outcome:
    """Run a scenario in a directory of its own and check the invariants. Must not be called on an event loop."""
    with tempfile.TemporaryDirectory(prefix="qstash-simulation-", dir=_quick_directory()) as directory:
        return _World(scenario, Path(directory)).run()


class _World:
    def __init__(self, scenario: Scenario, directory: Path) -> None:
        self._scenario = scenario
        self._directory = directory
        self._timeline = Timeline(scenario.seed)
        self._events = EventLog(self._timeline)
        self._network = Network(self._timeline, self._events)
        self._history = History(Recorder(Start(at=0, signing_key=PUBLISHED_USERS[0].keys.current)))
        self._app = WorkflowApp(self._events, self._history.runs)
        self._network.apps[HOST] = self._app
        self._lives = 0

    def run(self) -> Outcome:
        violations: list[Violation] = []
        urls: dict[str, str] = {}
        shown: Shown | None = None
        with _listening(self._history.faults):
            try:
                last = self._live_through()
                shown = self._drain(last)
                record = self._record(shown)
                urls = {line["messageId"]: line["url"] for line in shown.log}
                violations = [
                    *check_invariants(record),
                    *check_bulk_actions(self._history, shown, end_at=self._timeline.now_at()),
                    *self._kill_at_rest(last, shown),
                ]
            except Exception:  # noqa: BLE001  an error of the simulated process is a finding, too
                self._history.faults.append(traceback.format_exc())
        return Outcome(
            scenario=self._scenario,
            violations=violations,
            faults=self._history.faults,
            events=self._events,
            urls=urls,
            shown=shown,
            attempts=len(self._network.attempts),
            messages=len(urls),
            lives=self._lives,
        )

    def _record(self, shown: Shown) -> Record:
        record = make_record(self._history, self._network, shown, end_at=self._timeline.now_at())
        return replace(record, lazy_fetch_bytes=self._scenario.lazy_fetch_bytes)

    def _live_through(self) -> Life:
        """Run all steps. Return the last process, which is still running."""
        todo: deque[Step] = deque(self._scenario.steps)
        for step in todo:
            self._plan(step)
        while True:
            life = self._new_life()
            end = life.live(life.go_through(todo, self._directory_of(self._lives + 1)))
            self._history.faults += life.loop.unexpected
            if end is None:
                return life
            self._away(life, end)

    def _away(self, life: Life, end: Step) -> None:
        """Let time pass between two processes."""
        from_at = self._timeline.now_at()
        life.die(self._directory_of(self._lives + 1))
        self._timeline.now_us += 1000 * getattr(end, "downtime_ms", 0)
        self._history.interruptions.append(Interruption(from_at=from_at, to_at=self._timeline.now_at()))

    def _drain(self, life: Life) -> Shown:
        """Resume everything that is paused, and wait until all has ended."""
        shown: Shown = life.live(self._finish(life))
        self._history.faults += life.loop.unexpected
        return shown

    async def _finish(self, life: Life) -> Shown:
        client = life.client
        assert client is not None
        now_us = self._timeline.now_us
        ways: tuple[tuple[str, str, Callable[[str], Ask]], ...] = (
            ("schedules", "scheduleId", lambda name: change_schedule(now_us, name, "delete")),
            ("queues", "name", lambda name: pause_queue(now_us, name, is_paused=False)),
            ("flowControl", "flowControlKey", lambda name: pause_flow(now_us, name, is_paused=False)),
        )
        for path, key, step in ways:
            listed = await client.call("GET", f"/v2/{path}", is_quiet=True)
            for one in listed.content:
                await step(one[key]).run(client)
        await life.wait_until_idle(_LONGEST_DRAIN_SECONDS)
        self._events.note("idle")
        return await read_all(client)

    def _kill_at_rest(self, life: Life, shown: Shown) -> list[Violation]:
        """Check that a kill when nothing is under way changes nothing."""
        life.die(self._directory_of(self._lives + 1))
        again = self._new_life()
        after: Shown = again.live(_start_and_read(again))
        again.die(self._directory_of(self._lives + 1))
        if after == shown:
            return []
        text = f"after a kill at rest the log has {len(after.log)} lines instead of {len(shown.log)}"
        return [Violation(invariant=Invariant.NOTHING_LOST, text=text)]

    def _new_life(self) -> Life:
        self._lives += 1
        directory = self._directory_of(self._lives)
        directory.mkdir(exist_ok=True)
        return Life(
            directory,
            id_seed=self._scenario.seed * 1_000 + self._lives,
            lazy_fetch_bytes=self._scenario.lazy_fetch_bytes,
            windows=self._scenario.windows,
            timeline=self._timeline,
            network=self._network,
            app=self._app,
            events=self._events,
            history=self._history,
        )

    def _directory_of(self, life: int) -> Path:
        return self._directory / f"life-{life}"

    def _plan(self, step: Step) -> None:
        """Tell the destinations how they will react."""
        for spec in getattr(step, "specs", ()):
            self._network.plans |= spec.plans()


async def _start_and_read(life: Life) -> Shown:
    await life.start()
    assert life.client is not None
    return await read_all(life.client)


@contextmanager
def _listening(faults: list[str]) -> Iterator[None]:
    """Collect the errors that the emulator logs, and keep its log from the console."""
    logger = logging.getLogger("emulator")
    handler = _Collector(faults)
    was_propagating = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = was_propagating
        logger.removeHandler(handler)


class _Collector(logging.Handler):
    def __init__(self, faults: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._faults = faults
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._faults.append(self.format(record))


def _quick_directory() -> str | None:
    """Return a directory in memory where there is one: durability is simulated, so no disk is needed."""
    quick = Path("/dev/shm")
    return str(quick) if quick.is_dir() else None
