"""Start servers in processes of their own: the emulator, its baselines, and the destination."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from scripts.benchmarks.load import get

ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 60.0


@dataclass
class Running:
    """A running server and its ``url``."""

    url: str
    process: psutil.Process

    def cpu_seconds(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def memory_bytes(self) -> int:
        return int(self.process.memory_info().rss)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def running(
    command: Sequence[str], port: int, *, variables: Mapping[str, str] | None = None
) -> AsyncIterator[Running]:
    """Start ``command``, wait until it listens on ``port`` of loopback, and stop it when the block ends."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("QSTASH_")}
    # A file instead of a pipe: a full pipe that nobody reads would block the server.
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            command,
            env=clean | {"PYTHONPATH": str(ROOT)} | dict(variables or {}),
            stdout=subprocess.DEVNULL,
            stderr=words,
        )
        try:
            await _until_open(port, process, words)
            yield Running(f"http://127.0.0.1:{port}", psutil.Process(process.pid))
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def _until_open(port: int, process: "subprocess.Popen[bytes]", words: IO[bytes]) -> None:
    """Return when the port accepts connections. Raises RuntimeError with the process's output if it ends."""
    deadline = asyncio.get_running_loop().time() + _START_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        if process.poll() is not None:
            words.seek(0)
            raise RuntimeError(f"a server ended at once: {words.read().decode(errors='replace')[-2000:]}")
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.005)
    raise RuntimeError(f"nobody listens on port {port} after {_START_SECONDS:.0f} s")


def emulator(
    db: str, *arguments: str, port: int | None = None
) -> contextlib.AbstractAsyncContextManager[Running]:
    """Run ``qstash-emulator dev`` on ``db``."""
    port = port or free_port()
    command = [sys.executable, "-m", "emulator", "dev", "--port", str(port), "--db", db, *arguments]
    return running(command, port)


def baseline(name: str, *arguments: str) -> contextlib.AbstractAsyncContextManager[Running]:
    """Run a module of ``scripts.benchmarks.baselines``."""
    port = free_port()
    return running(
        [sys.executable, "-m", f"scripts.benchmarks.baselines.{name}", str(port), *arguments], port
    )


class Destination:
    """A receiver in a process of its own, which counts its requests."""

    def __init__(self, running_: Running) -> None:
        self.url = f"{running_.url}/work"
        self._count_url = f"{running_.url}/count"
        self._times_url = f"{running_.url}/times"

    async def count(self) -> int:
        return int(await get(self._count_url))

    async def wait_for(self, count: int, *, timeout_seconds: float = 120.0) -> None:
        """Return when the receiver has had ``count`` requests. Raises TimeoutError after ``timeout_seconds``."""
        async with asyncio.timeout(timeout_seconds):
            while await self.count() < count:
                await asyncio.sleep(0.005)

    async def arrivals(self) -> dict[str, float]:
        """Return the unix milliseconds of each message's first arrival, by its id, and clear the record."""
        lines = (await get(self._times_url)).decode().splitlines()
        return {name: float(at) for name, at in (line.split() for line in lines)}


@contextlib.asynccontextmanager
async def destination() -> AsyncIterator[Destination]:
    """Run a receiver that answers 200 to every request."""
    async with baseline("receiver") as server:
        yield Destination(server)
