"""Claiming the jobs of deliveries, for many deliveries in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from jobs_core.database import job_attempts, job_queries, new_jobs
from jobs_core.database.job_attempts import Claim, Claimed, Died
from jobs_core.engine.delivery import Delivery, foreign_job
from jobs_core.engine.registry import JobDefinition
from jobs_core.engine.requests import handler_timeout
from jobs_core.model.backoff import ANSWER_MARGIN
from jobs_core.model.envelope import JobEnvelope
from jobs_core.model.options import DeliveryOptions
from jobs_core.model.records import JobRecord

_NO_OPTIONS = DeliveryOptions()


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """A delivery that is about to run its job."""

    definition: JobDefinition[Any]
    job_id: str
    envelope: JobEnvelope
    delivery: Delivery
    now: datetime

    def lease(self, options: DeliveryOptions) -> datetime:
        """Return when the lease of a job with these options ends."""
        return self.now + handler_timeout(self.definition, options) + ANSWER_MARGIN


Found = Claimed | Died | JobRecord | None
"""What a claim finds: the job, its failure, the record of a job that is not free, or nothing for a second claim of the
same job.
"""


def claim_all(connection: Connection, requests: Sequence[ClaimRequest]) -> list[Found]:
    """Claim the job of each delivery, in the caller's transaction. Return what each claim finds."""
    claimed = job_attempts.claim(connection, [_claim_of(request) for request in requests])
    found: list[Found] = []
    for request, got in zip(requests, claimed, strict=True):
        taken = got or _claim_late(connection, request)
        if isinstance(taken, Claimed) and taken.options.timeout_seconds is not None:
            job_attempts.extend_lease(connection, request.job_id, lease_until=request.lease(taken.options))
        found.append(taken)
    return found


def _claim_late(connection: Connection, request: ClaimRequest) -> Found:
    record = job_queries.get(connection, request.job_id, with_attempts=False)
    if record is not None:
        return record
    # Published by another service, or by a schedule: it has no record before its delivery.
    job = foreign_job(
        request.definition, request.job_id, request.envelope, request.delivery.schedule_id, request.now
    )
    if request.delivery.max_retries is not None:
        job = replace(job, max_retries=request.delivery.max_retries)
    new_jobs.add_job(connection, job, message_id=request.delivery.message_id)
    [got] = job_attempts.claim(connection, [_claim_of(request)])
    return got or job_queries.get(connection, request.job_id, with_attempts=False)


def _claim_of(request: ClaimRequest) -> Claim:
    # With the type's timeout, as the job's own options are only read with the claim; few jobs have one.
    until = request.lease(_NO_OPTIONS)
    return Claim(request.job_id, request.delivery.message_id, request.now, until)
