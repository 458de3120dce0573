"""``/metrics`` for Prometheus: counters and gauges over all tenants.

Counting begins with the first scrape, so a server without scrapes has no cost. Names follow Prometheus' conventions: a
prefix for the system, base units (seconds), ``_total`` for counters. No label names a tenant, a URL or a queue, whose
numbers are unbounded.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from emulator.broker.message import LogEntry, State
from emulator.broker.transitions import FINAL_STATES
from emulator.broker.writes import Cleared, Logged, Write
from emulator.http.control.guard import open_route
from emulator.runtime import Runtime
from emulator.server import Emulator
from emulator.store.dashboard_queries import count_dead_letters

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)


def metrics_routes() -> list[BaseRoute]:
    """Return the route of this module."""
    return [open_route("/metrics", "GET", metrics)]


async def metrics(request: Request) -> Response:
    """Return all metrics in Prometheus' text format."""
    emulator: Emulator = request.app.state.emulator
    counting: ServerMetrics | None = getattr(request.app.state, "metrics", None)
    if counting is None:
        counting = request.app.state.metrics = ServerMetrics()
    for runtime in emulator.runtimes:
        counting.watch(runtime)
    held = CollectorRegistry()
    held.register(Held(emulator, await _dead_letters(emulator)))
    return Response(
        generate_latest(counting.registry) + generate_latest(held),
        headers={"Content-Type": CONTENT_TYPE_LATEST},
    )


class ServerMetrics:
    """Counts the durable events of the watched runtimes."""

    def __init__(self) -> None:
        self.registry: CollectorRegistry = CollectorRegistry()
        self._watched: set[int] = set()
        self._started_at: dict[int, int] = {}
        self._accepted = Counter(
            "qstash_emulator_messages_accepted", "Messages accepted.", registry=self.registry
        )
        self._finished = Counter(
            "qstash_emulator_messages_finished",
            "Messages that ended, by final state.",
            ["state"],
            registry=self.registry,
        )
        self._attempts = Counter(
            "qstash_emulator_attempts",
            "Delivery attempts that ended, by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "qstash_emulator_attempt_duration_seconds",
            "How long delivery attempts took, by the tenant's clock.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        # Created at the start, so that a count of zero differs from a missing series.
        for state in FINAL_STATES:
            self._finished.labels(state.value)
        for outcome in ("success", "failure"):
            self._attempts.labels(outcome)

    def watch(self, runtime: Runtime) -> None:
        """Count the events of this runtime from now on. Call once for each runtime."""
        if runtime.tenant.id not in self._watched:
            self._watched.add(runtime.tenant.id)
            runtime.observers.append(self._note)

    def _note(self, writes: Sequence[Write]) -> None:
        for write in writes:
            if isinstance(write, Logged):
                self._count(write.entry)
            elif isinstance(write, Cleared):
                self._started_at.clear()

    def _count(self, entry: LogEntry) -> None:
        match entry.state:
            case State.CREATED:
                self._accepted.inc()
            case State.ACTIVE:
                self._started_at[entry.message_seq] = entry.time_at
            case State.ERROR:
                self._attempt_ended(entry, "failure")
            case State.DELIVERED:
                self._attempt_ended(entry, "success")
            case _:
                pass
        if entry.state in FINAL_STATES:
            self._finished.labels(entry.state.value).inc()
            self._started_at.pop(entry.message_seq, None)

    def _attempt_ended(self, entry: LogEntry, outcome: str) -> None:
        self._attempts.labels(outcome).inc()
        started_at = self._started_at.pop(entry.message_seq, None)
        if started_at is not None:
            self._seconds.observe((entry.time_at - started_at) / 1000)


class Held:
    """The present numbers of the server's objects."""

    def __init__(self, emulator: Emulator, dead_letters: int) -> None:
        self._emulator = emulator
        self._dead_letters = dead_letters

    def collect(self) -> Iterator[GaugeMetricFamily]:
        lanes = [runtime.broker.state.lanes for runtime in self._emulator.runtimes]
        for name, text, value in (
            ("attempts_in_flight", "Delivery attempts under way.", sum(each.in_flight for each in lanes)),
            (
                "messages_waiting",
                "Messages that are due and wait for capacity, a slot of their flow control, or a resume.",
                sum(each.waiting_count() for each in lanes),
            ),
            ("dead_letters", "Entries in the dead letter queue.", self._dead_letters),
            ("schedules", "Schedules, paused ones included.", self._count("schedules")),
            ("queues", "Queues.", self._count("queues")),
            ("tenants", "Tenants.", len(lanes)),
            (
                "store_refusing",
                "1 while the store refuses writes.",
                int(self._emulator.writer.refusal is not None),
            ),
        ):
            yield GaugeMetricFamily(f"qstash_emulator_{name}", text, value=value)

    def _count(self, what: str) -> int:
        return sum(len(getattr(runtime.broker.state, what)) for runtime in self._emulator.runtimes)


async def _dead_letters(emulator: Emulator) -> int:
    counts = [
        await runtime.read(partial(count_dead_letters, tenant_id=runtime.tenant.id))
        for runtime in emulator.runtimes
    ]
    return sum(counts)
