"""The workers' job type: a job that sleeps, and writes a row in the transaction that records its completion."""

import asyncio
from datetime import timedelta

from sqlalchemy import text

from jobs_core import Job, Payload, job

TIMEOUT_SECONDS = 2


class Work(Payload):
    """The payload: the ``seconds`` to sleep."""

    number: int
    seconds: float


@job(
    "chaos",
    endpoint="/api/jobs/chaos",
    retries=50,
    timeout=timedelta(seconds=TIMEOUT_SECONDS),
    description="Sleep, and write a row on completion.",
)
async def chaos(payload: Work, job: Job) -> int:
    """Sleep, and write a row in the transaction of the completion."""
    await asyncio.sleep(payload.seconds)
    row = {"job_id": job.id}
    job.on_completion(
        lambda connection: connection.execute(text("INSERT INTO chaos_done (job_id) VALUES (:job_id)"), row)
    )
    return payload.number
