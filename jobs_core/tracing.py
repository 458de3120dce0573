"""Traces with OpenTelemetry, if the application or a setting has set it up.

A trace context is carried from ``enqueue`` to the handler in forwarded headers (W3C Trace Context), through any
number of retries and through QStash itself::

    enqueue send-email            here
    └── process send-email        in the worker, one span for each attempt

The emulator, where it traces too, puts its own spans between the two.

An application that traces has imported OpenTelemetry's API itself; otherwise it is not imported, as that is slow.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

# The headers of ``carried`` as a delivery brings them back.
TRACE_HEADERS = ("traceparent", "tracestate")


def configure(endpoint: str, *, service_name: str) -> None:
    """Send this process's spans to an OTLP endpoint over HTTP, such as ``http://127.0.0.1:4318``.

    Raises:
        ImportError: the extra ``otel`` is not installed.
    """
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": service_name}))
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces"))
    )
    trace.set_tracer_provider(provider)


@contextmanager
def enqueue_span(job_type: str) -> Iterator[None]:
    """Yield inside a span around the making of a job; ``carried`` returns its context there."""
    api = _api()
    if api is None:
        yield
        return
    attributes = {"messaging.system": "qstash", "messaging.operation.type": "send", "jobs.type": job_type}
    with _tracer(api).start_as_current_span(
        f"enqueue {job_type}", kind=api.SpanKind.PRODUCER, attributes=attributes
    ):
        yield


def carried() -> dict[str, str]:
    """Return the headers that carry the present span to its continuation; none outside a span."""
    if _api() is None:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers)
    return headers


@contextmanager
def process_span(
    job_type: str, headers: Mapping[str, str], *, job_id: str, attempt_number: int, message_id: str | None
) -> Iterator["ProcessSpan"]:
    """Yield a span around an attempt, which continues the trace in the delivery's ``headers``."""
    api = _api()
    if api is None:
        yield ProcessSpan(None)
        return
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    attributes: dict[str, Any] = {
        "messaging.system": "qstash",
        "messaging.operation.type": "process",
        "jobs.type": job_type,
        "jobs.id": job_id,
        "jobs.attempt": attempt_number,
    }
    if message_id is not None:
        attributes["messaging.message.id"] = message_id
    with _tracer(api).start_as_current_span(
        f"process {job_type}",
        context=TraceContextTextMapPropagator().extract(headers),
        kind=api.SpanKind.CONSUMER,
        attributes=attributes,
    ) as span:
        yield ProcessSpan(span)


class ProcessSpan:
    """The span of an attempt."""

    def __init__(self, span: Any) -> None:
        self._span = span

    def failed(self, error: str) -> None:
        """Record that the attempt ended with ``error``."""
        if self._span is not None:
            from opentelemetry.trace import StatusCode

            self._span.set_status(StatusCode.ERROR, error)


def _api() -> Any:
    return sys.modules.get("opentelemetry.trace")


def _tracer(api: Any) -> Any:
    return api.get_tracer("jobs_core")
