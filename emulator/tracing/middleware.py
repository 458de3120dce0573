"""A span around every publish, whose context the message carries."""

from opentelemetry.trace import SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PROPAGATOR = TraceContextTextMapPropagator()
_PUBLISHING = (b"/v2/publish/", b"/v2/enqueue/")
_FORWARD = "upstash-forward-"
_CONTEXT_HEADERS = ("traceparent", "tracestate")

Lines = list[tuple[bytes, bytes]]


class PublishTracing:
    """Continues the trace in a publish's forwarded headers, or else the trace of the request itself."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_publish(scope):
            await self._app(scope, receive, send)
            return
        with self._tracer.start_as_current_span(
            "publish",
            context=_PROPAGATOR.extract(_carried(scope["headers"])),
            kind=SpanKind.PRODUCER,
            attributes={"messaging.system": "qstash", "messaging.operation.type": "send"},
        ) as span:

            async def send_noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 400:
                        span.set_status(StatusCode.ERROR)
                await send(message)

            await self._app({**scope, "headers": _continued(scope["headers"])}, receive, send_noted)


def _is_publish(scope: Scope) -> bool:
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    return path.lower().startswith(_PUBLISHING) and scope["method"] == "POST"


def _carried(lines: Lines) -> dict[str, str]:
    """Return the trace context for the destination, or else the request's own."""
    given = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in lines}
    prefix = _FORWARD if f"{_FORWARD}traceparent" in given else ""
    return {name: given[f"{prefix}{name}"] for name in _CONTEXT_HEADERS if f"{prefix}{name}" in given}


def _continued(lines: Lines) -> Lines:
    """Return the header lines with the present span's context to forward."""
    carried: dict[str, str] = {}
    _PROPAGATOR.inject(carried)
    forwarded = {f"{_FORWARD}{name}".encode(): value.encode() for name, value in carried.items()}
    replaced = {f"{_FORWARD}{name}".encode() for name in _CONTEXT_HEADERS}
    kept = [(name, value) for name, value in lines if name.lower() not in replaced]
    return [*kept, *forwarded.items()]
