"""Turns jobs into records and messages.

A job exists as soon as its record is committed, and the intent to publish it is committed with it. What
follows (publishing, and noting the message's id) may fail or be interrupted; the outbox finishes it.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from jobs_core import executions
from jobs_core.clock import Clock, SystemClock
from jobs_core.database import Database
from jobs_core.envelope import JobEnvelope, Metadata, Subject
from jobs_core.errors import (
    JobNotFoundError,
    JobStateError,
    JobValidationError,
    PublishError,
)
from jobs_core.executions import JobFilter, JobPage, NewJob, TypeStats
from jobs_core.ids import new_job_id
from jobs_core.job import current_job_id
from jobs_core.options import DeliveryOptions, FlowControl, not_before_header, publish_headers, seconds
from jobs_core.outbox import Outbox
from jobs_core.publisher import Message, QStashClient
from jobs_core.records import JobRecord
from jobs_core.registry import FAILURE_CALLBACK_PATH, JobDefinition, Registry, default_registry
from jobs_core.schedules import Schedules
from jobs_core.settings import Settings

log = logging.getLogger(__name__)

P = TypeVar("P", bound=BaseModel)
Duration = timedelta | float  # seconds, where it is a number

_FIRST_POLL_SECONDS = 0.02
_LONGEST_POLL_SECONDS = 1.0
_HAS_HOOK = "jobs_core.publishes_after_commit"


@dataclass(frozen=True, slots=True)
class JobRequest:
    """One job to enqueue: what ``enqueue`` takes, as a value, for ``enqueue_many``."""

    job_type: str | JobDefinition[Any]
    payload: BaseModel | Mapping[str, Any]
    user_id: Subject | None = None
    organization_id: Subject | None = None
    idempotency_key: str | None = None
    parent_job_id: str | None = None
    delay: Duration | None = None
    not_before: datetime | None = None
    options: Mapping[str, Any] = field(default_factory=dict)  # of DeliveryOptions


class JobDispatcher:
    """Enqueues jobs and looks after those that exist. One for each process; ``aclose`` when done.

    ``transport`` is how QStash is reached, in tests perhaps without a socket.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        registry: Registry | None = None,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.settings = settings or Settings.load()
        self.registry = registry or default_registry(self.settings.jobs_modules)
        self.clock: Clock = clock or SystemClock()
        self.database = Database(self.settings.database_url, pool_size=self.settings.database_pool_size)
        self.client = QStashClient(
            self.settings.qstash_url, self.settings.qstash_token.get_secret_value(), transport=transport
        )
        self.outbox = Outbox(self.database, self.client, self.clock)
        self.schedules = Schedules(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish what is under way and close all connections."""
        await self.outbox.close()
        await self.client.aclose()
        await self.database.close()

    # --- enqueueing

    async def enqueue(
        self,
        job_type: str | JobDefinition[P],
        payload: P | Mapping[str, Any],
        *,
        user_id: Subject | None = None,
        organization_id: Subject | None = None,
        idempotency_key: str | None = None,
        parent_job_id: str | None = None,
        delay: Duration | None = None,
        not_before: datetime | None = None,
        retries: int | None = None,
        retry_delay: timedelta | str | None = None,
        timeout: Duration | None = None,  # noqa: ASYNC109 -- the handler's, not this call's
        callback: str | None = None,
        failure_callback: str | None = None,
        headers: Mapping[str, str] | None = None,
        queue: str | None = None,
        flow_control: FlowControl | None = None,
        label: str | None = None,
        session: AsyncSession | Session | None = None,
    ) -> str:
        """Record a job, publish it, and answer its id.

        Args:
            idempotency_key: a second job of this type with the same key is not made; the first one's id is
                answered.
            delay: earliest start from now, a timedelta or seconds; ``not_before`` (aware) says it absolutely
                and wins.
            retries: how often a failed attempt is repeated; ``retry_delay`` is a timedelta, or an expression
                in milliseconds over ``retried``, such as ``"1000 * pow(2, retried)"``.
            timeout: how long the handler may run, a timedelta or seconds.
            callback: URL that QStash tells of every attempt; ``failure_callback`` is told once, of failure.
            session: write the job in this transaction, with the caller's own rows. It is published after the
                commit, and never if the transaction rolls back.

        Raises:
            JobValidationError: the payload or an option is not valid; every error is listed.
            UnknownJobTypeError: no such job type.
            PublishRefusedError: QStash refused the message for good; the job is recorded as failed. If QStash
                cannot be reached there is no error: the job is recorded, and published as soon as it can be.
        """
        request = self.request(
            job_type,
            payload,
            user_id=user_id,
            organization_id=organization_id,
            idempotency_key=idempotency_key,
            parent_job_id=parent_job_id,
            delay=delay,
            not_before=not_before,
            retries=retries,
            retry_delay=retry_delay,
            timeout=timeout,
            callback=callback,
            failure_callback=failure_callback,
            headers=headers,
            queue=queue,
            flow_control=flow_control,
            label=label,
        )
        if session is not None:
            return (await self._enqueue_within(session, [request]))[0]
        return (await self.enqueue_many([request]))[0]

    async def enqueue_many(self, requests: Sequence[JobRequest]) -> Sequence[str]:
        """Record many jobs in one transaction and publish them a hundred in a request; answers their ids.

        Raises:
            JobValidationError, UnknownJobTypeError: and nothing is recorded.
            ExceptionGroup: of PublishRefusedError, when QStash refuses some; the others are published. A
                single request raises its error as it is.
        """
        jobs = [self.prepare(request) for request in requests]
        if not jobs:
            return []

        locked_until = self.outbox.locked_until()
        job_ids = await self.database.write(
            lambda connection: executions.insert_jobs(connection, jobs, locked_until=locked_until)
        )
        new = [job for job, job_id in zip(jobs, job_ids, strict=True) if job.job_id == job_id]
        await self._publish([job.message for job in new if job.message is not None])
        return job_ids

    def request(
        self,
        job_type: str | JobDefinition[P],
        payload: P | Mapping[str, Any],
        *,
        user_id: Subject | None = None,
        organization_id: Subject | None = None,
        idempotency_key: str | None = None,
        parent_job_id: str | None = None,
        delay: Duration | None = None,
        not_before: datetime | None = None,
        timeout: Duration | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> JobRequest:
        """What ``enqueue`` takes, as a value for ``enqueue_many``; nothing is checked yet."""
        return JobRequest(
            job_type,
            payload,
            user_id=user_id,
            organization_id=organization_id,
            idempotency_key=idempotency_key,
            parent_job_id=parent_job_id,
            delay=delay,
            not_before=not_before,
            options=_given(
                timeout_seconds=None if timeout is None else seconds(timeout),
                headers=dict(headers) if headers else None,
                **options,
            ),
        )

    def prepare(self, request: JobRequest) -> NewJob:
        """The record and the message of a request, with nothing done yet.

        Raises:
            JobValidationError, UnknownJobTypeError: as ``enqueue``.
        """
        definition = self.definition(request.job_type)
        payload = definition.parse(request.payload).model_dump(mode="json", by_alias=True)
        options = parse_options(definition, request.options)
        now = self.clock.now()
        job_id = new_job_id(now)
        metadata = _metadata(definition, request, now)
        deliver_at = _deliver_at(definition, request, now)
        message = self.message(
            definition,
            JobEnvelope(job_id=job_id, type=definition.job_type, payload=payload, metadata=metadata),
            options,
            deduplication_id=job_id,
            deliver_at=deliver_at,
            not_before=request.not_before,
        )
        return NewJob(
            job_id=job_id,
            job_type=definition.job_type,
            payload=payload,
            options=options,
            max_retries=max_retries(definition, options),
            created_at=now,
            message=message,
            user_id=request.user_id,
            organization_id=request.organization_id,
            idempotency_key=request.idempotency_key,
            parent_job_id=metadata.parent_job_id,
            next_attempt_at=request.not_before or deliver_at or now,
        )

    def definition(self, job_type: str | JobDefinition[Any]) -> JobDefinition[Any]:
        """The definition that this dispatcher's registry has. Raises UnknownJobTypeError."""
        return self.registry.get(job_type.job_type if isinstance(job_type, JobDefinition) else job_type)

    def message(
        self,
        definition: JobDefinition[Any],
        envelope: JobEnvelope,
        options: DeliveryOptions,
        *,
        deduplication_id: str,
        deliver_at: datetime | None = None,
        not_before: datetime | None = None,
    ) -> Message:
        """The message that delivers ``envelope``."""
        headers = self.headers(definition, options)
        if not_before is not None:
            headers["Upstash-Not-Before"] = not_before_header(not_before)
        return Message(
            job_id=envelope.job_id or "",
            destination=self.url(definition),
            body=envelope.to_json(),
            headers=headers,
            deduplication_id=deduplication_id,
            queue=options.queue,
            deliver_at=deliver_at,
        )

    def headers(self, definition: JobDefinition[Any], options: DeliveryOptions) -> dict[str, str]:
        """The headers that say how jobs of this type are delivered."""
        return publish_headers(
            options,
            retries=max_retries(definition, options),
            timeout=handler_timeout(definition, options),
            label=definition.job_type,
            failure_callback=f"{self.settings.base_url}{FAILURE_CALLBACK_PATH}",
        )

    def url(self, definition: JobDefinition[Any]) -> str:
        """Where jobs of this type are delivered: the string that signatures are made over."""
        return f"{self.settings.base_url}{definition.endpoint}"

    # --- jobs that exist

    async def get(self, job_id: str) -> JobRecord:
        """One job with its attempts. Raises JobNotFoundError."""
        record = await self.database.read(lambda connection: executions.get(connection, job_id))
        if record is None:
            raise JobNotFoundError(f"there is no job {job_id}", job_id=job_id)
        return record

    async def list(self, wanted: JobFilter | None = None) -> JobPage:
        """The jobs that match, the newest first, a page at a time."""
        return await self.database.read(lambda connection: executions.page(connection, wanted or JobFilter()))

    async def stats(self, period: timedelta = timedelta(days=1)) -> Sequence[TypeStats]:
        """How many jobs created in the last ``period`` are in which state, by type."""
        since = self.clock.now() - period
        return await self.database.read(lambda connection: executions.stats(connection, since=since))

    async def wait(self, job_id: str, timeout: Duration = 30) -> JobRecord:  # noqa: ASYNC109 -- part of the API
        """Wait until the job is finished; ``timeout`` is real time.

        Raises:
            TimeoutError: it is not finished by then.
            JobNotFoundError: there is no such job.
        """
        poll = _FIRST_POLL_SECONDS
        async with asyncio.timeout(seconds(timeout)):
            while not (record := await self.get(job_id)).is_finished:
                await asyncio.sleep(poll)
                poll = min(_LONGEST_POLL_SECONDS, poll * 1.5)
        return record

    async def cancel(self, job_id: str) -> JobRecord:
        """Cancel a job that is not finished; a handler that runs is not stopped, but its result is dropped.

        Raises:
            JobNotFoundError, JobStateError: there is no such job, or it is finished.
        """
        now = self.clock.now()
        changed = await self.database.write(lambda connection: executions.cancel(connection, job_id, now=now))
        record = await self.get(job_id)
        if not changed:
            raise JobStateError(f"job {job_id} is {record.status} and cannot be cancelled", job_id=job_id)
        if record.message_id is not None:
            await self._cancel_message(record.message_id, job_id)
        return record

    async def retry(self, job_id: str) -> JobRecord:
        """Do a finished job once more: same id and payload, a new message, its history kept.

        Raises:
            JobNotFoundError, JobStateError: there is no such job, or it is not finished.
            PublishRefusedError: as ``enqueue``.
        """
        record = await self.get(job_id)
        definition = self.registry.get(record.job_type)
        now = self.clock.now()

        def revive(connection: Connection) -> Message | None:
            run = executions.revive(connection, job_id, now=now)
            if run is None:
                return None
            message = self.message(
                definition, _envelope(record), record.options, deduplication_id=f"{job_id}.{run}"
            )
            executions.add_message(
                connection, message, created_at=now, locked_until=self.outbox.locked_until()
            )
            return message

        message = await self.database.write(revive)
        if message is None:
            raise JobStateError(
                f"job {job_id} is {record.status}: only a finished job is retried", job_id=job_id
            )
        await self._publish([message])
        return await self.get(job_id)

    # --- inside

    def write_within(
        self, session: Session, requests: Sequence[JobRequest], loop: asyncio.AbstractEventLoop
    ) -> Sequence[str]:
        """Write jobs in a blocking session's transaction; ``loop``, on which we run, publishes after the commit.

        Raises:
            JobValidationError, UnknownJobTypeError: as ``enqueue``.
        """
        jobs = [self.prepare(request) for request in requests]
        self._publish_after_commit(session, loop)
        # No lock: this process hears of the commit, but should it die first, another may take over at once.
        return executions.insert_jobs(session.connection(), jobs, locked_until=self.clock.now())

    async def _enqueue_within(
        self, session: AsyncSession | Session, requests: Sequence[JobRequest]
    ) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        if isinstance(session, Session):
            return self.write_within(session, requests, loop)
        return await session.run_sync(self.write_within, requests, loop)

    def _publish_after_commit(self, session: Session, loop: asyncio.AbstractEventLoop) -> None:
        """Wake the relay at each commit of this session: it sees only what is really committed."""
        if session.info.get(_HAS_HOOK) is self:
            return
        session.info[_HAS_HOOK] = self

        def wake(committed: Session) -> None:
            # A savepoint's release is announced as a commit too.
            if not committed.in_nested_transaction() and not loop.is_closed():
                loop.call_soon_threadsafe(self.outbox.wake)

        event.listen(session, "after_commit", wake)

    async def _publish(self, messages: Sequence[Message]) -> None:
        answers = await asyncio.gather(*map(self.outbox.publish, messages), return_exceptions=True)
        errors = [answer for answer in answers if isinstance(answer, BaseException)]
        if len(errors) == 1 and len(messages) == 1:
            raise errors[0]
        if errors:
            raise BaseExceptionGroup(f"{len(errors)} of {len(messages)} jobs were not published", errors)

    async def _cancel_message(self, message_id: str, job_id: str) -> None:
        try:
            await self.client.cancel(message_id)
        except PublishError as error:
            # The delivery will find the job cancelled and not run it.
            log.warning(
                "the message of cancelled job %s could not be cancelled: %s",
                job_id,
                error,
                extra={"event": "cancel_unconfirmed", "job_id": job_id, "message_id": message_id},
            )


def max_retries(definition: JobDefinition[Any], options: DeliveryOptions) -> int:
    """How often a failed attempt of this job is repeated."""
    return definition.retries if options.retries is None else options.retries


def handler_timeout(definition: JobDefinition[Any], options: DeliveryOptions) -> timedelta:
    """How long the handler may run for this job."""
    given = options.timeout_seconds
    return definition.timeout if given is None else timedelta(seconds=given)


def parse_options(definition: JobDefinition[Any], given: Mapping[str, Any]) -> DeliveryOptions:
    """Delivery options as their model. Raises JobValidationError."""
    try:
        return DeliveryOptions.model_validate(dict(given))
    except ValidationError as error:
        raise JobValidationError.from_pydantic(f"the delivery of {definition.job_type}", error) from None


def _metadata(definition: JobDefinition[Any], request: JobRequest, now: datetime) -> Metadata:
    try:
        return Metadata(
            user_id=request.user_id,
            organization_id=request.organization_id,
            idempotency_key=request.idempotency_key,
            parent_job_id=request.parent_job_id or current_job_id.get(),
            created_at=now,
        )
    except ValidationError as error:
        raise JobValidationError.from_pydantic(f"the metadata of {definition.job_type}", error) from None


def _given(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _deliver_at(definition: JobDefinition[Any], request: JobRequest, now: datetime) -> datetime | None:
    if request.not_before is not None or request.delay is None:
        return None
    delay = seconds(request.delay)
    if delay < 0:
        raise JobValidationError(f"the delay of {definition.job_type} must not be negative, but is {delay} s")
    return now + timedelta(seconds=delay)


def _envelope(record: JobRecord) -> JobEnvelope:
    metadata = Metadata(
        user_id=record.user_id,
        organization_id=record.organization_id,
        idempotency_key=record.idempotency_key,
        parent_job_id=record.parent_job_id,
        created_at=record.created_at,
    )
    return JobEnvelope(job_id=record.job_id, type=record.job_type, payload=record.payload, metadata=metadata)
