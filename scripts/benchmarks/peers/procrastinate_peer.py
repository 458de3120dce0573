"""Procrastinate on PostgreSQL, ten jobs at a time. Arguments: database URL, jobs, runs. Prints jobs a second."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg
from procrastinate import App, PsycopgConnector

URL = os.environ.get("PEER_URL") or sys.argv[1]
app = App(connector=PsycopgConnector(conninfo=URL))


@app.task(name="noop")
async def noop(number: int) -> None:
    """Do nothing."""


async def run(count: int) -> float:
    async with await psycopg.AsyncConnection.connect(URL, autocommit=True) as database:

        async def succeeded() -> int:
            cursor = await database.execute(
                "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"
            )
            row = await cursor.fetchone()
            return int(row[0]) if row else 0

        before = await succeeded()
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                await noop.defer_async(number=number)

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(10)))
        while await succeeded() < before + count:
            await asyncio.sleep(0.01)
        return count / (time.perf_counter() - started)


async def main() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        worker = subprocess.Popen(
            [
                sys.executable, "-m", "procrastinate", "--app=procrastinate_peer.app", "worker",
                "--concurrency", "10",
            ],
            cwd=Path(__file__).parent,
            env=os.environ | {"PEER_URL": URL, "PYTHONPATH": str(Path(__file__).parent)},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await run(200)
            print(json.dumps([await run(int(sys.argv[2])) for _ in range(int(sys.argv[3]))]))
        finally:
            worker.terminate()
            worker.wait()


if __name__ == "__main__":
    asyncio.run(main())
