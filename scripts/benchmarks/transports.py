"""Compare HTTP clients for deliveries: the emulator's own, and others behind the same interface.

The others are installed into an environment of their own in the results folder, for the benchmark alone.
"""

import asyncio
import json
import subprocess
import venv
from pathlib import Path

from scripts.benchmarks.figures import say
from scripts.benchmarks.processes import ROOT, destination
from scripts.benchmarks.setting import Bench

_PACKAGES = ("httpx>=0.28", "httpx-aiohttp>=0.2", "aiohttp>=3.12", "pyreqwest>=0.15", "uvloop>=0.21")
_CLIENTS = ("httpx", "httpx-aiohttp", "aiohttp", "pyreqwest")
_SCRIPT = Path(__file__).parent / "peers" / "transport_peer.py"


async def transports(bench: Bench) -> None:
    """Measure posts a second with 10 and with 100 concurrent ones, and the CPU of one."""
    python = await asyncio.to_thread(_environment, bench.pictures / "transports")
    async with destination() as receiver:
        for concurrency in (10, 100):
            rates: dict[str, list[float]] = {name: [] for name in _CLIENTS}
            costs: dict[str, list[float]] = {name: [] for name in _CLIENTS}
            for _ in range(bench.size.runs):
                for name in _CLIENTS:
                    answer = await asyncio.to_thread(
                        _run, python, name, receiver.url, concurrency, bench.size.count
                    )
                    rates[name].append(answer["rate"])
                    costs[name].append(answer["cpu_us"])
            section = f"delivery client, {concurrency} under way"
            for name in _CLIENTS:
                bench.report.add(section, name, "posts/s", rates[name], against=("httpx", rates["httpx"]))
                bench.report.add(section, f"{name}, CPU", "µs/post", costs[name])


def _run(python: Path, name: str, url: str, concurrency: int, count: int) -> dict[str, float]:
    count = count // 4 if name == "httpx" else count
    command = [str(python), str(_SCRIPT), name, url, str(concurrency), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr.strip()[-500:]}")
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def _environment(folder: Path) -> Path:
    python, stamp = folder / "bin" / "python", folder / ".prepared"
    if not stamp.exists() or stamp.read_text() != repr(_PACKAGES):
        say("  installing the other clients (the first time only)")
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *_PACKAGES]
        subprocess.run(command, capture_output=True, check=True)
        stamp.write_text(repr(_PACKAGES))
    return python
