"""Export many rows, from enqueue to file, and print the time, the peak memory and the reported progress."""

import argparse
import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
from sqlalchemy import create_engine

from emulator.testing import Harness
from jobs_core import JobDispatcher, JobStatus, Settings, create_app
from jobs_core.billing.tables import customers
from jobs_core.database import migrations

BASE_URL = "https://app.example.com"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
FRESH = {"contact_rank": 0, "contact_event_id": "", "owner_rank": 0, "owner_event_id": ""}
CHUNK = 20_000


def fill(url: str, rows: int) -> None:
    """Write ``rows`` customers. Runs in a process of its own, to keep its memory out of the measurement."""
    migrations.upgrade(url)
    engine = create_engine(url)
    for start in range(0, rows, CHUNK):
        batch = [
            {"customer_id": f"cus_{number}", "name": f"=Customer {number}", "email": f"c{number}@example.com"}
            | {"user_id": number, "organization_id": "acme", "created_at": NOW, "updated_at": NOW}
            | FRESH
            for number in range(start, min(rows, start + CHUNK))
        ]
        with engine.begin() as connection:
            connection.execute(customers.insert(), batch)


async def export(url: str, folder: Path, kind: str) -> tuple[float, list[float]]:
    """Export all customers. Return the seconds that it took, and the progress values seen meanwhile."""
    settings = Settings(database_url=url, base_url=BASE_URL, storage_dir=folder / "files")
    async with (
        Harness() as harness,
        JobDispatcher(settings, transport=httpx.ASGITransport(harness.app)) as dispatcher,
    ):
        harness.mount(BASE_URL, create_app(dispatcher=dispatcher))
        started = time.perf_counter()
        payload = {"entityType": "customers", "format": kind}
        job_id = await dispatcher.enqueue("export-data", payload, timeout=3600)
        seen: list[float] = []
        while not (record := await dispatcher.get(job_id)).is_finished:
            if record.progress is not None and record.progress not in seen:
                seen.append(record.progress)
            await asyncio.sleep(0.2)
        if record.status is not JobStatus.COMPLETED:
            raise SystemExit(f"the export failed: {record.error}")
        print(f"rows={record.result['rows']} megabytes={record.result['bytes'] / 1e6:.1f}")
        return time.perf_counter() - started, seen


def main() -> None:
    parser = argparse.ArgumentParser(prog="./scripts/measure-export", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="number of rows (default: a million)")
    parser.add_argument("--format", choices=["csv", "xlsx"], default="csv")
    parser.add_argument("--fill", metavar="DATABASE_URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fill:
        fill(options.fill, options.rows)
        return
    with tempfile.TemporaryDirectory(prefix="measure-export-") as folder:
        url = f"sqlite:///{folder}/jobs.db"
        subprocess.run([sys.executable, __file__, "--rows", str(options.rows), "--fill", url], check=True)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        seconds, seen = asyncio.run(export(url, Path(folder), options.format))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        cpu = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        print(f"seconds={seconds:.1f} cpu_seconds={cpu:.1f} progress_steps_seen={len(seen)}")
        print(f"before_megabytes={before:.0f} peak_megabytes={peak:.0f}")


if __name__ == "__main__":
    main()
