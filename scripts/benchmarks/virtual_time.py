"""Measure a day of retries, a leap year of a daily schedule and a long queue under a manual clock.

``python scripts/benchmarks/virtual_time.py`` prints the CPU time of each, and of a fixture's set-up and tear-down, as
medians of several runs. CPU time depends little on the machine's other work.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from emulator.testing import Harness, Receiver

RUNS = 5
START = datetime(2028, 1, 1, tzinfo=UTC)


async def a_day_of_retries(qstash: Harness, receiver: Receiver) -> None:
    """Make six attempts of one message, the last a day and a quarter after the first."""
    receiver.always = 500
    await qstash.client.post("/v2/publish/https://example.com/x", headers={"Upstash-Retries": "5"})
    await qstash.run_until_idle()
    assert len(receiver.got) == 6


async def a_leap_year(qstash: Harness, receiver: Receiver) -> None:
    """Fire a nightly schedule of New York 366 times."""
    await qstash.client.post(
        "/v2/schedules/https://example.com/x", headers={"Upstash-Cron": "CRON_TZ=America/New_York 30 4 * * *"}
    )
    await qstash.advance_to(START + timedelta(days=366))
    assert len(receiver.got) == 366


async def a_long_queue(qstash: Harness, receiver: Receiver) -> None:
    """Deliver 1,000 messages of a queue at a rate of 10 a minute: 99 minutes."""
    limit = {"Upstash-Flow-Control-Key": "k", "Upstash-Flow-Control-Value": "rate=10, period=1m"}
    await qstash.client.post("/v2/queues", json={"queueName": "bulk", "parallelism": 10})
    for number in range(1_000):
        await qstash.client.post(f"/v2/enqueue/bulk/https://example.com/{number}", headers=limit)
    await qstash.run_until_idle()
    assert len(receiver.got) == 1_000


async def nothing(qstash: Harness, receiver: Receiver) -> None:
    """Set up the fixture and tear it down."""


async def cpu_seconds(work: Callable[[Harness, Receiver], Awaitable[None]]) -> float:
    """Return the CPU seconds of one run of ``work`` with an emulator of its own."""
    started = time.process_time()
    async with Harness(now_at=START) as qstash:
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount("https://example.com", receiver)
        await work(qstash, receiver)
    return time.process_time() - started


async def main() -> None:
    await cpu_seconds(nothing)
    for work in (nothing, a_day_of_retries, a_leap_year, a_long_queue):
        seconds = [await cpu_seconds(work) for _ in range(RUNS)]
        print(f"{work.__name__.replace('_', ' '):20} {statistics.median(seconds) * 1000:8.0f} ms")


if __name__ == "__main__":
    asyncio.run(main())
