"""The world gives the processes their turns, in an order that the seed decides, and advances time."""

import asyncio
import heapq
import itertools
import sqlite3
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any, assert_never

from sqlalchemy import create_engine

from emulator.server import Emulator
from emulator.settings import Settings as EmulatorSettings
from jobs_core.database.tables import JobsModel
from jobs_core.settings.settings import Environment, Settings
from tests.simulation.jobs.callers import ask, enqueue
from tests.simulation.jobs.database import SimulatedDatabase
from tests.simulation.jobs.history import Enqueued, History, Trouble
from tests.simulation.jobs.network import Network
from tests.simulation.jobs.processes import BASE_URL, JobsProcess, Process, QStash
from tests.simulation.jobs.scenario import (
    Ask,
    ChangeWeather,
    Enqueue,
    Freeze,
    How,
    JobSpec,
    Kill,
    LoseCommit,
    LoseDatabase,
    Scenario,
    Step,
    Terminate,
)
from tests.simulation.simulator.events import EventLog
from tests.simulation.simulator.timeline import BASE_AT, Timeline

CALLER = "caller"
SECOND = 1_000_000
_DOWNTIME_US = SECOND
# A message sent after another one's retries are used up may come a day later, and its successor another day later.
_LONGEST_DRAIN_US = 4 * 86_400 * SECOND
# While the world only waits, intervals grow with the time that has passed: by this part of it.
_PATIENCE = 0.05

# Triggers record the changes in the database itself, independently of the job system.
_SEEN = """
CREATE TABLE seen (id INTEGER PRIMARY KEY, job_id TEXT, status TEXT, run INTEGER, attempts INTEGER, at TEXT);
CREATE TABLE effects (job_id TEXT, number INTEGER);
CREATE TABLE orders (label TEXT);
CREATE TRIGGER see_change AFTER UPDATE OF status ON job_executions WHEN OLD.status != NEW.status OR OLD.run != NEW.run
BEGIN INSERT INTO seen (job_id, status, run, attempts, at)
      VALUES (NEW.job_id, NEW.status, NEW.run, NEW.attempt_count, NEW.updated_at); END;
"""

_LEFT = """
SELECT (SELECT count(*) FROM job_outbox) + (SELECT count(*) FROM job_executions WHERE completed_at IS NULL)
"""


