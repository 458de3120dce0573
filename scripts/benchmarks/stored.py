"""(e) Measure a million pending messages, and (f) the rates as the store grows.

The store is filled with copies of one message that the emulator accepted: a million ordinary publishes would take
longer than all measurements.
"""

import asyncio
import contextlib
import sqlite3
import time
from pathlib import Path

from scripts.benchmarks.figures import Mark, say
from scripts.benchmarks.load import get
from scripts.benchmarks.plots import line_chart
from scripts.benchmarks.processes import Destination, Running, destination, emulator
from scripts.benchmarks.rates import delivery_rate, publish_rate
from scripts.benchmarks.setting import Bench

_MB = 1_000_000
_COPIED_ONCE = 50_000


async def pending(bench: Bench) -> None:
    """(e) Measure memory, publish rate and start with ``bench.size.pending`` delayed messages."""
    size, db = bench.size, bench.database("pending")
    async with emulator(bench.database("empty")) as empty, destination() as receiver:
        await publish_rate(empty, 1_000)
        empty_bytes = empty.memory_bytes()
        await _fill(db, size.pending, receiver, is_delivered=False)
        empty_seconds = await _seconds_to_ready(bench.database("empty-start"))
        ready_seconds = await _seconds_to_ready(db)
        async with emulator(db) as server:
            rates: dict[str, list[float]] = {"empty": [], "full": []}
            costs: dict[str, list[float]] = {"empty": [], "full": []}
            await publish_rate(server, 1_000)
            for number in range(size.runs):
                say(f"  run {number + 1} of {size.runs}")
                for name, one in (("empty", empty), ("full", server)):
                    spent = one.cpu_seconds()
                    rates[name].append(await publish_rate(one, size.count))
                    costs[name].append((one.cpu_seconds() - spent) / size.count * 1e6)
            grown = (server.memory_bytes() - empty_bytes) / _MB
    report, section = bench.report, f"(e) {size.pending:,} pending"
    report.add(section, "memory above the empty server", "MB", [grown], mark=Mark(150, "most"))
    report.add(section, "start to ready", "s", [ready_seconds], mark=Mark(2, "most"))
    report.add(section, "the same with an empty store", "s", [empty_seconds])
    report.add(
        section, "publish with them there", "messages/s", rates["full"],
        against=("empty store", rates["empty"]), mark=Mark(0.8),
    )  # fmt: skip
    report.add(
        section, "CPU of a publish with them there", "µs/message", costs["full"],
        against=("empty store", costs["empty"]),
    )  # fmt: skip


async def _seconds_to_ready(db: str) -> float:
    started = time.perf_counter()
    async with emulator(db) as server:
        await get(f"{server.url}/emulator/health")
        return time.perf_counter() - started


async def growth(bench: Bench) -> None:
    """(f) Measure publish and delivery rates as delivered messages and their logs fill the store."""
    size, section = bench.size, "(f) growth"
    publish: dict[int, list[float]] = {}
    deliver: dict[int, list[float]] = {}
    costs: dict[int, list[float]] = {}
    async with destination() as receiver, contextlib.AsyncExitStack() as stack:
        servers: dict[int, Running] = {}
        for stored in size.stored:
            say(f"  filling with {stored:,}")
            db = bench.database(f"stored-{stored}")
            await _fill(db, stored, receiver, is_delivered=True)
            servers[stored] = await stack.enter_async_context(emulator(db))
            await delivery_rate(servers[stored], receiver, 200)
        for number in range(size.runs):
            say(f"  run {number + 1} of {size.runs}")
            for stored, server in servers.items():
                spent, count = server.cpu_seconds(), size.count // 2
                publish.setdefault(stored, []).append(await publish_rate(server, count))
                deliver.setdefault(stored, []).append(await delivery_rate(server, receiver, count))
                costs.setdefault(stored, []).append((server.cpu_seconds() - spent) / count / 2 * 1e6)
    least, most = size.stored[0], size.stored[-1]
    for name, rates in (("publish", publish), ("deliver", deliver)):
        for stored in size.stored:
            is_last = stored == most
            bench.report.add(
                section, f"{name} at {stored:,} stored", "messages/s", rates[stored],
                against=(f"at {least:,}", rates[least]) if is_last else None, mark=Mark(0.8) if is_last else None,
            )  # fmt: skip
    bench.report.add(
        section, f"CPU at {most:,} stored, publish and deliver", "µs/message", costs[most],
        against=(f"at {least:,}", costs[least]),
    )  # fmt: skip
    curves = {
        name: [(float(stored), sorted(values)[len(values) // 2]) for stored, values in rates.items()]
        for name, rates in (("publish", publish), ("end to end", deliver))
    }
    bench.report.curves["growth"] = curves
    line_chart(
        bench.pictures / "growth.svg", curves, title="Rates as the store grows", x="messages stored",
        y="messages/s", is_log_x=True,
    )  # fmt: skip


async def _fill(db: str, count: int, receiver: Destination, *, is_delivered: bool) -> None:
    """Fill a store with ``count`` messages: one that the emulator accepted, and its copies."""
    before = await receiver.count()
    async with emulator(db) as server:
        if is_delivered:
            await publish_rate(server, 1, receiver.url, is_delayed=False)
            await receiver.wait_for(before + 1)
            await asyncio.sleep(0.3)
        else:
            await publish_rate(server, 1)
    await asyncio.to_thread(_copy, Path(db), count)


def _copy(path: Path, count: int) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as store:
        store.execute("PRAGMA journal_mode = WAL")
        store.execute("PRAGMA synchronous = OFF")
        store.execute("PRAGMA cache_size = -262144")
        [first] = store.execute("SELECT min(seq) FROM messages").fetchone()
        columns = {table: _columns(store, table) for table in ("messages", "bodies", "log_entries")}
        for start in range(1, count, _COPIED_ONCE):
            last = min(start + _COPIED_ONCE, count) - 1
            numbers = (
                f"WITH RECURSIVE n(k) AS (SELECT {start} UNION ALL SELECT k + 1 FROM n WHERE k < {last})"
            )
            store.execute("BEGIN")
            for table, changed in (
                ("messages", {"seq": "seq + k", "id": "'msg_' || printf('%053d', k)", "body_seq": "body_seq + k",
                              "due_at": "due_at + k * 60", "not_before_at": "not_before_at + k * 60"}),
                ("bodies", {"seq": "seq + k"}),
                ("log_entries", {"message_seq": "message_seq + k", "seq": "NULL"}),
            ):  # fmt: skip
                key = "message_seq" if table == "log_entries" else "seq"
                values = ", ".join(changed.get(column, column) for column in columns[table])
                names = ", ".join(columns[table])
                store.execute(
                    f"{numbers} INSERT INTO {table} ({names}) SELECT {values} FROM {table}, n WHERE {key} = {first}"
                )
            store.execute("COMMIT")
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _columns(store: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in store.execute(f"PRAGMA table_info({table})")]
