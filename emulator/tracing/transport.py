"""A span around every attempt."""

from dataclasses import replace

from opentelemetry.trace import SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from emulator.broker.message import AttemptResult
from emulator.delivery.request import OutboundRequest
from emulator.delivery.transport import Transport
from emulator.wire.headers import Headers, first_value

_PROPAGATOR = TraceContextTextMapPropagator()
_CONTEXT_HEADERS = frozenset({"traceparent", "tracestate"})


class TracingTransport:
    """Sends requests with another transport, each in a span that continues its message's trace."""

    def __init__(self, inner: Transport, tracer: Tracer) -> None:
        self._inner = inner
        self._tracer = tracer

    async def send(self, request: OutboundRequest) -> AttemptResult:
        with self._tracer.start_as_current_span(
            f"deliver {request.method}",
            context=_PROPAGATOR.extract({name.lower(): value for name, value in request.headers}),
            kind=SpanKind.CLIENT,
            attributes={
                "messaging.system": "qstash",
                "messaging.message.id": first_value(request.headers, "Upstash-Message-Id") or "",
                "messaging.qstash.retried": int(first_value(request.headers, "Upstash-Retried") or 0),
                "http.request.method": request.method,
                "url.full": request.url,
            },
        ) as span:
            result = await self._inner.send(replace(request, headers=_continued(request.headers)))
            if result.status:
                span.set_attribute("http.response.status_code", result.status)
            if not result.is_success:
                span.set_status(StatusCode.ERROR, result.error or f"status {result.status}")
            return result

    async def close(self) -> None:
        await self._inner.close()


def _continued(headers: Headers) -> Headers:
    """Return the headers with the present span as the context that the destination continues."""
    carried: dict[str, str] = {}
    _PROPAGATOR.inject(carried)
    kept = tuple(line for line in headers if line[0].lower() not in _CONTEXT_HEADERS)
    return (*kept, *((name.capitalize(), value) for name, value in carried.items()))
