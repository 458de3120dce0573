"""Prometheus metrics: counters of this process, and gauges read from the records at each scrape.

Names follow Prometheus' conventions: a prefix for the system, base units (seconds), ``_total`` for counters.
The gauges are the same from every worker: a query takes their ``max``, and sums the counters.
"""

from collections.abc import Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.values import ValueClass
from sqlalchemy import Connection

from jobs_core.engine.app_context import AppContext
from jobs_core.engine.handler_threads import HandlerThreads
from jobs_core.engine.metrics_hook import Observer
from jobs_core.model.envelope import PROBE_JOB_TYPE
from jobs_core.model.states import AttemptOutcome, JobStatus
from jobs_core.monitoring import statistics

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class ProcessMetrics(Observer):
    """The counters of this process, without the deployment check's probes."""

    def __init__(self) -> None:
        self.registry: CollectorRegistry = CollectorRegistry()
        self._enqueued = Counter(
            "jobs_core_jobs_enqueued", "Jobs recorded by this process.", ["job_type"], registry=self.registry
        )
        self._attempts = Counter(
            "jobs_core_attempts",
            "Attempts that ended in this process, by outcome.",
            ["job_type", "outcome"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "jobs_core_attempt_duration_seconds",
            "How long attempts took.",
            ["job_type"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._rejected = Counter(
            "jobs_core_deliveries_rejected",
            "Deliveries whose signature did not verify, by cause.",
            ["cause"],
            registry=self.registry,
        )

    def enqueued(self, job_type: str) -> None:
        if job_type != PROBE_JOB_TYPE:
            self._enqueued.labels(job_type).inc()

    def attempted(self, job_type: str, outcome: AttemptOutcome, seconds: float) -> None:
        if job_type == PROBE_JOB_TYPE:
            return
        self._attempts.labels(job_type, outcome.value).inc()
        self._seconds.labels(job_type).observe(max(seconds, 0.0))

    def rejected(self, cause: str) -> None:
        self._rejected.labels(cause).inc()


class Records:
    """The gauges read from the records, as metric families."""

    def __init__(
        self, unfinished: list[tuple[str, JobStatus, int]], outbox: int, overdue_seconds: float
    ) -> None:
        self._unfinished = unfinished
        self._outbox = outbox
        self._overdue_seconds = overdue_seconds

    def collect(self) -> Iterator[GaugeMetricFamily]:
        jobs = GaugeMetricFamily(
            "jobs_core_unfinished_jobs", "Jobs that are pending or processing.", labels=["job_type", "status"]
        )
        for job_type, status, count in self._unfinished:
            jobs.add_metric([job_type, status.value], count)
        yield jobs
        yield GaugeMetricFamily(
            "jobs_core_outbox_messages", "Messages that are still to be published.", value=self._outbox
        )
        yield GaugeMetricFamily(
            "jobs_core_most_overdue_job_seconds",
            "For how long the most overdue pending job should have been tried; 0 if none is overdue.",
            value=self._overdue_seconds,
        )


class ThreadGauges:
    """The threads of this process, as metric families."""

    def __init__(self, threads: HandlerThreads) -> None:
        self._threads = threads

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(
            "jobs_core_handler_threads_busy", "Threads in which a handler runs.", value=self._threads.busy
        )
        yield GaugeMetricFamily(
            "jobs_core_handler_threads_hung",
            "Threads whose handler outlived its timeout.",
            value=self._threads.hung,
        )


async def expose(metrics: ProcessMetrics, context: AppContext) -> bytes:
    """Return all metrics in Prometheus' text format.

    With PROMETHEUS_MULTIPROC_DIR set, the counters are those of all processes that share the directory, from
    whichever process they are read.
    """
    now = context.clock.now()
    found = CollectorRegistry()
    found.register(await context.database.read(lambda connection: _read(connection, now)))
    found.register(ThreadGauges(context.threads))
    if is_shared():
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared) + generate_latest(found)
    return generate_latest(metrics.registry) + generate_latest(found)


def is_shared() -> bool:
    """Return whether prometheus_client keeps its values in shared files, which is decided when it is imported."""
    return bool(ValueClass.__name__ == "MmapedValue")


def _read(connection: Connection, now: datetime) -> Records:
    due_at = statistics.oldest_overdue_at(connection, now=now)
    return Records(
        statistics.unfinished(connection),
        statistics.outbox_size(connection),
        (now - due_at).total_seconds() if due_at is not None else 0.0,
    )
