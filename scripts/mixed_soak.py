"""Load a server with messages of every kind; measure their cost and its memory, and count lost and doubled messages.

The load has a flow-control key for each user, 300 queues, callbacks, failures with retries, a URL group, schedules,
deduplication, delays and cancels by label. Meanwhile a reader requests every list once a second. The destination
counts the deliveries independently of the server's records.
"""

import asyncio
import contextlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import httpx
import psutil
from starlette.types import Receive, Scope, Send

from emulator.delivery.request import OutboundRequest
from emulator.delivery.sockets import SocketTransport
from emulator.testing import Listener, ServerProcess
from scripts.steady_load import MIB, Measure, body_of, bytes_in, is_flat, publish_steadily

_WINDOWS = 15
_QUEUES = 300
_SCHEDULES = 20
_CANCEL_EVERY_SECONDS = 10.0
_END_SECONDS = 300.0
_LISTS = (
    "/v2/flowControl",
    "/v2/queues",
    "/v2/schedules",
    "/v2/topics",
    "/v2/logs?count=100",
    "/v2/dlq?count=100",
    "/emulator/messages?count=50",
    "/metrics",
)

Headers = dict[str, str]


@dataclass
class Destination:
    """A destination on a thread of its own, which answers by the path and records what it is sent."""

    taken: Counter[str] = field(default_factory=Counter)
    """Number of requests answered with 200, by message id."""
    reported: set[str] = field(default_factory=set)
    """Ids of the messages that a callback reported."""
    scheduled: int = 0
    _tried: set[str] = field(default_factory=set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await body_of(receive)
        lines = dict(scope["headers"])
        status = self._take(scope["path"], lines[b"upstash-message-id"].decode(), body)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def _take(self, path: str, message_id: str, body: bytes) -> int:
        if path == "/broken" or (path == "/flaky" and message_id not in self._tried):
            self._tried.add(message_id)
            return 500
        self._tried.discard(message_id)
        self.taken[message_id] += 1
        if path == "/told":
            self.reported.add(json.loads(body)["sourceMessageId"])
        elif path == "/scheduled":
            self.scheduled += 1
        return 200


@dataclass
class Ledger:
    """The accepted messages by the outcome that they must have; each field is a set of message ids."""

    to_deliver: set[str] = field(default_factory=set)
    to_report: set[str] = field(default_factory=set)
    to_fail: set[str] = field(default_factory=set)
    cancellable: set[str] = field(default_factory=set)
    cancelled: int = 0


@dataclass(frozen=True)
class Kind:
    """A kind of publish: the path behind ``/v2/``, its header lines, and the function that records its answer."""

    path: str
    headers: Headers
    note: Callable[[Ledger, list[str]], None]


def _delivered(ledger: Ledger, ids: list[str]) -> None:
    ledger.to_deliver.update(ids)


def _reported(ledger: Ledger, ids: list[str]) -> None:
    ledger.to_deliver.update(ids)
    ledger.to_report.update(ids)


def _failed(ledger: Ledger, ids: list[str]) -> None:
    ledger.to_fail.update(ids)
    ledger.to_report.update(ids)


def _cancellable(ledger: Ledger, ids: list[str]) -> None:
    ledger.cancellable.update(ids)


_TAKE = "publish/{url}/take"
_USER = Kind(
    _TAKE,
    {
        "Upstash-Flow-Control-Key": "user-{number}",
        "Upstash-Flow-Control-Value": "parallelism=2, rate=100, period=1s",
    },
    _delivered,
)
_QUEUED = Kind("enqueue/queue-{queue}/{url}/take", {}, _delivered)
_TOLD = Kind(_TAKE, {"Upstash-Callback": "{url}/told"}, _reported)
_FLAKY = Kind("publish/{url}/flaky", {"Upstash-Retries": "2", "Upstash-Retry-Delay": "1000"}, _delivered)
_GROUP = Kind("publish/group", {}, _delivered)
# Every second one duplicates the one before and is answered with its id.
_TWICE = Kind(_TAKE, {"Upstash-Deduplication-Id": "pair-{pair}"}, _delivered)
_LATER = Kind(_TAKE, {"Upstash-Delay": "20s", "Upstash-Label": "later"}, _delivered)
_NEVER = Kind(_TAKE, {"Upstash-Delay": "20s", "Upstash-Label": "never"}, _cancellable)
_BROKEN = Kind(
    "publish/{url}/broken",
    {"Upstash-Retries": "1", "Upstash-Retry-Delay": "1000", "Upstash-Failure-Callback": "{url}/told"},
    _failed,
)
_KINDS = (
    *[_USER] * 9, *[_QUEUED] * 3, *[_TOLD] * 2, _FLAKY, _GROUP, _TWICE, _LATER, _NEVER, _BROKEN,
)  # fmt: skip


def kind_of(number: int, url: str) -> Kind:
    """Return the kind of the ``number``-th publish, for a destination at ``url``."""
    kind = _KINDS[number % len(_KINDS)]
    names = {
        "url": url,
        "number": number,
        "queue": number % _QUEUES,
        "pair": number // (2 * len(_KINDS)),
    }
    lines = {name: value.format(**names) for name, value in kind.headers.items()}
    return replace(kind, path=kind.path.format(**names), headers=lines)


@dataclass(frozen=True, slots=True)
class Window:
    """Measurements of a part of the run. CPU is the server's, in ms for each publish, readers included."""

    seconds: float
    published: int
    cpu_ms: float
    memory_mib: float
    file_mib: float


_MEASURES = (
    Measure[Window]("memory", "MiB", lambda one: one.memory_mib, ratio=1.05),
    Measure[Window]("CPU of a publish", "ms", lambda one: one.cpu_ms, ratio=1.1),
)


def soak(minutes: float, rate: float) -> int:
    """Run for ``minutes`` at ``rate`` publishes a second.

    Return the exit code: 0 if cost and memory stay flat and no message is lost or doubled, else 1.
    """
    destination, ledger = Destination(), Ledger()
    with (
        tempfile.TemporaryDirectory(prefix="qstash-soak-") as directory,
        Listener(destination) as listener,
        ServerProcess(db=str(Path(directory) / "soak.db")) as server,
    ):
        windows = asyncio.run(_run(server, listener.url, ledger, Path(directory), minutes * 60, rate))
    holds = is_flat(windows, _MEASURES)
    is_whole = _is_whole(ledger, destination, minutes)
    print("verdict: flat and whole" if holds and is_whole else "verdict: NOT as it should be")
    return 0 if holds and is_whole else 1


async def _run(
    server: ServerProcess,
    url: str,
    ledger: Ledger,
    directory: Path,
    seconds: float,
    rate: float,
) -> list[Window]:
    process = psutil.Process(server.pid)
    token = server.environment["QSTASH_TOKEN"]
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(
        base_url=server.url, headers=headers, timeout=60, trust_env=False, verify=False
    ) as api:
        await _prepare(api, url)
        print(f"{rate:.0f} publishes/s of every kind, for {seconds / 60:g} minutes")
        print(f"{'time':>8} {'published':>10} {'CPU each':>9} {'memory':>11} {'file':>11}")
        windows: list[Window] = []
        async with _beside(_look(api)), _beside(_cancel(api, ledger)), _publisher(server, token) as publish:
            numbers, started = count(), time.perf_counter()

            async def publish_next() -> None:
                kind = kind_of(next(numbers), url)
                kind.note(ledger, await publish(kind))

            for part in range(_WINDOWS):
                spent, until = _cpu_seconds(process), started + seconds * (part + 1) / _WINDOWS
                published = await publish_steadily(publish_next, rate, until)
                windows.append(
                    Window(
                        seconds=time.perf_counter() - started,
                        published=published,
                        cpu_ms=(_cpu_seconds(process) - spent) / max(published, 1) * 1000,
                        memory_mib=process.memory_info().rss / MIB,
                        file_mib=bytes_in(directory) / MIB,
                    )
                )
                _print(windows[-1])
        await _stop_schedules(api)
        await _come_to_rest(api)
        return windows


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _prepare(api: httpx.AsyncClient, url: str) -> None:
    endpoints = [{"name": name, "url": f"{url}/take?{name}"} for name in ("a", "b", "c")]
    (await api.post("/v2/topics/group/endpoints", json={"endpoints": endpoints})).raise_for_status()
    for number in range(_SCHEDULES):
        lines = {"Upstash-Cron": "* * * * *", "Upstash-Schedule-Id": f"schedule-{number}"}
        (await api.post(f"/v2/schedules/{url}/scheduled", headers=lines)).raise_for_status()


async def _stop_schedules(api: httpx.AsyncClient) -> None:
    for number in range(_SCHEDULES):
        (await api.delete(f"/v2/schedules/schedule-{number}")).raise_for_status()


@asynccontextmanager
async def _beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run ``work`` until the block ends. Raises the exception that ``work`` raised."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _look(api: httpx.AsyncClient) -> None:
    """Request every list once a second."""
    while True:
        for path in _LISTS:
            (await api.get(path)).raise_for_status()
        await asyncio.sleep(1)


async def _cancel(api: httpx.AsyncClient, ledger: Ledger) -> None:
    while True:
        await asyncio.sleep(_CANCEL_EVERY_SECONDS)
        answer = await asyncio.shield(api.request("DELETE", "/v2/messages", json={"label": "never"}))
        ledger.cancelled += answer.raise_for_status().json()["cancelled"]


Publish = Callable[[Kind], Awaitable[list[str]]]


@asynccontextmanager
async def _publisher(server: ServerProcess, token: str) -> AsyncIterator[Publish]:
    """Yield a function that publishes over kept connections and returns the ids that the server answered."""
    transport = SocketTransport(max_response_bytes=1_000_000)

    async def publish(kind: Kind) -> list[str]:
        request = OutboundRequest(
            method="POST",
            url=f"{server.url}/v2/{kind.path}",
            headers=(("Authorization", f"Bearer {token}"), *kind.headers.items()),
            body=b'{"total": 7}',
            timeout_ms=60_000,
        )
        answer = await transport.send(request)
        # A duplicate is accepted too.
        if answer.status not in (200, 201, 202):
            raise SystemExit(f"soak: a publish was answered {answer.status}: {answer.error or answer.body!r}")
        told = json.loads(answer.body)
        return [one["messageId"] for one in (told if isinstance(told, list) else [told])]

    yield publish
    await transport.close()


async def _come_to_rest(api: httpx.AsyncClient) -> None:
    """Wait until no message is pending."""
    async with asyncio.timeout(_END_SECONDS):
        while True:
            found = await api.get("/emulator/messages?state=CREATED,ACTIVE,RETRY&count=1")
            if not found.raise_for_status().json()["total"]:
                return
            await asyncio.sleep(0.5)


def _print(window: Window) -> None:
    print(
        f"{window.seconds:6.0f} s {window.published:10d} {window.cpu_ms:6.2f} ms {window.memory_mib:7.1f} MiB"
        f" {window.file_mib:7.1f} MiB",
        flush=True,
    )


def _is_whole(ledger: Ledger, destination: Destination, minutes: float) -> bool:
    taken = destination.taken
    unsent = sum(1 for one in ledger.cancellable if not taken[one])
    counts = {
        "lost": len(ledger.to_deliver - taken.keys()),
        "delivered more than once": sum(1 for times in taken.values() if times > 1),
        "not reported by a callback": len(ledger.to_report - destination.reported),
        "delivered although they must fail": len(ledger.to_fail & taken.keys()),
        "neither cancelled nor delivered": max(0, unsent - ledger.cancelled),
        "firings missing": max(0, _SCHEDULES * (int(minutes) - 1) - destination.scheduled),
    }
    accepted = len(ledger.to_deliver | ledger.to_fail | ledger.cancellable)
    print(
        f"{accepted} messages accepted, {ledger.cancelled} cancelled, {sum(taken.values())} requests answered 200"
    )
    print(", ".join(f"{number} {what}" for what, number in counts.items()))
    return not any(counts.values())
