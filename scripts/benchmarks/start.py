"""(g) Measure start-up, and (h) virtual time inside a test's process."""

import asyncio
import shutil
import subprocess
import sys
import time

from emulator.testing import Harness, Receiver
from scripts.benchmarks.figures import Mark, say
from scripts.benchmarks.processes import ROOT, emulator, free_port, running
from scripts.benchmarks.rates import publish_rate
from scripts.benchmarks.setting import Bench

_EXECUTABLE = ROOT / "dist" / "executable" / "qstash-emulator" / "qstash-emulator"
_LAUNCHER = ROOT / "npm" / "dist" / "launcher.js"
_IMPORTS = "import sqlmodel, starlette.applications, uvicorn, httptools, pydantic_settings, croniter, typer"


async def start_up(bench: Bench) -> None:
    """(g) Measure the time from process start to the first accepted publish."""
    imports: list[float] = []
    starts: list[float] = []
    for number in range(bench.size.runs):
        say(f"  run {number + 1} of {bench.size.runs}")
        imports.append(await asyncio.to_thread(_import_milliseconds))
        started = time.perf_counter()
        async with emulator(bench.database(f"start-{number}")) as server:
            await publish_rate(server, 1)
            starts.append((time.perf_counter() - started) * 1000)
    report, section = bench.report, "(g) start"
    report.add(section, "bare import of the dependencies", "ms", imports)
    report.add(
        section, "process start to first accepted publish", "ms", starts,
        against=("bare import", imports), mark=Mark(1.5, "most"),
    )  # fmt: skip

    await _forms(bench)
    interpreter = [_milliseconds("-c", "pass") for _ in range(bench.size.runs)]
    report.add(section, "the interpreter alone", "ms", interpreter)
    for what, arguments in (
        ("import emulator", ("-c", "import emulator")),
        ("qstash-emulator --help", ("-m", "emulator", "--help")),
        (
            "jobs-core --help",
            ("-c", "import sys; from jobs_core.cli import main; sys.argv[1:] = ['--help']; main()"),
        ),
    ):
        found = [await asyncio.to_thread(_milliseconds, *arguments) for _ in range(bench.size.runs)]
        report.add(section, what, "ms", found)


async def _forms(bench: Bench) -> None:
    """Measure the same for the standalone executable, alone and behind the npm launcher, in turns, where built."""
    if not _EXECUTABLE.exists():
        say("  not measured: the executable (./scripts/executable builds it)")
        return
    node = shutil.which("node")
    launched = (
        {"the executable behind the npm launcher": [node, str(_LAUNCHER)]}
        if node and _LAUNCHER.exists()
        else {}
    )
    forms = {
        "the wheel": [sys.executable, "-m", "emulator"],
        "the executable": [str(_EXECUTABLE)],
        **launched,
    }
    starts: dict[str, list[float]] = {form: [] for form in forms}
    memory: dict[str, list[float]] = {form: [] for form in forms}
    for _ in range(bench.size.runs):
        for form, command in forms.items():
            port = free_port()
            started = time.perf_counter()
            async with running(
                [*command, "dev", "--port", str(port), "--memory"],
                port,
                variables={"QSTASH_EMULATOR_EXECUTABLE": str(_EXECUTABLE)} if command[0] == node else {},
            ) as server:
                await publish_rate(server, 1)
                starts[form].append((time.perf_counter() - started) * 1000)
                family = [server.process, *server.process.children(recursive=True)]
                memory[form].append(sum(one.memory_info().rss for one in family) / 1e6)
    for form in forms:
        bench.report.add("(g) start", f"{form}: to first accepted publish", "ms", starts[form])
        bench.report.add("(g) start", f"{form}: memory", "MB", memory[form])


def _import_milliseconds() -> float:
    return _milliseconds("-c", _IMPORTS)


def _milliseconds(*arguments: str) -> float:
    """Return how long the interpreter runs with these arguments, in milliseconds."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - started) * 1000


async def virtual_time(bench: Bench) -> None:
    """(h) Measure deliveries a second under a manual clock, and a test's cost for an emulator of its own."""
    runs = bench.size.runs
    rates = [await _virtual_rate(bench.size.virtual) for _ in range(runs)]
    await _fixture_milliseconds()
    fixtures = [await _fixture_milliseconds() for _ in range(runs * 4)]
    report, section = bench.report, "(h) manual clock"
    report.add(section, "virtual deliveries", "deliveries/s", rates, mark=Mark(1_500))
    report.add(section, "in-process emulator, up and down", "ms", fixtures, mark=Mark(15, "most"))
    processes = [await _server_milliseconds() for _ in range(runs)]
    report.add(section, "a server process instead, up and down", "ms", processes)


async def _virtual_rate(count: int) -> float:
    """Deliver one message in each virtual second, published by a client of the harness. Return them a second."""
    async with Harness() as qstash:
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount("https://example.com", receiver)
        for number in range(count):
            await qstash.client.post(
                "/v2/publish/https://example.com/x", headers={"Upstash-Delay": f"{number + 1}s"}
            )
        started = time.perf_counter()
        await qstash.run_until_idle()
        seconds = time.perf_counter() - started
        if len(receiver.got) != count:
            raise RuntimeError(f"{len(receiver.got)} deliveries of {count}")
        return count / seconds


async def _fixture_milliseconds() -> float:
    started = time.perf_counter()
    async with Harness():
        pass
    return (time.perf_counter() - started) * 1000


async def _server_milliseconds() -> float:
    started = time.perf_counter()
    async with emulator("memory"):
        pass
    return (time.perf_counter() - started) * 1000
