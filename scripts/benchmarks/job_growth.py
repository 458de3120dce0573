"""Measure a job's statements as PostgreSQL holds more jobs, and while a clean-up deletes most of them."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, make_url, text

from jobs_core import DeliveryOptions, JobFilter
from jobs_core.database import job_attempts, job_queries, migrations, new_jobs
from jobs_core.database.connections import driver_url
from jobs_core.database.job_attempts import Claim, Ended
from jobs_core.database.new_jobs import NewJob
from jobs_core.handlers.retention import executions_batch
from jobs_core.model.message import Message
from jobs_core.model.outcome import Finish
from jobs_core.model.states import AttemptOutcome, Event
from jobs_core.monitoring import statistics
from scripts.benchmarks.figures import Mark
from scripts.benchmarks.job_queries import NOW, fill
from scripts.benchmarks.setting import Bench

_LEAST = 1_000
_GROUP = 20  # jobs in one transaction, as under load
_ROUNDS = 60
_HOURLY = 1_000  # jobs of the last hour, whatever the total
_BATCH = 500  # jobs that the clean-up deletes in one statement
_MARK = Mark(0.8)

# Milliseconds of each round, by the operation.
Times = dict[str, list[float]]


@dataclass
class _Jobs:
    """A database with jobs, and the measurements made in it."""

    engine: Engine
    times: Times = field(default_factory=dict)
    made: int = 0

    def round(self) -> None:
        """Record a group of jobs and run them to their end; then read a page of jobs and the health figures."""
        self.made += 1
        ids = [f"{self.made:08}-{place:04}" for place in range(_GROUP)]
        until = NOW + timedelta(minutes=1)
        new = [_job(job_id) for job_id in ids]
        claims = [Claim(job_id, f"msg-{job_id}", NOW, until) for job_id in ids]
        how = Finish(Event.COMPLETE, AttemptOutcome.COMPLETED, 200, result={"sent": 1})
        ended = [Ended(job_id, 1, how, NOW) for job_id in ids]
        self._time("enqueue", lambda connection: new_jobs.insert_jobs(connection, new, locked_until=until))
        self._time("claim", lambda connection: job_attempts.claim(connection, claims))
        self._time("finish", lambda connection: job_attempts.finish(connection, ended))
        self._time("list", lambda connection: job_queries.page(connection, JobFilter()))
        since = NOW - timedelta(hours=1)
        self._time("health", lambda connection: statistics.health(connection, since=since))

    def _time(self, name: str, work: Callable[[Connection], Any]) -> None:
        began = time.perf_counter()
        with self.engine.begin() as connection:
            work(connection)
        self.times.setdefault(name, []).append((time.perf_counter() - began) * 1000)

    def clean_up(self, stop: threading.Event) -> int:
        """Delete all jobs older than an hour in batches, until none is left or ``stop`` is set. Return how many."""
        removed = 0
        before = NOW - timedelta(hours=1)
        while not stop.is_set():
            with self.engine.begin() as connection:
                batch = executions_batch(connection, before, _BATCH)
            removed += batch
            if batch < _BATCH:
                break
        return removed


async def job_growth(bench: Bench) -> None:
    """Measure milliseconds for a group of jobs. Each ratio is the rate with many jobs over the rate with a thousand."""
    from scripts.benchmarks.jobs import _postgres, _try

    with contextlib.ExitStack() as stack:
        url = _try(bench, "PostgreSQL", lambda: stack.enter_context(_postgres()))
        if url is None:
            return
        few = stack.enter_context(_filled(url, _LEAST))
        many = stack.enter_context(_filled(url, bench.size.stored_jobs))
        stored = f"{bench.size.stored_jobs:,} stored"
        _take_turns(few, many)
        _report(bench, f"at {stored}", few, many)
        few.times, many.times = {}, {}
        stop, removed, spent = threading.Event(), [0], time.perf_counter()
        cleaning = threading.Thread(target=lambda: removed.append(many.clean_up(stop)))
        cleaning.start()
        _take_turns(few, many)
        stop.set()
        cleaning.join()
        _report(bench, f"beside a clean-up, at {stored}", few, many)
        bench.report.note(
            f"the clean-up removed {sum(removed):,} jobs in {time.perf_counter() - spent:.1f} s"
        )


@contextlib.contextmanager
def _filled(server: str, jobs: int) -> Iterator[_Jobs]:
    name = f"jobs_{jobs}"
    admin = create_engine(driver_url(server), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    migrations.upgrade(url)
    engine = create_engine(driver_url(url))
    try:
        fill(engine, jobs, span=timedelta(hours=jobs / _HOURLY))
        yield _Jobs(engine)
    finally:
        engine.dispose()


def _take_turns(few: _Jobs, many: _Jobs) -> None:
    for jobs in (few, many):
        jobs.round()
        jobs.times.clear()  # the first one warms the caches
    for _ in range(_ROUNDS):
        few.round()
        many.round()


def _report(bench: Bench, where: str, few: _Jobs, many: _Jobs) -> None:
    for name, spent in many.times.items():
        rates = [1000 / one for one in spent]
        least = [1000 / one for one in few.times[name]]
        bench.report.add(
            "job growth", f"{name} {where}", "groups/s", rates, against=(f"at {_LEAST:,}", least), mark=_MARK
        )


def _job(job_id: str) -> NewJob:
    message = Message(
        job_id=job_id, destination="http://localhost/api/jobs/work", body="{}", headers={},
        deduplication_id=job_id, queue=None, deliver_at=None,
    )  # fmt: skip
    return NewJob(
        job_id, "type-1", {"text": "some payload of ordinary length"}, DeliveryOptions(), 3, NOW, message,
        user_id=7, organization_id=7,
    )  # fmt: skip
