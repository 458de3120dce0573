"""Run a server at half load and print its memory and latency, window by window; see ``--help``."""

import argparse
import asyncio
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from starlette.types import Receive, Scope, Send

from emulator.delivery.request import OutboundRequest
from emulator.delivery.sockets import SocketTransport
from emulator.testing import Listener, ServerProcess
from scripts import mixed_soak

_CONNECTIONS = 20
_CALIBRATION_SECONDS = 5.0
_WINDOWS = 20
_MIB = 1024 * 1024
# By how much the last third may exceed the middle one; the first third is the warm-up.
_MEMORY_RATIO, _MEMORY_SLACK_MIB = 1.10, 8.0
_LATENCY_RATIO, _LATENCY_SLACK_MS = 1.5, 5.0


@dataclass(frozen=True, slots=True)
class Window:
    """Measurements of a part of the run. Latencies are ms from the publish call to the arrival at the destination."""

    seconds: float
    published: int
    delivered: int
    median_ms: float
    p99_ms: float
    memory_mib: float
    file_mib: float


@dataclass
class Destination:
    """A destination on a thread of its own, which answers 200 and records each message's latency."""

    latencies_ms: list[float] = field(default_factory=list)
    delivered: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.latencies_ms.append((time.perf_counter_ns() - int(body)) / 1e6)
        self.delivered += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def take(self) -> list[float]:
        """Return the latencies in ms since the last call, and clear them."""
        taken, self.latencies_ms = self.latencies_ms, []
        return taken


def main() -> int:
    """Return the exit code: 0 if memory and latency stayed flat, else 1."""
    parser = argparse.ArgumentParser(
        description="Run a server at half load, and check that its memory and latency stay flat."
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="minutes to run (default: %(default)s)")
    parser.add_argument(
        "--mixed",
        action="store_true",
        help="messages of every kind with a reader of the lists; also counts lost messages",
    )
    parser.add_argument(
        "--rate", type=float, default=150.0, help="publishes a second with --mixed (default: %(default)s)"
    )
    given = parser.parse_args()
    for name in ("minutes", "rate"):
        if getattr(given, name) <= 0:
            parser.error(f"--{name} {getattr(given, name)}: expected more than 0")
    if given.mixed:
        return mixed_soak.soak(given.minutes, given.rate)
    destination = Destination()
    with (
        tempfile.TemporaryDirectory(prefix="qstash-soak-") as directory,
        Listener(destination) as listener,
        ServerProcess(db=str(Path(directory) / "soak.db")) as server,
    ):
        windows = asyncio.run(_soak(server, listener.url, destination, Path(directory), given.minutes * 60))
    return _verdict(windows)


async def _soak(
    server: ServerProcess, url: str, destination: Destination, directory: Path, seconds: float
) -> list[Window]:
    process = psutil.Process(server.pid)
    async with _publisher(
        f"{server.url}/v2/publish/{url}/soak", server.environment["QSTASH_TOKEN"]
    ) as publish:
        most = await _calibrate(publish, destination)
        rate = most / 2
        print(f"{most:.0f} messages/s end to end with {_CONNECTIONS} connections; soaking at {rate:.0f}/s")
        print(
            f"{'time':>8} {'published':>10} {'delivered':>10} {'median':>9} {'99 %':>9} {'memory':>10} {'file':>10}"
        )
        windows: list[Window] = []
        started = time.perf_counter()
        for number in range(_WINDOWS):
            until = started + seconds * (number + 1) / _WINDOWS
            before = destination.delivered
            published = await _publish_steadily(publish, rate, until)
            latencies = sorted(destination.take())
            windows.append(
                Window(
                    seconds=time.perf_counter() - started,
                    published=published,
                    delivered=destination.delivered - before,
                    median_ms=statistics.median(latencies) if latencies else float("inf"),
                    p99_ms=latencies[int(len(latencies) * 0.99)] if latencies else float("inf"),
                    memory_mib=process.memory_info().rss / _MIB,
                    file_mib=_size(directory) / _MIB,
                )
            )
            _print(windows[-1])
        return windows


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


Publish = Callable[[], Awaitable[None]]


@asynccontextmanager
async def _publisher(url: str, token: str) -> AsyncIterator[Publish]:
    """Yield a function that publishes the present time over kept connections."""
    transport = SocketTransport(max_response_bytes=1_000_000)
    headers = (("Authorization", f"Bearer {token}"),)

    async def publish() -> None:
        body = str(time.perf_counter_ns()).encode()
        request = OutboundRequest(method="POST", url=url, headers=headers, body=body, timeout_ms=60_000)
        answer = await transport.send(request)
        if answer.status != 201:
            raise SystemExit(f"soak: a publish was answered {answer.status}: {answer.error or answer.body!r}")

    yield publish
    await transport.close()


async def _calibrate(publish: Publish, destination: Destination) -> float:
    """Return the messages a second that are published and delivered at full load."""
    started = time.perf_counter()
    until = started + _CALIBRATION_SECONDS
    published = itertools.count()

    async def work() -> None:
        while time.perf_counter() < until:
            await publish()
            next(published)

    await asyncio.gather(*(work() for _ in range(_CONNECTIONS)))
    total = next(published)
    while destination.delivered < total:
        await asyncio.sleep(0.01)
    rate = total / (time.perf_counter() - started)
    destination.take()
    return rate


async def _publish_steadily(publish: Publish, rate: float, until: float) -> int:
    """Publish ``rate`` messages a second until ``until``, on a limited number of connections. Return how many."""
    times = _times(time.perf_counter(), 1 / rate, until)
    count = 0

    async def work() -> None:
        nonlocal count
        for at in times:
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            await publish()
            count += 1

    await asyncio.gather(*(work() for _ in range(_CONNECTIONS)))
    return count


def _times(start: float, step: float, until: float) -> Iterator[float]:
    number = 0
    while (at := start + number * step) < until:
        yield at
        number += 1


def _print(window: Window) -> None:
    print(
        f"{window.seconds:6.0f} s {window.published:10d} {window.delivered:10d} {window.median_ms:6.1f} ms"
        f" {window.p99_ms:6.1f} ms {window.memory_mib:6.1f} MiB {window.file_mib:6.1f} MiB",
        flush=True,
    )


def _verdict(windows: list[Window]) -> int:
    third = len(windows) // 3
    middle, last = windows[third : 2 * third], windows[2 * third :]
    is_flat = True
    for what, unit, values, ratio, slack in (
        ("memory", "MiB", lambda one: one.memory_mib, _MEMORY_RATIO, _MEMORY_SLACK_MIB),
        ("median latency", "ms", lambda one: one.median_ms, _LATENCY_RATIO, _LATENCY_SLACK_MS),
        ("99th percentile", "ms", lambda one: one.p99_ms, _LATENCY_RATIO, _LATENCY_SLACK_MS),
    ):
        before = statistics.median(map(values, middle))
        after = statistics.median(map(values, last))
        is_within = after <= before * ratio + slack
        is_flat &= is_within
        print(
            f"{what}: {before:.1f} {unit} in the middle third, {after:.1f} {unit} in the last:"
            f" {'flat' if is_within else 'GROWS'}"
        )
    load, cores = psutil.getloadavg()[0], psutil.cpu_count() or 1
    if load > 2 * cores:
        print(
            f"this machine is busy (load {load:.0f} on {cores} cores): latencies say more about that than about us"
        )
    print("verdict: flat" if is_flat else "verdict: NOT flat")
    return 0 if is_flat else 1


if __name__ == "__main__":
    sys.exit(main())
