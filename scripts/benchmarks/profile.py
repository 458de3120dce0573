"""Profile one process that publishes and delivers without sockets: its CPU time by room of the code.

Sockets and HTTP parsing, most of it uvicorn's, are left out, so that the emulator's own work remains.
"""

import asyncio
import cProfile
import pstats
import time
from collections import Counter
from pathlib import Path
from typing import Any

from emulator.broker.message import AttemptResult
from emulator.delivery.request import OutboundRequest
from emulator.http.app import create_app
from emulator.server import Emulator
from emulator.settings import Settings
from emulator.tenants import PUBLISHED_USERS
from scripts.benchmarks.figures import say
from scripts.benchmarks.load import CONCURRENCY
from scripts.benchmarks.processes import ROOT
from scripts.benchmarks.setting import BODY, Bench


class NoSockets:
    """A transport whose destination accepts every request at once."""

    async def send(self, request: OutboundRequest) -> AttemptResult:
        await asyncio.sleep(0)
        return AttemptResult(status=200, headers=(("content-length", "0"), ("server", "uvicorn")))

    async def close(self) -> None:
        """Do nothing: there are no connections."""


async def profile(bench: Bench) -> None:
    """Measure the CPU of one publish and of one whole delivery over all threads, and each room's share."""
    for name, delay in (("publish", b"1d"), ("publish and deliver", b"")):
        costs = [
            await _run(bench, f"profile-{name}-{number}", delay, profiler=None)
            for number in range(bench.size.runs)
        ]
        bench.report.add("where the time goes", name, "µs CPU", costs)
        profiler = cProfile.Profile(time.thread_time)
        await _run(bench, f"profile-{name}", delay, profiler=profiler)
        for room, share in _shares(profiler).most_common(12):
            bench.report.add("where the time goes", f"  {name}: {room}", "% of loop", [share])


async def _run(bench: Bench, db: str, delay: bytes, profiler: cProfile.Profile | None) -> float:
    emulator = Emulator(Settings(db=bench.database(db)), transport=NoSockets())
    app = create_app(emulator)
    await emulator.start()
    count = bench.size.count
    try:
        await _burst(app, emulator, 200, delay)
        if profiler:
            profiler.enable()
        spent = time.process_time()
        await _burst(app, emulator, count, delay)
        spent = time.process_time() - spent
        if profiler:
            profiler.disable()
        return spent / count * 1e6
    finally:
        await emulator.close()


async def _burst(app: Any, emulator: Emulator, count: int, delay: bytes) -> None:
    numbers = iter(range(count))

    async def work() -> None:
        for _ in numbers:
            await _publish(app, delay)

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    await emulator.runtimes[0].settle()


async def _publish(app: Any, delay: bytes) -> None:
    path = "/v2/publish/https://example.com/work"
    headers = [
        (b"host", b"127.0.0.1:8080"),
        (b"authorization", f"Bearer {PUBLISHED_USERS[0].token}".encode()),
        (b"user-agent", b"bench"),
        (b"accept", b"*/*"),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(BODY)).encode()),
        *([(b"upstash-delay", delay)] if delay else []),
    ]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8080), "state": {},
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(event: dict[str, Any]) -> None:
        if event.get("status", 201) != 201:
            say(f"  the publish was answered {event['status']}")

    await app(scope, receive, send)


def _shares(profiler: cProfile.Profile) -> "Counter[str]":
    """Return each room's percentage of the time. The time of C functions counts as the libraries'."""
    times: Counter[str] = Counter()
    for (file, _, _), (_, _, own, _, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        times[_room(file)] += own
    total = sum(times.values())
    return Counter({room: share / total * 100 for room, share in times.items()})


def _room(file: str) -> str:
    path = Path(file)
    if path.is_relative_to(ROOT / "emulator"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:2])
    if "site-packages" in path.parts:
        return path.parts[path.parts.index("site-packages") + 1]
    if path.is_relative_to(ROOT):
        return "the profile itself"
    return "built in" if file == "~" else "standard library"
