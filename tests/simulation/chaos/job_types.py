"""What the workers run: a job that takes a while, and writes that it was done in the transaction of its completion."""

import asyncio
from datetime import timedelta

from sqlalchemy import text

from jobs_core import Job, Payload, job

TIMEOUT_SECONDS = 2


class Work(Payload):
    """``seconds`` of it."""

    number: int
    seconds: float


@job(
    "chaos",
    endpoint="/api/jobs/chaos",
    retries=50,
    timeout=timedelta(seconds=TIMEOUT_SECONDS),
    description="Takes a while, and says that it was done.",
)
async def chaos(payload: Work, job: Job) -> int:
    """Sleep, and write a row with the completion."""
    await asyncio.sleep(payload.seconds)
    row = {"job_id": job.id}
    job.on_completion(
        lambda connection: connection.execute(text("INSERT INTO chaos_done (job_id) VALUES (:job_id)"), row)
    )
    return payload.number
