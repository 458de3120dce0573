"""The requests that create, change and delete one object of an account (contract 2.5, 2.6, 2.7, 2.10)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from emulator.account.values import (
    EMPTY,
    AccountEndpoint,
    AccountQueue,
    AccountSchedule,
    AccountUrlGroup,
    Lines,
    Pin,
)

_JSON = ("Content-Type", b"application/json")


@dataclass(frozen=True, slots=True)
class Request:
    """One request; ``target`` is the raw request target below the account's URL."""

    method: str
    target: str
    headers: tuple[tuple[str, bytes], ...] = ()
    content: bytes = b""


def segment(name: str) -> str:
    """Return a name as one path segment, even if it consists of dots (RFC 3986, 3.3 and 5.2.4)."""
    return quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")


def save_schedule(schedule_id: str, one: AccountSchedule) -> Request:
    """Return the request that creates a schedule, or replaces all settings of an existing one but its pause."""
    named = (("Upstash-Schedule-Id", schedule_id.encode()), ("Upstash-Cron", one.cron.encode()))
    return Request("POST", f"/v2/schedules/{one.destination}", (*named, *option_lines(one)), _known(one))


def pause_schedule(schedule_id: str, *, is_paused: bool) -> Request:
    return Request("POST", f"/v2/schedules/{segment(schedule_id)}/{'pause' if is_paused else 'resume'}")


def delete_schedule(schedule_id: str) -> Request:
    return Request("DELETE", f"/v2/schedules/{segment(schedule_id)}")


def save_queue(name: str, one: AccountQueue) -> Request:
    """Return the request that creates or changes a queue."""
    return _json(
        "POST", "/v2/queues", {"queueName": name, "parallelism": one.parallelism, "paused": one.paused}
    )


def delete_queue(name: str) -> Request:
    return Request("DELETE", f"/v2/queues/{segment(name)}")


def delete_group(name: str) -> Request:
    return Request("DELETE", f"/v2/topics/{segment(name)}")


def save_group(name: str, now: AccountUrlGroup | None, wanted: AccountUrlGroup) -> tuple[Request, ...]:
    """Return the requests that change a group to the wanted one, if possible without removing all its endpoints."""
    kept = now.endpoints if now else frozenset()
    added = _sorted(wanted.endpoints - kept)
    left = _upserted(kept, added) - wanted.endpoints
    # An existing URL keeps its name; to lose the name, it must be removed and added again.
    again = [endpoint for endpoint in added if endpoint.name is None and _has_url(left, endpoint.url)]
    requests = [_endpoints("POST", name, [_fields(one) for one in added])] if added else []
    if left:
        requests.append(_endpoints("DELETE", name, [_key(one) for one in _sorted(left)]))
    if again:
        requests.append(_endpoints("POST", name, [_fields(one) for one in again]))
    was_empty = bool(again) and not _upserted(kept, added) - left
    headers = () if now is None or was_empty else now.headers
    if headers != wanted.headers:
        requests.append(
            _json("PATCH", f"/v2/topics/{segment(name)}", {"headers": _header_map(wanted.headers)})
        )
    return tuple(requests)


def save_pin(key: str, now: Pin, wanted: Pin) -> tuple[Request, ...]:
    """Return the requests that change a key's pinned limits to the wanted ones."""
    path = f"/v2/flowControl/{segment(key)}"
    return tuple(
        Request("POST", f"{path}/{action}")
        for action in (_unpinning(now, wanted), _pinning(now, wanted), _pausing(now, wanted))
        if action
    )


def _unpinning(now: Pin, wanted: Pin) -> str:
    gone = [
        f"{name}=true"
        for name in ("parallelism", "rate")
        if getattr(now, name) is not None and getattr(wanted, name) is None
    ]
    return f"unpin?{'&'.join(gone)}" if gone else ""


def _pinning(now: Pin, wanted: Pin) -> str:
    given = {}
    if wanted.parallelism is not None and wanted.parallelism != now.parallelism:
        given["parallelism"] = wanted.parallelism
    if wanted.rate is not None and (wanted.rate, wanted.period) != (now.rate, now.period):
        given |= {"rate": wanted.rate, "period": wanted.period}
    return "pin?" + "&".join(f"{name}={number}" for name, number in given.items()) if given else ""


def _pausing(now: Pin, wanted: Pin) -> str:
    return "" if now.paused == wanted.paused else "pause" if wanted.paused else "resume"


