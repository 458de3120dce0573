"""(a) Measure publishing, and (b) publishing to delivery, beside their baselines."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import repeat

from scripts.benchmarks.figures import Mark, say
from scripts.benchmarks.load import request_bytes, send_all
from scripts.benchmarks.plots import bar_chart
from scripts.benchmarks.processes import Destination, Running, baseline, destination, emulator
from scripts.benchmarks.setting import BODY, FAR_AWAY, Bench, publish_request

_ELSEWHERE = "https://example.com/work"


async def publishing(bench: Bench) -> None:
    """(a) Measure durable publishes a second."""
    count, runs = bench.size.count, bench.size.runs
    rates: dict[str, list[float]] = {"bare": [], "durable": [], "one commit": []}
    costs: dict[str, list[float]] = {"bare": [], "durable": []}
    async with AsyncExitStack() as stack:
        bare = await stack.enter_async_context(baseline("bare"))
        durable = await stack.enter_async_context(emulator(bench.database("publish")))
        naive = await stack.enter_async_context(baseline("one_commit", bench.database("one-commit")))
        for server in (bare, durable, naive):
            await publish_rate(server, 200)
        for number in range(runs):
            say(f"  run {number + 1} of {runs}")
            for name, server in (("bare", bare), ("durable", durable)):
                spent = server.cpu_seconds()
                rates[name].append(await publish_rate(server, count))
                costs[name].append((server.cpu_seconds() - spent) / count * 1e6)
            rates["one commit"].append(await publish_rate(naive, max(count // 20, 100)))
    report, section = bench.report, "(a) publish"
    report.add(section, "bare Starlette endpoint", "requests/s", rates["bare"])
    report.add(section, "one ORM commit for each message", "messages/s", rates["one commit"])
    report.add(
        section, "publish, durable", "messages/s", rates["durable"],
        against=("bare endpoint", rates["bare"]), mark=Mark(0.55),
    )  # fmt: skip
    report.add(
        section, "publish, durable", "messages/s", rates["durable"],
        against=("one ORM commit each", rates["one commit"]), mark=Mark(6),
    )  # fmt: skip
    report.add(section, "CPU of the bare server", "µs/request", costs["bare"])
    report.add(
        section, "CPU of the emulator", "µs/message", costs["durable"], against=("bare", costs["bare"])
    )
    bars = {name: sorted(values)[len(values) // 2] for name, values in rates.items()}
    bar_chart(bench.pictures / "publish.svg", bars, title="Publish, messages a second", unit="/s")


async def publish_rate(
    server: Running, count: int, to: str = _ELSEWHERE, *, is_delayed: bool = True
) -> float:
    """Return accepted publishes a second."""
    request = publish_request(server.url, to, FAR_AWAY if is_delayed else None)
    return count / await send_all(server.url, repeat(request, count))


async def end_to_end(bench: Bench) -> None:
    """(b) Measure messages a second that are published, signed, delivered, acknowledged and logged."""
    count, runs = bench.size.count, bench.size.runs
    rates: dict[str, list[float]] = {"directly": [], "minimal pipeline": [], "emulator": []}
    costs: dict[str, list[float]] = {"minimal pipeline": [], "emulator": []}
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(destination())
        minimal = await stack.enter_async_context(baseline("minimal", bench.database("minimal")))
        server = await stack.enter_async_context(emulator(bench.database("deliver")))
        for one in (minimal, server):
            await delivery_rate(one, receiver, 200)
        for number in range(runs):
            say(f"  run {number + 1} of {runs}")
            rates["directly"].append(await _direct_rate(receiver, count))
            for name, one in (("minimal pipeline", minimal), ("emulator", server)):
                spent = one.cpu_seconds()
                rates[name].append(await delivery_rate(one, receiver, count))
                await asyncio.sleep(0.3)
                costs[name].append((one.cpu_seconds() - spent) / count * 1e6)
    report, section = bench.report, "(b) end to end"
    report.add(section, "posting directly, no queue between", "requests/s", rates["directly"])
    report.add(section, "minimal pipeline, same client", "messages/s", rates["minimal pipeline"])
    report.add(
        section, "end to end, signed, logged, durable", "messages/s", rates["emulator"],
        against=("minimal pipeline", rates["minimal pipeline"]), mark=Mark(0.6),
    )  # fmt: skip
    report.add(
        section, "end to end, signed, logged, durable", "messages/s", rates["emulator"],
        against=("posting directly", rates["directly"]),
    )  # fmt: skip
    report.add(section, "CPU of the minimal pipeline", "µs/message", costs["minimal pipeline"])
    report.add(
        section, "CPU of the emulator", "µs/message", costs["emulator"],
        against=("minimal pipeline", costs["minimal pipeline"]),
    )  # fmt: skip
    bars = {name: sorted(values)[len(values) // 2] for name, values in rates.items()}
    bar_chart(bench.pictures / "end-to-end.svg", bars, title="End to end, messages a second", unit="/s")


async def delivery_rate(server: Running, receiver: Destination, count: int) -> float:
    """Return messages a second, from the first publish to the last delivery."""
    before = await receiver.count()
    return await _rate(count, lambda: _publish_and_wait(server, receiver, count, before + count))


async def _publish_and_wait(server: Running, receiver: Destination, count: int, until: int) -> None:
    await publish_rate(server, count, receiver.url, is_delayed=False)
    await receiver.wait_for(until)


async def _direct_rate(receiver: Destination, count: int) -> float:
    request = request_bytes(receiver.url, {"Content-Type": "application/json"}, BODY)
    return count / await send_all(receiver.url, repeat(request, count))


async def _rate(count: int, work: Callable[[], Awaitable[None]]) -> float:
    started = time.perf_counter()
    await work()
    return count / (time.perf_counter() - started)
