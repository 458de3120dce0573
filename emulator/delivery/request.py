"""The request to a destination: a pure function of the message and the attempt (contract 4.1)."""

from functools import lru_cache

from emulator.broker.message import Message
from emulator.wire.fast_dataclass import keyword_value
from emulator.wire.flow_control import FlowControl
from emulator.wire.headers import SERVER_OWNED, Headers, is_hop_by_hop
from emulator.wire.signature import sign

USER_AGENT = "Upstash-QStash"


@keyword_value
class OutboundRequest:
    """One HTTP request. ``timeout_ms`` covers everything from connecting to the last byte of the response."""

    method: str
    url: str
    headers: Headers
    body: bytes
    timeout_ms: int


def build_request(
    message: Message,
    body: bytes,
    *,
    retried: int,
    signing_key: str,
    jwt_id: str,
    signed_at_seconds: int,
    default_timeout_ms: int,
    region: str | None = None,
) -> OutboundRequest:
    """Return the request of one attempt. ``signed_at_seconds`` is real wall time; ``retried`` counts from 0."""
    signature = sign(
        key=signing_key, url=message.url, body=body, issued_at_seconds=signed_at_seconds, jwt_id=jwt_id
    )
    optional = (
        ("Upstash-Caller-Ip", message.caller_ip),
        ("Upstash-Topic-Name", message.topic_name),
        ("Upstash-Schedule-Id", message.schedule_id),
        ("Upstash-Region", region),
        ("Upstash-Retry-Delay", message.retry_delay),
    )
    return OutboundRequest(
        method=message.method,
        url=message.url,
        headers=(
            *_forwarded(message.headers),
            ("Accept-Encoding", "gzip"),
            ("Upstash-Message-Id", message.id),
            ("Upstash-Retried", str(retried)),
            ("Upstash-Retries", str(retried)),
            ("Upstash-Max-Retries", str(message.max_retries)),
            ("Upstash-Signature", signature),
            *[(name, value) for name, value in optional if value is not None],
            *(_flow_control(message.flow_control) if message.flow_control is not None else ()),
        ),
        body=body,
        timeout_ms=message.timeout_ms or default_timeout_ms,
    )


# Cached: publishers send the same lines repeatedly.
@lru_cache(maxsize=256)
def _forwarded(headers: Headers) -> Headers:
    lines = tuple([line for line in headers if _travels(line[0])])
    has_user_agent = any(name.lower() == "user-agent" for name, _ in lines)
    return lines if has_user_agent else (("User-Agent", USER_AGENT), *lines)


@lru_cache(maxsize=512)
def _travels(name: str) -> bool:
    return name.lower() not in SERVER_OWNED and not is_hop_by_hop(name)


def _flow_control(flow: FlowControl) -> Headers:
    """Return the header lines with the message's limits, the period in seconds."""
    given = {"parallelism": flow.parallelism, "rate": flow.rate, "period": flow.period_seconds}
    value = ",".join(f"{name}={number}" for name, number in given.items() if number is not None)
    return (("Upstash-Flow-Control-Key", flow.key), ("Upstash-Flow-Control-Value", value))
