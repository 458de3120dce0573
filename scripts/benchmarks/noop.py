"""The job that does nothing, for the worker of the benchmark (``JOBS_MODULES``)."""

from datetime import timedelta

from jobs_core import Job, Payload, job


class Nothing(Payload):
    """The payload: one number, so that it is not empty."""

    number: int


@job("noop", endpoint="/api/jobs/noop", retries=3, timeout=timedelta(seconds=30), description="Do nothing.")
async def noop(payload: Nothing, job: Job) -> None:
    """Do nothing."""
