"""Set up tracing."""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from emulator import __version__


def create_provider(endpoint: str) -> TracerProvider:
    """Return a provider that sends spans to an OTLP endpoint over HTTP; ``shutdown()`` sends the last ones."""
    resource = Resource.create({"service.name": "qstash-emulator", "service.version": __version__})
    provider = TracerProvider(resource=resource)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider
