"""``python -m tests.simulation.chaos.producer FILE PER_SECOND``: enqueues jobs until it is killed or stopped.

It enqueues by a call and in a transaction of its own, in turns. Each acknowledged job's id becomes a line of FILE.
"""

import asyncio
import random
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg

from jobs_core import JobDispatcher, Settings


async def produce(path: Path, per_second: float) -> None:
    settings = Settings.load()
    plain_url = settings.database_url
    async with JobDispatcher(settings) as dispatcher:
        with path.open("a", buffering=1) as acknowledged:
            number = 0
            while True:
                number += 1
                await asyncio.sleep(random.expovariate(per_second))
                try:
                    job_id = await _enqueue(dispatcher, plain_url, number)
                except Exception as error:  # noqa: BLE001 -- the database may be gone; nothing was acknowledged
                    sys.stderr.write(f"not acknowledged: {type(error).__name__}\n")
                    continue
                acknowledged.write(f"{job_id}\n")


async def _enqueue(dispatcher: JobDispatcher, url: str, number: int) -> str:
    payload = {"number": number, "seconds": random.choice((0.0, 0.01, 0.3, 1.0))}
    options: dict[str, Any] = {"retry_delay": timedelta(milliseconds=500)}
    if number % 2:
        return await dispatcher.enqueue("chaos", payload, **options)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        return await dispatcher.enqueue("chaos", payload, connection=connection, **options)


if __name__ == "__main__":
    asyncio.run(produce(Path(sys.argv[1]), float(sys.argv[2])))
