"""Measure how much one client or destination delays others: a huge batch, many schedules of one minute."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from emulator.tenants import PUBLISHED_USERS
from scripts.benchmarks.figures import Mark, say
from scripts.benchmarks.load import Connection, request_bytes, send_all
from scripts.benchmarks.processes import Running, destination, emulator
from scripts.benchmarks.setting import Bench, publish_request

_LINES = {"Authorization": f"Bearer {PUBLISHED_USERS[0].token}", "Content-Type": "application/json"}
_OBJECTS = 3_000_000
_MESSAGES = 300
_SCHEDULES = 10_000
_PAUSE_SECONDS = 0.005
_MINUTE_MS = 60_000


async def huge_batch(bench: Bench) -> None:
    """Send three million small objects in one batch; measure the refusal, the memory and the delay of others."""
    body = b"[" + b",".join([b'{"destination":"a"}'] * _OBJECTS) + b"]"
    waits: list[float] = []
    async with emulator("memory") as server, _others(server, waits):
        request = request_bytes(f"{server.url}/v2/batch", _LINES, body)
        connection = await Connection.open(server.url)
        started = time.perf_counter()
        status, answer = await connection.ask(request)
        seconds = time.perf_counter() - started
        connection.close()
        memory = _most_memory_bytes(server)
    section = f"a batch of {_OBJECTS:,} objects ({len(body) / 1e6:.0f} MB)"
    if status != 400 or b"more than" not in answer:
        bench.report.note(f"{section} was answered {status}: {answer[:200]!r}")
    bench.report.add(section, "refused after", "s", [seconds], mark=Mark(1, "most"))
    bench.report.add(section, "the server's memory at most", "MB", [memory / 1e6], mark=Mark(300, "most"))
    bench.report.add(section, "another request, at most", "ms", [max(waits) * 1000], mark=Mark(100, "most"))


async def closing_destination(bench: Bench) -> None:
    """Deliver to a destination that closes every kept-alive connection after its answer. No message has retries."""
    called = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal called
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            called += 1
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/work"
    async with listener, emulator(bench.database("closing")) as server:
        request = publish_request(server.url, url, {"Upstash-Retries": "0"})
        await send_all(server.url, iter([request] * _MESSAGES), concurrency=10)
        await _until(lambda: _are_over(server, _MESSAGES))
        failed = await _count(server, "FAILED")
    bench.report.add(
        f"{_MESSAGES} messages to a destination that closes every connection", "failed", "messages", [float(failed)],
        mark=Mark(0, "most"),
    )  # fmt: skip
    if called != _MESSAGES:
        bench.report.note(f"the destination was called {called} times")


async def many_schedules(bench: Bench) -> None:
    """Create ten thousand schedules of one minute; measure the delay of their deliveries, and what others wait."""
    db = bench.database("many-schedules")
    async with destination() as receiver, emulator(db) as server:
        timed = f"{receiver.url.removesuffix('/work')}/timed"
        # Far enough ahead that all schedules exist by then.
        due_at = (_now_ms() // _MINUTE_MS + 2) * _MINUTE_MS
        due = datetime.fromtimestamp(due_at / 1000, UTC)
        cron = {"Upstash-Cron": f"{due.minute} {due.hour} * * *"}
        request = publish_request(server.url, timed, cron).replace(b"/v2/publish/", b"/v2/schedules/", 1)
        seconds = await send_all(server.url, iter([request] * _SCHEDULES))
        say(f"  {_SCHEDULES} schedules made in {seconds:.0f} s; waiting for {due:%H:%M}")
        await asyncio.sleep(max(0.0, (due_at - _now_ms()) / 1000 - 1))
        waits: list[float] = []
        async with _others(server, waits):
            await receiver.wait_for(_SCHEDULES, timeout_seconds=300)
        arrivals = [at - due_at for at in (await receiver.arrivals()).values()]
    section = f"{_SCHEDULES:,} schedules of one minute"
    bench.report.add(section, "the first delivery, late by", "ms", [min(arrivals)], mark=Mark(100, "most"))
    bench.report.add(section, "the last delivery, late by", "ms", [max(arrivals)])
    bench.report.add(section, "another request, at most", "ms", [max(waits) * 1000], mark=Mark(250, "most"))


@contextlib.asynccontextmanager
async def _others(server: Running, waits: list[float]) -> AsyncIterator[None]:
    """Send requests as another client until the block ends, and append each answer's seconds to ``waits``."""
    request = request_bytes(f"{server.url}/v2/keys", _LINES, b"", "GET")
    connection = await Connection.open(server.url)

    async def ask() -> None:
        while True:
            started = time.perf_counter()
            await connection.ask(request)
            waits.append(time.perf_counter() - started)
            await asyncio.sleep(_PAUSE_SECONDS)

    asking = asyncio.create_task(ask())
    try:
        yield
    finally:
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        connection.close()


def _most_memory_bytes(server: Running) -> int:
    """Return the process's peak memory in bytes where the system reports it, else its present memory."""
    status = Path(f"/proc/{server.process.pid}/status")
    if not status.exists():
        return server.memory_bytes()
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
    return int(found[1]) * 1024 if found else server.memory_bytes()


async def _count(server: Running, state: str) -> int:
    request = request_bytes(f"{server.url}/emulator/messages?state={state}&count=1", _LINES, b"", "GET")
    connection = await Connection.open(server.url)
    _, answer = await connection.ask(request)
    connection.close()
    found = re.search(rb'"total":\s*(\d+)', answer)
    return int(found[1]) if found else 0


async def _are_over(server: Running, count: int) -> bool:
    return await _count(server, "DELIVERED") + await _count(server, "FAILED") >= count


async def _until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(120):
        while not await is_so():
            await asyncio.sleep(0.05)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000  # noqa: TID251
