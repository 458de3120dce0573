"""Finishes jobs that no worker will finish: their retries are used up, their worker died, or their message is
gone.

QStash reports the first by the failure callback. The sweep asks QStash about jobs without news for too long.
"""

import base64
import binascii
import json
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from sqlalchemy import Connection

from jobs_core.database import job_changes, job_queries, new_jobs, outbox_rows
from jobs_core.database.new_jobs import NewJob
from jobs_core.engine.app_context import AppContext
from jobs_core.engine.delivery import foreign_job, identify
from jobs_core.engine.redelivery import further_message, write_further
from jobs_core.model import outcome
from jobs_core.model.backoff import default_wait
from jobs_core.model.envelope import JobEnvelope, Name
from jobs_core.model.errors import JobError, JobValidationError, PublishError
from jobs_core.model.message import Message
from jobs_core.model.outcome import Answer
from jobs_core.model.records import JobRecord
from jobs_core.model.states import JobStatus
from jobs_core.qstash.client import MessageEnd

log: logging.Logger = logging.getLogger(__name__)

# How long after its expected change a job is left alone before the sweep asks QStash about it.
GRACE = timedelta(minutes=10)
SWEEP_LIMIT = 500
# After QStash's retries met nothing but workers that could not take the job.
_NOT_NOW_PAUSE = timedelta(seconds=30)
_LONGEST_RESPONSE = 500


class FailureNotice(BaseModel):
    """QStash's report of a message that it gave up (Upstash docs, features/callbacks)."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True
    )

    source_message_id: Name
    source_body: str = ""  # base64
    status: int = 0
    body: str = ""  # base64, of the last response
    retried: int = 0
    schedule_id: Name | None = None

    @classmethod
    def parse(cls, body: bytes) -> "FailureNotice":
        """Return a failure callback's body as its model. Raise JobValidationError."""
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise JobValidationError.from_pydantic("the failure callback", error) from None

    def envelope(self) -> JobEnvelope:
        """Return the envelope of the job it is about. Raise JobValidationError."""
        try:
            return JobEnvelope.parse(base64.b64decode(self.source_body, validate=True))
        except binascii.Error:
            raise JobValidationError("the failure callback's sourceBody is not base64") from None

    def describe(self) -> str:
        """Return why the job has failed, for its record."""
        attempts = f"{self.retried + 1} attempt{'s' if self.retried else ''}"
        if not self.status:
            return f"QStash gave up after {attempts}: the last one got no answer"
        try:
            said = base64.b64decode(self.body).decode(errors="replace")[:_LONGEST_RESPONSE].strip()
        except binascii.Error:
            said = ""
        return f"QStash gave up after {attempts}: the last one was answered {self.status}{': ' if said else ''}{said}"


