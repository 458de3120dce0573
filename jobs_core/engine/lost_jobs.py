"""Ends jobs that no worker will end: their retries are used up, their worker died, or their message is gone.

QStash tells us by the failure callback. The sweep asks about jobs of which nothing was heard for too long.
"""

import base64
import binascii
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from sqlalchemy import Connection

from jobs_core.database import job_queries, job_store
from jobs_core.engine.app_context import AppContext
from jobs_core.engine.worker import foreign_job, identify
from jobs_core.model import outcome
from jobs_core.model.envelope import JobEnvelope
from jobs_core.model.errors import JobError, JobValidationError, PublishError
from jobs_core.model.message import Message
from jobs_core.model.outcome import Answer
from jobs_core.model.records import JobRecord
from jobs_core.model.states import JobStatus

log = logging.getLogger(__name__)

# How late a sign of life may be before the sweep asks QStash about it.
GRACE = timedelta(minutes=10)
SWEEP_LIMIT = 500
_LONGEST_RESPONSE = 500


class FailureNotice(BaseModel):
    """What QStash says of a message that it gave up (Upstash docs, features/callbacks)."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    source_message_id: str
    source_body: str = ""  # base64
    status: int = 0
    body: str = ""  # base64, of the last response
    retried: int = 0
    schedule_id: str | None = None

    @classmethod
    def parse(cls, body: bytes) -> "FailureNotice":
        """Read a failure callback's body. Raises JobValidationError."""
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise JobValidationError.from_pydantic("the failure callback", error) from None

    def envelope(self) -> JobEnvelope:
        """The job it is about. Raises JobValidationError."""
        try:
            return JobEnvelope.parse(base64.b64decode(self.source_body, validate=True))
        except binascii.Error:
            raise JobValidationError("the failure callback's sourceBody is not base64") from None

    def describe(self) -> str:
        """Why the job has failed, for its record."""
        attempts = f"{self.retried + 1} attempt{'s' if self.retried else ''}"
        if not self.status:
            return f"QStash gave up after {attempts}: the last one got no answer"
        try:
            said = base64.b64decode(self.body).decode(errors="replace")[:_LONGEST_RESPONSE].strip()
        except binascii.Error:
            said = ""
        return f"QStash gave up after {attempts}: the last one was answered {self.status}{': ' if said else ''}{said}"


class Closer:
    """Brings jobs to their end on QStash's word."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._database = context.database
        self._clock = context.clock

    async def on_failure(self, body: bytes) -> Answer:
        """Close the job of a (verified) failure callback; while an attempt still runs, ask to come back."""
        try:
            notice = FailureNotice.parse(body)
            envelope = notice.envelope()
            job_id = identify(envelope, schedule_id=notice.schedule_id, message_id=notice.source_message_id)
            definition = self._context.registry.get(envelope.type)
        except JobError as error:
            log.warning("turned away a failure callback: %s", error, extra={"event": "malformed_callback"})
            return outcome.malformed(error)
        now = self._clock.now()

        def close(connection: Connection) -> JobRecord | None:
            if job_queries.get(connection, job_id, with_attempts=False) is None:
                # Not one of its deliveries reached us; the failure is still worth a record.
                job_store.add_job(
                    connection, foreign_job(definition, job_id, envelope, notice.schedule_id, now)
                )
            record = job_queries.get(connection, job_id, with_attempts=False)
            if record is None or record.message_id not in {None, notice.source_message_id}:
                return None
            job_store.abandon(connection, job_id, error=notice.describe(), now=now)
            record = job_queries.get(connection, job_id, with_attempts=False)
            if record is not None and record.status is JobStatus.FAILED and record.options.failure_callback:
                forward = _forward(record, record.options.failure_callback, body)
                job_store.add_message(connection, forward, created_at=now, locked_until=now)
            return record

        record = await self._database.write(close)
        if record is None:
            return outcome.ignored(job_id, "superseded")
        if not record.is_finished:
            wait = (record.lease_until or now) - now
            return outcome.busy(job_id, wait=max(wait, timedelta(seconds=1)))
        if record.options.failure_callback:
            self._context.outbox.wake()
        log.info(
            "closed %s", job_id, extra={"event": "closed", "job_id": job_id, "job_type": record.job_type}
        )
        return outcome.ignored(job_id, record.status)

    async def sweep(self) -> list[str]:
        """Fail jobs of which nothing was heard for too long and whose message has ended, or is not there (any more).

        Return the ids of the jobs it closed. Jobs whose message is still to be delivered are left to QStash.
        """
        now = self._clock.now()
        late = await self._database.read(
            lambda connection: job_queries.overdue(connection, expected_before=now - GRACE, limit=SWEEP_LIMIT)
        )
        return [
            record.job_id
            for record in late
            if (why := await self._why_lost(record)) is not None and await self._close_lost(record, why)
        ]

    async def _why_lost(self, record: JobRecord) -> str | None:
        if record.message_id is None:
            return "it has no message, and none is to be published"
        try:
            return await self._context.client.message_end(record.message_id)
        except PublishError as error:
            log.warning("the sweep cannot ask QStash: %s", error, extra={"event": "sweep_unanswered"})
            return None

    async def _close_lost(self, record: JobRecord, why: str) -> bool:
        now = self._clock.now()
        error = f"lost: {why}; retry it by hand"
        closed = await self._database.write(
            lambda connection: job_store.abandon(connection, record.job_id, error=error, now=now)
        )
        if closed:
            log.error("lost %s", record.job_id, extra={"event": "lost", "job_id": record.job_id})
        return closed


def _forward(record: JobRecord, url: str, body: bytes) -> Message:
    """QStash has one failure callback for a message, and that is ours; the caller's is told by a message."""
    headers: Mapping[str, Any] = {"Content-Type": "application/json"}
    return Message(
        job_id=record.job_id,
        destination=url,
        body=body.decode(),
        headers=headers,
        deduplication_id=f"{record.job_id}.{record.run}.failed",
    )
