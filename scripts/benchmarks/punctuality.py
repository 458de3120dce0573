"""(d) Measure how late due messages arrive, at rest and at half load."""

import asyncio
import contextlib
import json
import random
import sqlite3
import statistics
import time
from collections.abc import Sequence

from scripts.benchmarks.figures import Mark, say
from scripts.benchmarks.load import Connection
from scripts.benchmarks.plots import line_chart
from scripts.benchmarks.processes import Destination, Running, destination, emulator
from scripts.benchmarks.rates import delivery_rate
from scripts.benchmarks.setting import Bench, publish_request

_EACH_SECOND = 20
_SCHEDULES = 10


async def lateness(bench: Bench) -> None:
    """Measure milliseconds from the due time to the first byte at the destination."""
    db, seconds = bench.database("lateness"), bench.size.lateness_seconds
    found: dict[str, list[float]] = {}
    async with destination() as receiver, emulator(db) as server:
        full_rate = await delivery_rate(server, receiver, min(bench.size.count, 2_000))
        timed = f"{receiver.url.removesuffix('/work')}/timed"
        say("  at rest")
        found["at rest"] = await _delayed(server, receiver, db, timed, seconds)
        say(f"  at half load ({full_rate / 2:.0f} messages/s)")
        load = asyncio.create_task(_steady(server, receiver, full_rate / 2))
        await asyncio.sleep(1)
        found["at half load"] = await _delayed(server, receiver, db, timed, seconds)
        load.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await load
        if bench.size.is_full:
            say(f"  {_SCHEDULES} schedules, until the next full minute")
            found["schedules"] = await _schedules(server, receiver, timed)
    report, section = bench.report, "(d) lateness"
    for name, values in found.items():
        if len(values) < 10:
            report.note(f"lateness {name}: only {len(values)} deliveries were seen")
            continue
        is_at_rest = name != "at half load"
        report.add(
            section, f"{name}, median", "ms", [statistics.median(values)],
            mark=Mark(2, "most") if is_at_rest else None,
        )  # fmt: skip
        report.add(
            section, f"{name}, 99th percentile", "ms", [_percentile(values, 0.99)],
            mark=Mark(10 if is_at_rest else 50, "most"),
        )  # fmt: skip
    report.curves["lateness"] = {name: _distribution(values) for name, values in found.items() if values}
    line_chart(
        bench.pictures / "lateness.svg", report.curves["lateness"],
        title="Lateness of delayed messages", x="milliseconds after the due time", y="share delivered by then",
    )  # fmt: skip


async def _delayed(server: Running, receiver: Destination, db: str, timed: str, seconds: int) -> list[float]:
    """Publish for ``seconds``, each message with a delay of two seconds. Return each one's lateness in ms."""
    await receiver.arrivals()
    connection = await Connection.open(server.url)
    request = publish_request(server.url, timed, {"Upstash-Delay": "2s"})
    sent = seconds * _EACH_SECOND
    for _ in range(sent):
        await connection.ask(request)
        await asyncio.sleep(random.uniform(0.5, 1.5) / _EACH_SECOND)
    connection.close()
    await asyncio.sleep(4)
    arrivals = await receiver.arrivals()
    with contextlib.closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as store:
        due = dict(store.execute("SELECT id, not_before_at FROM messages WHERE url = ?", (timed,)))
    return [at - due[message_id] for message_id, at in arrivals.items()]


async def _steady(server: Running, receiver: Destination, rate: float) -> None:
    """Publish ``rate`` messages a second until cancelled, over as many connections as that takes."""
    request = publish_request(server.url, receiver.url)
    lanes = 20

    async def publish() -> None:
        connection = await Connection.open(server.url)
        next_at = time.perf_counter() + random.random() * lanes / rate
        while True:
            await asyncio.sleep(max(0.0, next_at - time.perf_counter()))
            await connection.ask(request)
            # Do not catch up in a burst after a delay: the load would be more than half.
            next_at = max(next_at + lanes / rate, time.perf_counter() - lanes / rate)

    await asyncio.gather(*(publish() for _ in range(lanes)))


async def _schedules(server: Running, receiver: Destination, timed: str) -> list[float]:
    connection = await Connection.open(server.url)
    ids = []
    for _ in range(_SCHEDULES):
        _, answer = await connection.ask(_schedule_request(server.url, timed))
        ids.append(json.loads(answer)["scheduleId"])
    await receiver.arrivals()
    now = time.time()  # noqa: TID251
    minute_at = (now // 60 + 1) * 60_000
    await asyncio.sleep(minute_at / 1000 - now + 2)
    connection.close()
    return [at - minute_at for at in (await receiver.arrivals()).values() if at >= minute_at]


def _schedule_request(url: str, timed: str) -> bytes:
    publish = publish_request(url, timed, {"Upstash-Cron": "* * * * *"})
    return publish.replace(b"/v2/publish/", b"/v2/schedules/", 1)


def _percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def _distribution(values: Sequence[float]) -> list[tuple[float, float]]:
    ordered = sorted(values)
    return [(value, (number + 1) / len(ordered)) for number, value in enumerate(ordered)]