class Closer:
    """Finishes jobs whose message QStash has given up or lost."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._database = context.database
        self._clock = context.clock

    async def on_failure(self, body: bytes) -> Answer:
        """Finish the job of a (verified) failure callback, or deliver it again if it has retries left."""
        try:
            notice = FailureNotice.parse(body)
            envelope = notice.envelope()
            job_id = identify(envelope, schedule_id=notice.schedule_id, message_id=notice.source_message_id)
            definition = self._context.registry.get(envelope.type)
        except JobError as error:
            log.warning("turned away a failure callback: %s", error, extra={"event": "malformed_callback"})
            return outcome.malformed(error)
        now = self._clock.now()

        def end(connection: Connection) -> JobRecord | None:
            job = foreign_job(definition, job_id, envelope, notice.schedule_id, now)
            return self._end(connection, job, notice, body, now)

        record = await self._database.write(end)
        if record is None:
            return outcome.ignored(job_id, "superseded")
        self._context.outbox.wake()
        if not record.is_finished:
            return self._not_over(record, notice)
        log.info(
            "closed %s", job_id, extra={"event": "closed", "job_id": job_id, "job_type": record.job_type}
        )
        return outcome.ignored(job_id, record.status)

    def _end(
        self, connection: Connection, job: NewJob, notice: FailureNotice, body: bytes, now: datetime
    ) -> JobRecord | None:
        """Finish the job of a notice, or deliver it again. Return ``None`` if the job has another message by now."""
        record = job_queries.get(connection, job.job_id, with_attempts=False)
        if record is None:
            # None of its deliveries reached a worker; the failure is recorded all the same.
            new_jobs.add_job(connection, job, message_id=notice.source_message_id)
            record = job_queries.get(connection, job.job_id, with_attempts=False)
        if record is None or record.message_id not in {None, notice.source_message_id}:
            return None
        if record.message_id is None and (waiting := job_queries.unpublished(connection, job.job_id)):
            if f"{record.job_id}.{record.run}" in waiting:
                # Run by hand: it is not known yet whether it is the new message that has ended, or an older one.
                return record.model_copy(update={"message_id": notice.source_message_id})
            if record.job_id not in waiting:
                return None
            # No older message was ever made, so it is the first that has ended, published by a process that died.
        if (
            not record.is_finished
            and (again_at := next_run(record, said_by_worker(notice.body, record.job_id), now)) is not None
        ):
            self._write_further(connection, record, notice.source_message_id, now, again_at)
        elif not record.is_finished:
            job_changes.abandon(connection, job.job_id, error=notice.describe(), now=now, seen=record)
        record = job_queries.get(connection, job.job_id, with_attempts=False)
        if record is not None and record.status is JobStatus.FAILED and record.options.failure_callback:
            forward = _forward(record, record.options.failure_callback, body)
            outbox_rows.add_message(connection, forward, created_at=now, locked_until=now)
        return record

    def _write_further(
        self, connection: Connection, record: JobRecord, ended: str | None, now: datetime, again_at: datetime
    ) -> bool:
        definition = self._context.registry.get(record.job_type)
        message = further_message(
            self._context.composer, definition, record, instead_of=ended, not_before=again_at
        )
        return write_further(connection, record, message, now=now, not_before=again_at)

    def _not_over(self, record: JobRecord, notice: FailureNotice) -> Answer:
        if record.message_id is not None:  # nothing was written: it changed at the same moment
            return outcome.busy(record.job_id)
        log.info(
            "redelivering %s, whose message ended before the job",
            record.job_id,
            extra={
                "event": "redelivering",
                "job_id": record.job_id,
                "job_type": record.job_type,
                "message_id": notice.source_message_id,
            },
        )
        return outcome.ignored(record.job_id, record.status)

    async def sweep(self) -> list[str]:
        """Look after jobs without news for too long whose message has ended or is missing. Return the ids of
        those that failed.

        They are treated as by the failure callback, which may have been lost: those that go on are delivered
        again, the others fail. Jobs whose message is still to be delivered are left to QStash.
        """
        now = self._clock.now()
        late = await self._database.read(
            lambda connection: job_queries.overdue(connection, expected_before=now - GRACE, limit=SWEEP_LIMIT)
        )
        return [
            record.job_id
            for record in late
            if (end := await self._message_end(record)) is not None and await self._has_failed(record, end)
        ]

    async def _has_failed(self, record: JobRecord, end: MessageEnd) -> bool:
        """Deliver a job again that is not at its end; fail one that is, or that cannot be delivered. Return
        whether it failed.

        A job that has changed since ``record`` was read has news: neither happens.
        """
        now = self._clock.now()
        said = said_by_worker(end.answer, record.job_id)
        if record.message_id is None and record.attempt_count:
            said = outcome.RETRIED  # while it ran, QStash refused the message that was to follow
        again_at = next_run(record, said, now)
        if again_at is None or record.job_type not in self._context.registry:
            return await self._close_lost(record, end.why)
        await self._database.write(
            lambda connection: self._write_further(connection, record, record.message_id, now, again_at)
        )
        self._context.outbox.wake()
        return False

    async def _message_end(self, record: JobRecord) -> MessageEnd | None:
        if record.message_id is None:
            return MessageEnd("it has no message, and none is to be published")
        try:
            return await self._context.client.message_end(record.message_id)
        except PublishError as error:
            log.warning("the sweep cannot ask QStash: %s", error, extra={"event": "sweep_unanswered"})
            return None

    async def _close_lost(self, record: JobRecord, why: str) -> bool:
        now = self._clock.now()
        error = f"lost: {why}; retry it by hand"
        closed = await self._database.write(
            lambda connection: job_changes.abandon(
                connection, record.job_id, error=error, now=now, seen=record
            )
        )
        if closed:
            log.error("lost %s", record.job_id, extra={"event": "lost", "job_id": record.job_id})
        return closed


def said_by_worker(answer: str, job_id: str) -> str | None:
    """Return the ``status`` in the last response to a delivery (base64), if that was a worker's about this job.

    Pure.
    """
    try:
        said = json.loads(base64.b64decode(answer))
    except ValueError:
        return None
    is_ours = isinstance(said, dict) and said.get("jobId") == job_id
    return str(said.get("status")) if is_ours else None


def next_run(record: JobRecord, said: str | None, now: datetime) -> datetime | None:
    """Return when a job runs again whose message QStash has given up; ``None`` if the job has failed with it.
    Pure.

    ``said`` is the worker's status in the last response that QStash received. A running attempt may belong to a
    dead worker: that is certain when its lease has ended. A waiting job goes on if the last response was a worker's
    own, saying that it will.
    """
    if record.status is JobStatus.PROCESSING:
        return max(record.lease_until or now, now)
    if said in outcome.NOT_THE_JOBS_FAILURE:
        return now + _NOT_NOW_PAUSE
    if said == outcome.RETRIED and record.retry_count <= record.max_retries:
        return max(record.next_attempt_at or now + default_wait(record.retry_count), now)
    return None


def _forward(record: JobRecord, url: str, body: bytes) -> Message:
    """Return a message to the caller's failure callback, since QStash's only one for the message is ours."""
    headers: Mapping[str, Any] = {"Content-Type": "application/json"}
    return Message(
        job_id=record.job_id,
        destination=url,
        body=body.decode(),
        headers=headers,
        deduplication_id=f"{record.job_id}.{record.run}.failed",
    )
