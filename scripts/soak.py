"""Run a server at half load and print its memory and latency, window by window; see ``--help``."""

import argparse
import asyncio
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from starlette.types import Receive, Scope, Send

from emulator.delivery.request import OutboundRequest
from emulator.delivery.sockets import SocketTransport
from emulator.testing import Listener, ServerProcess
from scripts import mixed_soak
from scripts.steady_load import CONNECTIONS, MIB, Measure, body_of, bytes_in, is_flat, publish_steadily

_CALIBRATION_SECONDS = 5.0
_WINDOWS = 20


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


_MEASURES = (
    Measure[Window]("memory", "MiB", lambda one: one.memory_mib, ratio=1.10, slack=8.0),
    Measure[Window]("median latency", "ms", lambda one: one.median_ms, ratio=1.5, slack=5.0),
    Measure[Window]("99th percentile", "ms", lambda one: one.p99_ms, ratio=1.5, slack=5.0),
)


@dataclass
class Destination:
    """A destination on a thread of its own, which answers 200 and records each message's latency."""

    latencies_ms: list[float] = field(default_factory=list)
    delivered: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await body_of(receive)
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
        print(f"{most:.0f} messages/s end to end with {CONNECTIONS} connections; soaking at {rate:.0f}/s")
        print(
            f"{'time':>8} {'published':>10} {'delivered':>10} {'median':>9} {'99 %':>9} {'memory':>10} {'file':>10}"
        )
        windows: list[Window] = []
        started = time.perf_counter()
        for number in range(_WINDOWS):
            until = started + seconds * (number + 1) / _WINDOWS
            before = destination.delivered
            published = await publish_steadily(publish, rate, until)
            latencies = sorted(destination.take())
            windows.append(
                Window(
                    seconds=time.perf_counter() - started,
                    published=published,
                    delivered=destination.delivered - before,
                    median_ms=statistics.median(latencies) if latencies else float("inf"),
                    p99_ms=latencies[int(len(latencies) * 0.99)] if latencies else float("inf"),
                    memory_mib=process.memory_info().rss / MIB,
                    file_mib=bytes_in(directory) / MIB,
                )
            )
            _print(windows[-1])
        return windows


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

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    total = next(published)
    while destination.delivered < total:
        await asyncio.sleep(0.01)
    rate = total / (time.perf_counter() - started)
    destination.take()
    return rate


def _print(window: Window) -> None:
    print(
        f"{window.seconds:6.0f} s {window.published:10d} {window.delivered:10d} {window.median_ms:6.1f} ms"
        f" {window.p99_ms:6.1f} ms {window.memory_mib:6.1f} MiB {window.file_mib:6.1f} MiB",
        flush=True,
    )


def _verdict(windows: list[Window]) -> int:
    holds = is_flat(windows, _MEASURES)
    load, cores = psutil.getloadavg()[0], psutil.cpu_count() or 1
    if load > 2 * cores:
        print(
            f"this machine is busy (load {load:.0f} on {cores} cores): latencies say more about that than about us"
        )
    print("verdict: flat" if holds else "verdict: NOT flat")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
