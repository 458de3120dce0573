"""Time the queries on job records with a hundred thousand jobs in PostgreSQL, and keep their plans.

Lists, stats and health have a mark to reach. The two others read more: stats over all jobs count every row,
and the sweep, once a minute, reads the records of up to 500 late jobs.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text

from jobs_core import JobFilter, JobStatus
from jobs_core.database import job_queries, migrations
from jobs_core.database.connections import driver_url
from jobs_core.monitoring import statistics
from scripts.benchmarks.figures import Mark
from scripts.benchmarks.setting import Bench

JOBS = 100_000
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
_MARK = Mark(50, "most")
_REPEATS = 20

# Jobs of seven types, evenly over a span of time, the newest unfinished, one in a hundred failed.
_FILL = """
INSERT INTO job_executions (job_id, job_type, status, payload, options, retry_count, max_retries, attempt_count,
                            run, user_id, organization_id, message_id, started_at, completed_at, created_at, updated_at)
SELECT gen_random_uuid()::text, 'type-' || n % 7, status, '{"text": "some payload of ordinary length"}', '{}', 0, 3,
       1, 0, (n % 5000)::text, (n % 50)::text, 'msg_' || n, created_at + interval '1 second',
       CASE WHEN status IN ('pending', 'processing') THEN NULL ELSE created_at + interval '3 seconds' END,
       created_at, created_at
FROM (SELECT n, CAST(:now AS timestamptz) - (CAST(:jobs AS integer) - n)
                * (CAST(:span AS interval) / CAST(:jobs AS integer)) AS created_at,
             CASE WHEN n % 100 = 0 THEN 'failed' WHEN n % 997 = 0 THEN 'cancelled'
                  WHEN n > CAST(:jobs AS integer) * 0.999 THEN 'processing'
                  WHEN n > CAST(:jobs AS integer) * 0.995 THEN 'pending' ELSE 'completed' END AS status
      FROM generate_series(1, CAST(:jobs AS integer)) AS n) AS made
"""
_FILL_ATTEMPTS = """
INSERT INTO job_attempts (job_id, number, outcome, started_at, finished_at)
SELECT job_id, 1, 'completed', started_at, completed_at FROM job_executions
"""

QUESTIONS: dict[str, Callable[[Connection], Any]] = {
    "list, newest": lambda connection: job_queries.page(connection, JobFilter()),
    "list, failed": lambda connection: job_queries.page(connection, JobFilter(status=JobStatus.FAILED)),
    "list, processing": lambda connection: job_queries.page(
        connection, JobFilter(status=JobStatus.PROCESSING)
    ),
    "list, cancelled": lambda connection: job_queries.page(connection, JobFilter(status=JobStatus.CANCELLED)),
    "list, one type": lambda connection: job_queries.page(connection, JobFilter(job_type="type-3")),
    "list, one user": lambda connection: job_queries.page(connection, JobFilter(user_id=77)),
    "list, one organization": lambda connection: job_queries.page(connection, JobFilter(organization_id=7)),
    "list, a page far back": lambda connection: job_queries.page(connection, JobFilter(before_id=2_000)),
    "stats, 24 hours": lambda connection: job_queries.stats(connection, since=NOW - timedelta(days=1)),
    "stats, everything": lambda connection: job_queries.stats(connection, since=NOW - timedelta(days=7)),
    "health, 1 hour": lambda connection: statistics.health(connection, since=NOW - timedelta(hours=1)),
    "health, stuck jobs": lambda connection: statistics.stuck(
        connection, started_before=NOW - timedelta(minutes=10)
    ),
    "sweep": lambda connection: job_queries.overdue(
        connection, expected_before=NOW - timedelta(minutes=10), limit=500
    ),
}
UNMARKED = frozenset({"stats, everything", "sweep"})


def fill(engine: Engine, jobs: int, *, span: timedelta = timedelta(days=7)) -> None:
    """Fill empty, migrated tables with ``jobs`` finished and unfinished jobs created within the last ``span``."""
    with engine.begin() as connection:
        connection.execute(text(_FILL), {"now": NOW, "jobs": jobs, "span": span})
        connection.execute(text(_FILL_ATTEMPTS))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def plans(engine: Engine, ask: Callable[[Connection], Any]) -> list[str]:
    """Return the plan of each statement that ``ask`` executes."""
    found = []
    with engine.connect() as connection, _statements(engine) as executed:
        ask(connection)
        for statement, parameters in list(executed):
            rows = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", parameters)
            found.append("\n".join(row[0] for row in rows))
    return found


@contextmanager
def _statements(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    executed: list[tuple[str, Any]] = []

    def keep(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        executed.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", keep)
    try:
        yield executed
    finally:
        event.remove(engine, "before_cursor_execute", keep)


async def measure_job_queries(bench: Bench) -> None:
    """Measure milliseconds until a caller has its answer. The plans are written to the folder of the pictures."""
    from scripts.benchmarks.jobs import _postgres, _try

    with contextlib.ExitStack() as stack:
        url = _try(bench, "PostgreSQL", lambda: stack.enter_context(_postgres()))
        if url is None:
            return
        migrations.upgrade(url)
        engine = create_engine(driver_url(url))
        stack.callback(engine.dispose)
        fill(engine, JOBS)
        told = []
        for name, ask in QUESTIONS.items():
            mark = None if name in UNMARKED else _MARK
            bench.report.add("job records", name, "ms", _times(engine, ask), mark=mark)
            told += [f"## {name}\n\n{plan}\n" for plan in plans(engine, ask)]
        target = bench.pictures / "job-query-plans.txt"
        target.write_text("\n".join(told))
        bench.report.note(f"{JOBS:,} jobs in PostgreSQL; the plans are in {target}")


def _times(engine: Engine, ask: Callable[[Connection], Any]) -> list[float]:
    spent = []
    with engine.connect() as connection:
        ask(connection)  # the first one warms the caches
        for _ in range(_REPEATS):
            began = time.perf_counter()
            ask(connection)
            spent.append((time.perf_counter() - began) * 1000)
    return spent