def option_lines(one: AccountSchedule) -> tuple[tuple[str, bytes], ...]:
    """Return the header lines of a publish: the options, then the forwarded headers."""
    return tuple(_option_lines(one))


def _option_lines(one: AccountSchedule) -> Iterator[tuple[str, bytes]]:
    flow = one.flow_control
    given: dict[str, Any] = {
        "Upstash-Method": one.method,
        "Upstash-Retries": one.retries,
        "Upstash-Retry-Delay": one.retry_delay,
        "Upstash-Delay": None if one.delay is None else f"{one.delay}s",
        "Upstash-Timeout": None if one.timeout is None else f"{one.timeout}s",
        "Upstash-Callback": one.callback,
        "Upstash-Failure-Callback": one.failure_callback,
        "Upstash-Callback-Retries": one.callback_retries,
        "Upstash-Failure-Callback-Retries": one.failure_callback_retries,
        "Upstash-Queue-Name": one.queue,
        "Upstash-Label": ",".join(one.labels) or None,
        "Upstash-Flow-Control-Key": flow.key if flow else None,
        "Upstash-Flow-Control-Value": _limits(flow.parallelism, flow.rate, flow.period) if flow else None,
        "Upstash-Redact-Fields": ",".join(sorted(one.redact)) or None,
    }
    yield from ((name, str(value).encode()) for name, value in given.items() if value is not None)
    for name, value in _flat(one.headers):
        yield (name if name == "Content-Type" else f"Upstash-Forward-{name}"), value
    yield from ((f"Upstash-Callback-Forward-{name}", value) for name, value in _flat(one.callback_headers))
    for name, value in _flat(one.failure_callback_headers):
        yield f"Upstash-Failure-Callback-Forward-{name}", value


def _limits(parallelism: int | None, rate: int | None, period: int) -> str:
    given = {"parallelism": parallelism, "rate": rate, "period": f"{period}s"}
    return ",".join(f"{name}={value}" for name, value in given.items() if value is not None)


def _flat(lines: Lines) -> Iterator[tuple[str, bytes]]:
    for name, values in lines:
        for value in values:
            assert value.data is not None, f"{name} is not known"
            yield name, value.data


def _known(one: AccountSchedule) -> bytes:
    assert one.body.data is not None, "the body is not known"
    return b"" if one.body == EMPTY else one.body.data


def _upserted(
    endpoints: frozenset[AccountEndpoint], added: list[AccountEndpoint]
) -> frozenset[AccountEndpoint]:
    """Return the endpoints after a POST: a known name gets the URL, else a known URL the name (contract 2.7)."""
    known = list(endpoints)
    for endpoint in added:
        names, urls = [one.name for one in known], [one.url for one in known]
        if endpoint.name is not None and endpoint.name in names:
            known[names.index(endpoint.name)] = endpoint
        elif endpoint.url in urls:
            known[urls.index(endpoint.url)] = AccountEndpoint(
                endpoint.url, endpoint.name or names[urls.index(endpoint.url)]
            )
        else:
            known.append(endpoint)
    return frozenset(known)


def _has_url(endpoints: frozenset[AccountEndpoint], url: str) -> bool:
    return any(one.url == url for one in endpoints)


def _sorted(endpoints: frozenset[AccountEndpoint]) -> list[AccountEndpoint]:
    return sorted(endpoints, key=lambda one: (one.url, one.name or ""))


def _fields(endpoint: AccountEndpoint) -> dict[str, str]:
    return {"url": endpoint.url} | ({"name": endpoint.name} if endpoint.name else {})


def _key(endpoint: AccountEndpoint) -> dict[str, str]:
    return {"name": endpoint.name} if endpoint.name else {"url": endpoint.url}


def _endpoints(method: str, name: str, fields: list[dict[str, str]]) -> Request:
    return _json(method, f"/v2/topics/{segment(name)}/endpoints", {"endpoints": fields})


def _header_map(lines: Lines) -> dict[str, list[str]]:
    made: dict[str, list[str]] = {}
    for name, value in _flat(lines):
        made.setdefault(name, []).append(value.decode(errors="replace"))
    return made


def _json(method: str, target: str, fields: object) -> Request:
    return Request(method, target, (_JSON,), json.dumps(fields, ensure_ascii=False).encode())
