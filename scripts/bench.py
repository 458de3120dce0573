"""What the emulator costs, beside baselines measured in the same run.

Every figure is the median of several runs with its spread; machines are shared and noisy, so read the ratios.
The load generator, the server and the destination share the machine's cores.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp

from emulator.tenants import PUBLISHED_USERS
from emulator.testing import Harness, Listener, Receiver, ServerProcess

CONCURRENCY = 50
BODY = json.dumps({"n": 1, "text": "x" * 200}).encode()

BARE_APP = """
import json, uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

async def publish(request):
    body = await request.body()
    options = {name: value for name, value in request.headers.items() if name.startswith("upstash-")}
    return JSONResponse({"messageId": "msg_" + "1" * 53, "size": len(body), "options": len(options)})

uvicorn.run(Starlette(routes=[Route("/v2/publish/{rest:path}", publish, methods=["POST"])]),
            port=PORT, log_level="error", access_log=False)
"""


@dataclass(frozen=True)
class Figure:
    """One line of the table: the median of ``runs``, in ``unit``."""

    name: str
    unit: str
    median: float
    lowest: float
    highest: float
    runs: int
    ratio: str = ""


def figure(name: str, unit: str, values: list[float], ratio: str = "") -> Figure:
    return Figure(name, unit, statistics.median(values), min(values), max(values), len(values), ratio)


async def repeat(runs: int, measure: Callable[[], Awaitable[float]]) -> list[float]:
    return [await measure() for _ in range(runs)]


async def publish_rate(url: str, destination: str, count: int, headers: dict[str, str]) -> float:
    """Accepted publishes a second from ``CONCURRENCY`` connections."""
    remaining = iter(range(count))
    token = PUBLISHED_USERS[0].token
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}", **headers}) as session:

        async def work() -> None:
            for _ in remaining:
                async with session.post(f"{url}/v2/publish/{destination}", data=BODY) as response:
                    await response.read()
                    if response.status != 200:
                        raise RuntimeError(await response.text())

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
        return count / (time.perf_counter() - started)


async def end_to_end_rate(url: str, destination: str, receiver: Receiver, count: int) -> float:
    """Published, signed, delivered, acknowledged and logged messages a second."""
    receiver.got.clear()
    started = time.perf_counter()
    await publish_rate(url, destination, count, {})
    while len(receiver.got) < count:
        await asyncio.sleep(0.005)
    return count / (time.perf_counter() - started)


async def direct_rate(destination: str, count: int) -> float:
    """The bare client posting to the same receiver, with no queue between."""
    remaining = iter(range(count))
    async with aiohttp.ClientSession() as session:

        async def work() -> None:
            for _ in remaining:
                async with session.post(destination, data=BODY) as response:
                    await response.read()

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
        return count / (time.perf_counter() - started)


async def bare_rate(count: int) -> float:
    """A Starlette endpoint that parses the same request, answers, and keeps nothing."""
    port = 18_181
    process = subprocess.Popen([sys.executable, "-c", BARE_APP.replace("PORT", str(port))])
    try:
        await until_open(port)
        return await publish_rate(f"http://127.0.0.1:{port}", "https://example.com", count, {})
    finally:
        process.terminate()
        process.wait()


async def until_open(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return


async def virtual_rate(count: int) -> float:
    """Deliveries a second in-process under a manual clock: one message a virtual second."""
    async with Harness() as qstash:
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount("https://example.com", receiver)
        for number in range(count):
            await qstash.client.post(
                "/v2/publish/https://example.com/x", headers={"Upstash-Delay": f"{number + 1}s"}
            )
        started = time.perf_counter()
        await qstash.run_until_idle()
        assert len(receiver.got) == count
        return count / (time.perf_counter() - started)


async def fixture_cost() -> float:
    """Milliseconds to set a whole in-process emulator up and take it down."""
    started = time.perf_counter()
    async with Harness():
        pass
    return (time.perf_counter() - started) * 1000


def run_seconds(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


async def start_seconds(folder: Path) -> float:
    """From process start to the first accepted publish."""
    started = time.perf_counter()
    with ServerProcess(db=str(folder / f"start-{time.perf_counter_ns()}.db")) as server:
        await publish_rate(server.url, "https://example.com", 1, {"Upstash-Delay": "1h"})
        return time.perf_counter() - started


IMPORTS = (
    "import sqlmodel, starlette.applications, uvicorn, aiohttp, pydantic_settings, croniter, typer, httpx"
)


async def measure(options: argparse.Namespace) -> list[Figure]:
    runs, count = (3, 500) if options.quick else (5, 3_000)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say("publish, durable, beside a bare endpoint")
        bare = await repeat(runs, lambda: bare_rate(count))
        with ServerProcess(db=str(folder / "publish.db")) as server:
            delayed = {"Upstash-Delay": "1h"}
            durable = await repeat(
                runs, lambda: publish_rate(server.url, "https://example.com", count, delayed)
            )
        figures.append(figure("bare Starlette endpoint", "requests/s", bare))
        figures.append(
            figure("publish, durable", "messages/s", durable, ratio_of(durable, bare, "bare endpoint"))
        )

        say("end to end, beside posting directly")
        receiver = Receiver(now=lambda: 0)
        with Listener(receiver) as listener, ServerProcess(db=str(folder / "deliver.db")) as server:
            direct = await repeat(runs, lambda: direct_rate(listener.url, count))
            through = await repeat(runs, lambda: end_to_end_rate(server.url, listener.url, receiver, count))
        figures.append(figure("posting directly, no queue", "requests/s", direct))
        figures.append(
            figure("end to end", "messages/s", through, ratio_of(through, direct, "posting directly"))
        )

        say("start-up")
        imports = [run_seconds(IMPORTS) * 1000 for _ in range(runs)]
        starts = [seconds * 1000 for seconds in await repeat(runs, lambda: start_seconds(folder))]
        figures.append(figure("bare import of the dependencies", "ms", imports))
        figures.append(
            figure("process start to first publish", "ms", starts, ratio_of(starts, imports, "bare import"))
        )

    say("manual clock")
    figures.append(
        figure("virtual deliveries", "deliveries/s", await repeat(runs, lambda: virtual_rate(count)))
    )
    await fixture_cost()
    figures.append(figure("in-process emulator, up and down", "ms", await repeat(runs * 3, fixture_cost)))
    return figures


def ratio_of(values: list[float], baseline: list[float], name: str) -> str:
    return f"{statistics.median(values) / statistics.median(baseline):.2f} × {name}"


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def table(figures: list[Figure]) -> str:
    lines = [f"{'what':<34} {'median':>10} {'lowest':>10} {'highest':>10}  unit          ratio"]
    lines += [
        f"{one.name:<34} {one.median:>10.1f} {one.lowest:>10.1f} {one.highest:>10.1f}  {one.unit:<13} {one.ratio}"
        for one in figures
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="./scripts/bench", description="Measure, and print a table.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures as JSON")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    options = parser.parse_args()
    figures = asyncio.run(measure(options))
    print(table(figures))
    if options.json:
        facts = {"python": sys.version.split()[0], "cpus": os.cpu_count()}
        options.json.write_text(json.dumps({**facts, "figures": [asdict(one) for one in figures]}, indent=2))


if __name__ == "__main__":
    main()
