"""Start everything, break it for some time, wait until all jobs have ended, and count their outcomes."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import httpx
import psycopg

from emulator.testing import ServerProcess
from jobs_core.database import migrations
from tests.balancing import balanced
from tests.bounds import HANG_SECONDS
from tests.postgres import Postgres, running_postgres
from tests.simulation.chaos.job_types import TIMEOUT_SECONDS

WORKERS = 3
PRODUCERS = 2
_PER_SECOND = 4.0
# docs/core-concepts.md: a lease is the handler's timeout and ten seconds more.
_FROZEN_SECONDS = TIMEOUT_SECONDS + 12
_LONGEST_DRAIN_SECONDS = 1_800
_ROOT = Path(__file__).parents[3]


@dataclass
class Report:
    """The faults that were injected, and the outcomes of the jobs."""

    done: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    recorded: int = 0
    completed: int = 0
    attempts: int = 0
    lost_attempts: int = 0
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        acts = ", ".join(f"{count} {act}" for act, count in sorted(self.done.items()))
        return (
            f"{acts}: {self.acknowledged} jobs acknowledged, {self.recorded} recorded, {self.completed} completed,"
            f" {self.attempts} attempts of which {self.lost_attempts} were lost: {len(self.violations)} violations"
        )


def break_things(
    directory: Path, *, seconds: float, seed: int, note: Callable[[str], None] = lambda _: None
) -> Report:
    """Break things for ``seconds`` and return the report. ``directory`` must be empty and unused by others."""
    with (
        running_postgres(is_forgetful=False) as postgres,
        ServerProcess(db=str(directory / "q.db")) as qstash,
    ):
        url = postgres.create("chaos")
        migrations.upgrade(url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE chaos_done (job_id text)")
        return asyncio.run(_Chaos(directory, postgres, url, qstash, seed, note).run(seconds))


class _Chaos:
    def __init__(
        self,
        directory: Path,
        postgres: Postgres,
        url: str,
        qstash: ServerProcess,
        seed: int,
        note: Callable[[str], None],
    ) -> None:
        self._directory, self._postgres, self._url, self._note = directory, postgres, url, note
        self._random = Random(seed)
        self._address, *self._ports = (_free_port() for _ in range(1 + WORKERS))
        self._environment = {
            **os.environ,
            **qstash.new_tenant(),
            "BASE_URL": f"http://127.0.0.1:{self._address}",
            "DATABASE_URL": url,
            "JOBS_MODULES": "tests.simulation.chaos.job_types",
            "PYTHONPATH": str(_ROOT),
        }
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._producers: dict[int, subprocess.Popen[bytes]] = {}
        self._thawing: set[asyncio.Task[None]] = set()
        self._report = Report()

    async def run(self, seconds: float) -> Report:
        """Break things for ``seconds``, then wait until all jobs have ended."""
        async with balanced(self._address, self._ports):
            try:
                await asyncio.gather(*(self._start_worker(port) for port in self._ports))
                for number in range(PRODUCERS):
                    self._start_producer(number)
                await self._break(seconds)
                self._end(self._producers.values(), signal.SIGTERM)
                await asyncio.gather(*self._thawing)
                await self._wait_for_the_end()
            finally:
                self._end(self._workers.values(), signal.SIGCONT)
                self._end([*self._workers.values(), *self._producers.values()], signal.SIGTERM)
        self._count()
        return self._report

    async def _break(self, seconds: float) -> None:
        until = monotonic() + seconds
        acts = {
            self._kill_worker: 5,
            self._kill_producer: 3,
            self._terminate_worker: 2,
            self._freeze_worker: 2,
            self._restart_database: 1,
        }
        while monotonic() < until:
            await asyncio.sleep(self._random.uniform(0.5, 4.0))
            [act] = self._random.choices(list(acts), list(acts.values()))
            await act()
            self._note(f"{max(0, until - monotonic()):.0f} s left: {dict(self._report.done)}")

    async def _kill_worker(self) -> None:
        await self._replace_worker("workers killed", signal.SIGKILL)

    async def _terminate_worker(self) -> None:
        await self._replace_worker("workers stopped", signal.SIGTERM)

    async def _replace_worker(self, act: str, number: signal.Signals) -> None:
        port = self._random.choice(self._ports)
        self._report.done[act] += 1
        self._workers[port].send_signal(signal.SIGCONT)
        self._workers[port].send_signal(number)
        await asyncio.to_thread(self._workers[port].wait, HANG_SECONDS)
        await self._start_worker(port)

    async def _freeze_worker(self) -> None:
        worker = self._workers[self._random.choice(self._ports)]
        self._report.done["workers frozen"] += 1
        worker.send_signal(signal.SIGSTOP)

        async def thaw() -> None:
            await asyncio.sleep(_FROZEN_SECONDS)
            worker.send_signal(signal.SIGCONT)

        self._thawing.add(asyncio.create_task(thaw()))

    async def _kill_producer(self) -> None:
        number = self._random.randrange(PRODUCERS)
        self._report.done["producers killed"] += 1
        self._end([self._producers[number]], signal.SIGKILL)
        self._start_producer(number)

    async def _restart_database(self) -> None:
        self._report.done["restarts of PostgreSQL"] += 1
        await asyncio.to_thread(self._postgres.restart_at_once)

    async def _start_worker(self, port: int) -> None:
        tool = shutil.which("jobs-core", path=str(Path(sys.executable).parent))
        assert tool is not None
        self._workers[port] = self._spawn(f"worker-{port}", tool, "serve", "--port", str(port))
        async with httpx.AsyncClient(timeout=HANG_SECONDS, trust_env=False) as client:
            for _ in range(HANG_SECONDS * 20):
                with contextlib.suppress(httpx.TransportError):
                    await client.get(f"http://127.0.0.1:{port}/livez")
                    return
                await asyncio.sleep(0.05)
        raise RuntimeError(f"a worker did not start; see {self._directory}")

    def _start_producer(self, number: int) -> None:
        path = str(self._directory / "acknowledged")
        module = "tests.simulation.chaos.producer"
        self._producers[number] = self._spawn(
            f"producer-{number}", sys.executable, "-m", module, path, str(_PER_SECOND)
        )

    def _spawn(self, name: str, *command: str) -> "subprocess.Popen[bytes]":
        with (self._directory / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command, env=self._environment, stdout=log, stderr=log, cwd=self._directory
            )

    def _end(self, processes: "Iterable[subprocess.Popen[bytes]]", number: signal.Signals) -> None:
        for process in list(processes):
            process.send_signal(number)
            if number is not signal.SIGCONT:
                process.wait(HANG_SECONDS)

    async def _wait_for_the_end(self) -> None:
        until = monotonic() + _LONGEST_DRAIN_SECONDS
        while monotonic() < until:
            if not (
                left := self._ask("SELECT count(*) FROM job_executions WHERE completed_at IS NULL")[0][0]
            ):
                return
            self._note(f"waiting for {left} jobs")
            await asyncio.sleep(1)

    def _ask(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._url) as connection:
            return connection.execute(query.encode()).fetchall()

    def _count(self) -> None:
        report = self._report
        path = self._directory / "acknowledged"
        # A line without its end is no acknowledgement: the producer was killed while writing it.
        acknowledged = {line for line in path.read_text().split("\n")[:-1] if line}
        found = {row[0]: row[1] for row in self._ask("SELECT job_id, status FROM job_executions")}
        completed = Counter(
            row[0] for row in self._ask("SELECT job_id FROM job_attempts WHERE outcome = 'completed'")
        )
        written = Counter(row[0] for row in self._ask("SELECT job_id FROM chaos_done"))
        outcomes = Counter(row[0] for row in self._ask("SELECT outcome FROM job_attempts"))
        report.acknowledged, report.recorded = len(acknowledged), len(found)
        report.completed = sum(status == "completed" for status in found.values())
        report.attempts, report.lost_attempts = outcomes.total(), outcomes["lost"]
        report.violations += [
            f"{job_id} was acknowledged, and has no record" for job_id in acknowledged - found.keys()
        ]
        for job_id, status in found.items():
            if status != "completed":
                report.violations.append(f"{job_id} is {status}")
            elif completed[job_id] != 1 or written[job_id] != 1:
                report.violations.append(
                    f"{job_id} was completed by {completed[job_id]} attempts and written {written[job_id]} times"
                )
        if outcomes["running"]:
            report.violations.append(f"{outcomes['running']} attempts are still running")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
