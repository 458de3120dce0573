"""``check-round-trip``: a job without effect, which ``jobs-core check`` sends to see whether jobs arrive."""

from datetime import timedelta

from jobs_core.engine.job import Job
from jobs_core.engine.registry import Payload, job
from jobs_core.model.envelope import PROBE_JOB_TYPE


class Nothing(Payload):
    """An empty payload."""


@job(
    PROBE_JOB_TYPE,
    endpoint="/api/jobs/check-round-trip",
    retries=0,
    timeout=timedelta(seconds=10),
    description="Do nothing; jobs-core check sends it to check that jobs arrive.",
)
async def check_round_trip(payload: Nothing, job: Job) -> None:
    """Do nothing: the job's arrival is the result."""