class SimulatedJobsClock:
    """The clock of the job system's processes."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._base = datetime.fromtimestamp(BASE_AT / 1000, UTC)

    def now(self) -> datetime:
        return self._base + timedelta(microseconds=self._timeline.now_us)


class World:
    """The processes, network, database and time of one scenario."""

    def __init__(self, scenario: Scenario, directory: Path) -> None:
        self.seed = scenario.seed
        self.timeline = Timeline(scenario.seed)
        self.events = EventLog(self.timeline)
        self.history = History()
        self.random = Random(scenario.seed)
        self.clock = SimulatedJobsClock(self.timeline)
        self.network = Network(self)
        self._mended_us: int | None = None
        path = directory / "jobs.db"
        path.write_bytes(_empty_database())
        self.database = SimulatedDatabase(path, self.note)
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._downtime_us: dict[str, int] = {}
        self._past: list[Process] = []
        self.settings = Settings.load(
            database_url=self.database.url, base_url=BASE_URL, environment=Environment.TEST
        )
        (directory / "qstash.db").write_bytes(_empty_store())
        self.qstash = QStash(self, directory)
        self._processes: dict[str, Process] = {self.qstash.name: self.qstash}
        for number in range(scenario.workers):
            self._start(f"worker-{number + 1}")
        self._start(CALLER)
        for step in scenario.steps:
            self.at(step.at_us, partial(self._take, step))
        self._last_us = max((step.at_us for step in scenario.steps), default=0)

    # --- called by the processes

    @property
    def now_us(self) -> int:
        return self.timeline.now_us

    def note(self, text: str, *tags: str) -> None:
        """Add a line to the event log; ``tags`` are ids of jobs."""
        self.events.note(text, *tags)

    def fault(self, text: str) -> None:
        """Record an error that no injected fault excuses."""
        if not self.database.is_away:
            self.note(f"fault     {text}")
            self.history.faults.append(text)

    def trouble(self, kind: str, process: str = "", *, seconds: float = 0) -> None:
        until_us = self.now_us + round(seconds * SECOND)
        self.history.troubles.append(Trouble(kind=kind, process=process, from_us=self.now_us, to_us=until_us))

    def at(self, us: int, what: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (us, next(self._order), what))

    def after(self, us: int, what: Callable[[], None]) -> None:
        self.at(self.now_us + us, what)

    def some_worker(self) -> Process | None:
        """Return a worker that accepts connections, as a load balancer chooses one, or ``None``."""
        found = [
            process
            for process in self._processes.values()
            if isinstance(process, JobsProcess)
            and process.is_worker
            and process.is_alive
            and process.is_listening
        ]
        return self.random.choice(found) if found else None

    def wants(self, spec: JobSpec, how: How, *, parent_label: str | None = None) -> Enqueued:
        """Record that a caller is about to enqueue a job."""
        enqueued = Enqueued(
            spec=spec,
            asked_us=self.now_us,
            is_rolled_back=how.is_rolled_back,
            is_in_transaction=how is not How.CALL,
            parent_label=parent_label,
        )
        self.history.enqueued[spec.label] = enqueued
        return enqueued

    def spec_of(self, label: str) -> JobSpec:
        return self.history.enqueued[label].spec

    def freeze(self, process: Process, seconds: float) -> None:
        """Give the process no turns for ``seconds``."""
        process.frozen_until_us = self.now_us + round(seconds * SECOND)
        self.note(f"frozen    {process.name} for {seconds:g} s")
        self.trouble("frozen", process.name, seconds=seconds)

    def died(self, process: Process) -> None:
        """Start another process in its place after the downtime."""
        self._past.append(process)
        self.after(self._downtime_us.pop(process.name, _DOWNTIME_US), lambda: self._start(process.name))

    @property
    def least_interval_seconds(self) -> float:
        """The shortest pause between two runs of work at intervals, in seconds."""
        return 0.0 if self._mended_us is None else _PATIENCE * (self.now_us - self._mended_us) / SECOND

    # --- its course

    def live_through(self) -> None:
        """Run all steps, undo their faults, and go on until nothing is left to do."""
        self._live(lambda: False, self._last_us + SECOND)
        self._mend()
        self._live(self._is_idle, self.now_us + _LONGEST_DRAIN_US)
        self.note("idle" if self._is_idle() else "not idle after four days")
        self.history.faults += [text for process in self._everyone() for text in process.loop.unexpected]

    def close(self) -> None:
        """Close and remove everything."""
        closing = self.qstash.close()
        self._live(closing.done, self.now_us + 60 * SECOND)
        for process in self._everyone():
            process.is_alive = False
            process.loop.bury()
            process.close_files()

    def _everyone(self) -> list[Process]:
        return [*self._past, *(process for process in self._processes.values() if process not in self._past)]

    def _live(self, is_over: Callable[[], bool], until_us: int) -> None:
        look_us = self.now_us
        while True:
            ready = [
                process for process in self._processes.values() if process.has_turns and process.loop.is_ready
            ]
            if ready:
                self.random.choice(ready).turn()
                continue
            if self.now_us >= look_us:
                if is_over():
                    return
                look_us = self.now_us + round((1 + self.least_interval_seconds) * SECOND)
            if not self._pass_time(until_us):
                return

    def _pass_time(self, until_us: int) -> bool:
        """Advance time to the next event. Return false if there is none before ``until_us``."""
        times = [us for process in self._processes.values() if (us := process.next_us()) is not None]
        if self._agenda:
            times.append(self._agenda[0][0])
        next_us = max(self.now_us, min(times, default=until_us))
        if next_us >= until_us:
            self.timeline.now_us = max(self.now_us, until_us)
            return False
        self.timeline.now_us = next_us
        while self._agenda and self._agenda[0][0] <= next_us:
            heapq.heappop(self._agenda)[2]()
        return True

    def _mend(self) -> None:
        self.note("mended")
        self.network.clear()
        self.database.is_away = False
        self.database.refused_commits.clear()
        self._mended_us = self.now_us
        for process in self._processes.values():
            if isinstance(process, JobsProcess):
                process.doom.moment = None

    def _is_idle(self) -> bool:
        if self.network.under_way or self.qstash.is_busy or self.qstash.runtime.next_due_at() is not None:
            return False
        if any(process.is_busy or not process.has_turns for process in self._processes.values()):
            return False
        connection = sqlite3.connect(self.database.path)
        try:
            return bool(connection.execute(_LEFT).fetchone()[0] == 0)
        finally:
            connection.close()

    def _start(self, name: str) -> None:
        self._processes[name] = JobsProcess(self, name, is_worker=name != CALLER)
        self.note(f"started   {name}")

    # --- steps

    def _take(self, step: Step) -> None:
        self.note(f"step      {step}")
        match step:
            case Enqueue():
                self._as(step.process, lambda process: process.do(enqueue(self, process, step)))
            case Kill():
                self._as(step.process, lambda process: self._kill(process, step))
            case Freeze():
                self._as(step.process, lambda process: self.freeze(process, step.seconds))
            case Terminate():
                self._as(step.process, lambda process: self._terminate(process, step))
            case LoseDatabase():
                self._lose_database(step.seconds)
            case LoseCommit():
                self.trouble("commit lost", seconds=60)
                self.database.refused_commits.append(step.moment)
            case ChangeWeather():
                self.network.set(step.weather, step.percent)
                self.after(step.seconds * SECOND, lambda: self.network.set(step.weather, 0))
            case Ask():
                enqueued = self.history.enqueued.get(step.label)
                if enqueued is not None and enqueued.job_id is not None and not enqueued.is_rolled_back:
                    self._as(CALLER, lambda process: process.do(ask(self, process, step)))
            case _:
                assert_never(step)

    def _as(self, name: str, do: Callable[[JobsProcess], Any]) -> None:
        process = self._processes.get(name)
        if isinstance(process, JobsProcess) and process.has_turns:
            do(process)
        else:
            self.note(f"nobody is there: {name}")

    def _kill(self, process: JobsProcess, step: Kill) -> None:
        self._downtime_us[process.name] = step.downtime_ms * 1_000
        if step.moment is None:
            process.kill("at any moment")
        else:
            process.doom.moment = step.moment

    def _terminate(self, process: JobsProcess, step: Terminate) -> None:
        self._downtime_us[process.name] = step.downtime_ms * 1_000
        process.terminate(step.grace_seconds)

    def _lose_database(self, seconds: int) -> None:
        self.database.restart()
        self.trouble("database", seconds=seconds)
        if seconds:
            self.database.is_away = True
            self.after(seconds * SECOND, self._find_database)

    def _find_database(self) -> None:
        self.database.is_away = False


@cache
def _empty_store() -> bytes:
    """Return the bytes of an empty emulator database with the current schema."""
    with tempfile.TemporaryDirectory(prefix="jobs-simulation-") as directory:
        path = Path(directory) / "empty.db"
        asyncio.run(_open_once(path))
        return path.read_bytes()


async def _open_once(path: Path) -> None:
    emulator = Emulator(EmulatorSettings(db=str(path)))
    await emulator.start()
    await emulator.close(grace_seconds=0)


@cache
def _empty_database() -> bytes:
    """Return the bytes of a database with the job system's tables and the simulation's triggers."""
    with tempfile.TemporaryDirectory(prefix="jobs-simulation-") as directory:
        path = Path(directory) / "empty.db"
        engine = create_engine(f"sqlite:///{path}")
        JobsModel.metadata.create_all(engine)
        engine.dispose()
        connection = sqlite3.connect(path)
        connection.executescript(_SEEN)
        connection.close()
        return path.read_bytes()
