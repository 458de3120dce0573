"""One trace from enqueue through publish and every delivery to the handler, from an in-memory exporter."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, StatusCode
from starlette.types import ASGIApp

from emulator.testing import Harness, Receiver
from emulator.tracing.middleware import PublishTracing
from emulator.tracing.transport import TracingTransport
from jobs_core import Job, JobDispatcher, Payload, Registry, Settings, create_app, job
from jobs_core.database import migrations

BASE_URL = "https://app.example.com"


def context_of(span: ReadableSpan) -> SpanContext:
    found = span.get_span_context()
    assert found is not None
    return found


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """The application's tracing. An application sets it once, for the process; other tests must not see it."""
    made = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(made))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield made
    provider.shutdown()


@dataclass
class Traced:
    """An emulator that traces."""

    harness: Harness
    app: ASGIApp
    exporter: InMemorySpanExporter

    def tree(self) -> list[str]:
        """The finished spans as an indented tree. Fails if there is more than one trace."""
        spans = self.exporter.get_finished_spans()
        assert len({context_of(span).trace_id for span in spans}) == 1
        ids = {context_of(span).span_id for span in spans}
        roots = [span for span in spans if span.parent is None or span.parent.span_id not in ids]
        return [line for root in roots for line in self._lines(root, 0)]

    def _lines(self, span: ReadableSpan, depth: int) -> list[str]:
        children = [
            child
            for child in self.exporter.get_finished_spans()
            if child.parent is not None and child.parent.span_id == context_of(span).span_id
        ]
        ordered = sorted(children, key=lambda child: child.start_time or 0)
        failed = " failed" if span.status.status_code is StatusCode.ERROR else ""
        return [
            f"{'  ' * depth}{span.name}{failed}",
            *(line for child in ordered for line in self._lines(child, depth + 1)),
        ]


@pytest.fixture
async def traced(exporter: InMemorySpanExporter) -> AsyncIterator[Traced]:
    harness = Harness()
    tracer = trace.get_tracer("emulator")
    harness._emulator.transport = TracingTransport(harness._emulator.transport, tracer)
    async with harness:
        yield Traced(harness, PublishTracing(harness.app, tracer), exporter)


class Work(Payload):
    note: str = ""


@job(
    "work", endpoint="/api/jobs/work", retries=2, timeout=timedelta(seconds=5), description="Fails at first."
)
async def work(payload: Work, job: Job) -> None:
    if job.attempt_number == 1:
        raise RuntimeError("not yet")


async def test_a_job_is_one_trace_with_a_span_for_each_attempt(traced: Traced, tmp_path: Path) -> None:
    database_url = f"sqlite:///{tmp_path / 'jobs.db'}"
    migrations.upgrade(database_url)

    class Time:
        def now(self) -> datetime:
            return datetime.fromtimestamp(traced.harness.now / 1000, UTC)

    settings = Settings(database_url=database_url, base_url=BASE_URL, qstash_url="http://localhost:8080")
    async with JobDispatcher(
        settings, registry=Registry([work]), clock=Time(), transport=httpx.ASGITransport(traced.app)
    ) as dispatcher:
        traced.harness.mount(BASE_URL, create_app(dispatcher=dispatcher))
        job_id = await dispatcher.enqueue(work, Work(note="x"))
        await traced.harness.run_until_idle()
        assert (await dispatcher.get(job_id)).attempt_count == 2
    assert traced.tree() == [
        "enqueue work",
        "  publish",
        "    deliver POST failed",
        "      process work failed",
        "    deliver POST",
        "      process work",
    ]
    process = [span for span in traced.exporter.get_finished_spans() if span.name == "process work"]
    assert [dict(span.attributes or {})["jobs.id"] for span in process] == [job_id, job_id]


async def test_a_publish_without_a_trace_starts_one_that_the_destination_continues(traced: Traced) -> None:
    receiver = Receiver(now=lambda: 0)
    traced.harness.mount("https://example.com", receiver)
    transport = httpx.ASGITransport(traced.app)
    headers = {"Authorization": f"Bearer {traced.harness.token}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080") as client:
        answer = await client.post("/v2/publish/https://example.com/hook", headers=headers)
        assert answer.status_code == 201
        await traced.harness.settle()
        refused = await client.post("/v2/publish/nothing", headers=headers)
        assert refused.status_code == 404
    spans = {span.name: span for span in traced.exporter.get_finished_spans()[:2]}
    carried = receiver.got[0].headers["traceparent"]
    deliver = context_of(spans["deliver POST"])
    assert carried.split("-")[1:3] == [f"{deliver.trace_id:032x}", f"{deliver.span_id:016x}"]
    assert traced.exporter.get_finished_spans()[-1].status.status_code is StatusCode.ERROR


async def test_without_tracing_a_forwarded_context_travels_as_it_is(qstash: Harness, receiver: Any) -> None:
    context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await qstash.client.post(
        "/v2/publish/https://example.com/hook", headers={"Upstash-Forward-Traceparent": context}
    )
    await qstash.settle()
    assert receiver.got[0].headers["traceparent"] == context
