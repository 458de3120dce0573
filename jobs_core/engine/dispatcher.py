"""Records jobs, publishes their messages, and reads and changes jobs afterwards.

A job exists as soon as its record is committed, and the intent to publish it is committed with it. The steps
after that (publishing, and storing the message's id) may fail or be interrupted; the outbox finishes them.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel
from sqlalchemy import Connection, event, inspect
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session

from jobs_core.database import caller_connections, job_changes, job_queries, new_jobs, outbox_rows
from jobs_core.database.caller_connections import BlockingConnection
from jobs_core.database.connections import Database
from jobs_core.database.job_queries import JobFilter, JobPage, TypeStats
from jobs_core.database.tables import JobExecution
from jobs_core.engine.app_context import AppContext
from jobs_core.engine.registry import JobDefinition, Registry
from jobs_core.engine.requests import Composer, Duration, JobRequest, envelope_of
from jobs_core.engine.schedules import Schedules
from jobs_core.model.clock import Clock
from jobs_core.model.envelope import Subject
from jobs_core.model.errors import JobNotFoundError, JobStateError, PublishError
from jobs_core.model.message import Message
from jobs_core.model.options import FlowControl, seconds
from jobs_core.model.recordable import storable
from jobs_core.model.records import JobRecord
from jobs_core.model.states import JobStatus
from jobs_core.qstash.client import QStashClient
from jobs_core.qstash.outbox import Outbox
from jobs_core.settings.settings import Settings

log: logging.Logger = logging.getLogger(__name__)

P = TypeVar("P", bound=BaseModel)

_FIRST_POLL_SECONDS = 0.02
_LONGEST_POLL_SECONDS = 1.0
# Each message under way is a task; so many keep every lane of the outbox full.
_PUBLISHED_AT_ONCE = 1_000
AnySession = AsyncSession | async_scoped_session[Any] | Session | scoped_session[Session]
_HAS_HOOK = "jobs_core.publishes_after_commit"


class JobDispatcher:
    """Enqueues jobs, and reads and changes existing ones. Make one a process; ``aclose`` it at the end.

    ``transport`` replaces the network connection to QStash, for tests without a socket.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        registry: Registry | None = None,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.context: AppContext = AppContext(settings, registry=registry, clock=clock, transport=transport)
        self.schedules: Schedules = Schedules(self.context)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish the work under way and close all connections."""
        await self.context.aclose()

    @property
    def settings(self) -> Settings:
        return self.context.settings

    @property
    def registry(self) -> Registry:
        """Return the job types that can be enqueued."""
        return self.context.registry

    @property
    def clock(self) -> Clock:
        """Return the clock that the records' times are taken from."""
        return self.context.clock

    @property
    def database(self) -> Database:
        """Return the database of the job records."""
        return self.context.database

    @property
    def client(self) -> QStashClient:
        """Return the QStash client."""
        return self.context.client

    @property
    def outbox(self) -> Outbox:
        """Return the outbox: the messages that are committed and not yet published."""
        return self.context.outbox

    @property
    def composer(self) -> Composer:
        """Return the composer, which makes records and messages from requests."""
        return self.context.composer

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
        session: AnySession | None = None,
        connection: Any = None,
    ) -> str:
        """Record a job, publish it, and return its id.

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
            connection: the same for those without SQLAlchemy: a ``sqlite3.Connection``, a psycopg 3 ``Connection``
                or ``AsyncConnection``, or one of psycopg 2 or asyncpg, in a transaction. A connection tells nobody of
                its commit, so a running worker publishes the job within two seconds; ``flush`` does it at once.

        Raises:
            JobValidationError: the payload or an option is not valid; every error is listed.
            UnknownJobTypeError: no such job type.
            PublishRefusedError: QStash refused the message for good; the job is recorded as failed. If QStash
                cannot be reached there is no error: the job is recorded, and published as soon as it can be.
            TypeError, ValueError: ``connection`` is of no known kind, or in no transaction.
        """
        request = JobRequest.of(
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
        return (await self.enqueue_many([request], session=session, connection=connection))[0]

    async def enqueue_many(
        self,
        requests: Sequence[JobRequest],
        *,
        session: AnySession | None = None,
        connection: Any = None,
    ) -> Sequence[str]:
        """Record many jobs in one transaction, publish them a hundred a request, and return their ids.

        Where the call is cancelled after the commit, the relay publishes the rest within about a minute.
        ``session`` and ``connection`` are as with ``enqueue``.

        Raises:
            JobValidationError, UnknownJobTypeError: and nothing is recorded.
            ExceptionGroup: of PublishRefusedError, when QStash refuses some; the others are published. A
                single request raises its error as it is.
        """
        if session is not None and connection is not None:
            raise TypeError("give session or connection, not both")
        if session is not None:
            return await self._enqueue_within(session, requests)
        if connection is not None:
            return await self._enqueue_on(connection, requests)
        jobs = [self.composer.prepare(request) for request in requests]
        if not jobs:
            return []

        job_ids = await self.database.write_jointly(
            new_jobs.insert_jointly, new_jobs.NewJobs(jobs, self.outbox.locked_until())
        )
        new = [job for job, job_id in zip(jobs, job_ids, strict=True) if job.job_id == job_id]
        for job in new:
            self.context.observer.enqueued(job.job_type)
        await self._publish([job.message for job in new if job.message is not None])
        return job_ids

    async def flush(self) -> None:
        """Publish everything that callers' transactions have committed, and wait for it. For scripts and tests."""
        await self.outbox.flush()

    async def schedule(
        self,
        job_type: str | JobDefinition[P],
        cron: str,
        payload: P | Mapping[str, Any],
        *,
        schedule_id: str | None = None,
        timezone: str = "UTC",
        user_id: Subject | None = None,
        organization_id: Subject | None = None,
        **options: Any,
    ) -> str:
        """Enqueue a job at every time that matches ``cron``. See ``Schedules.create``."""
        return await self.schedules.create(
            job_type,
            cron,
            payload,
            schedule_id=schedule_id,
            timezone=timezone,
            user_id=user_id,
            organization_id=organization_id,
            **options,
        )

    # --- jobs that exist

    async def get(self, job_id: str) -> JobRecord:
        """Return one job with its attempts. Raise JobNotFoundError."""
        _check_id(job_id)
        record = await self.database.read(lambda connection: job_queries.get(connection, job_id))
        if record is None:
            raise _not_found(job_id)
        return record

    async def list(self, wanted: JobFilter | None = None) -> JobPage:
        """Return one page of the jobs that match, the newest first."""
        return await self.database.read(
            lambda connection: job_queries.page(connection, wanted or JobFilter())
        )

    async def stats(self, period: timedelta = timedelta(days=1)) -> Sequence[TypeStats]:
        """Return, by job type, how many jobs created in the last ``period`` are in each state."""
        since = self.clock.now() - period
        return await self.database.read(lambda connection: job_queries.stats(connection, since=since))

    async def wait(self, job_id: str, timeout: Duration = 30) -> JobRecord:  # noqa: ASYNC109 -- part of the API
        """Wait until the job is finished, and return it. ``timeout`` is real time.

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
        """Cancel an unfinished job. A running handler is not stopped, but its result is dropped.

        Raises:
            JobNotFoundError, JobStateError: there is no such job, or it is finished.
        """
        _check_id(job_id)
        now = self.clock.now()
        changed = await self.database.write(
            lambda connection: job_changes.cancel(connection, job_id, now=now)
        )
        record = await self.get(job_id)
        if not changed:
            raise JobStateError(f"job {job_id} is {record.status} and cannot be cancelled", job_id=job_id)
        if record.message_id is not None:
            await self._cancel_message(record.message_id, job_id)
        return record

    async def run_now(self, job_id: str) -> JobRecord:
        """Deliver a job now that waits for its delay or its next attempt; this uses up no retry. Return the job.

        Raises:
            JobNotFoundError, JobStateError: there is no such job, or it does not wait in QStash.
            PublishUnavailableError, PublishRefusedError: QStash did not answer, or refused.
        """
        record = await self.get(job_id)
        if record.status is not JobStatus.PENDING or record.message_id is None:
            raise JobStateError(f"job {job_id} is {record.status} and does not wait in QStash", job_id=job_id)
        if not await self.client.send_now(record.message_id):
            raise JobStateError(f"job {job_id} does not wait: its delivery is under way", job_id=job_id)
        return await self.get(job_id)

    async def retry(self, job_id: str) -> JobRecord:
        """Run a finished job again: same id and payload, a new message, its history kept.

        Raises:
            JobNotFoundError, JobStateError: there is no such job, or it is not finished.
            PublishRefusedError: as ``enqueue``.
        """
        record = await self.get(job_id)
        definition = self.registry.get(record.job_type)
        now = self.clock.now()

        def revive(connection: Connection) -> Message | None:
            run = job_changes.revive(connection, job_id, now=now)
            if run is None:
                return None
            message = self.composer.message(
                definition, envelope_of(record), record.options, deduplication_id=f"{job_id}.{run}"
            )
            outbox_rows.add_message(
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
        self,
        session: Session | scoped_session[Session],
        requests: Sequence[JobRequest],
        loop: asyncio.AbstractEventLoop,
    ) -> Sequence[str]:
        """Write jobs in a blocking session's transaction, and publish them on ``loop`` after the commit.

        Raises:
            JobValidationError, UnknownJobTypeError: as ``enqueue``.
            TypeError, UnboundExecutionError: it is no session of SQLAlchemy, or of no database with the job tables.
        """
        if isinstance(session, scoped_session):
            session = session()
        if not isinstance(session, Session):
            raise TypeError(_no_session(session))
        jobs = [self.composer.prepare(request) for request in requests]
        connection = _connection_of(session)
        self._publish_after_commit(session, loop)
        # No lock: this process publishes after the commit, and if it dies before, another may do so at once.
        return new_jobs.insert_jobs(connection, jobs, locked_until=self.clock.now())

    def write_on(self, connection: BlockingConnection, requests: Sequence[JobRequest]) -> Sequence[str]:
        """Write jobs in the transaction of a connection. The caller, or else the relay, publishes them after
        the commit.

        Raises:
            JobValidationError, UnknownJobTypeError: as ``enqueue``.
        """
        jobs = [self.composer.prepare(request) for request in requests]
        now = self.clock.now()
        return caller_connections.run_blocking(
            connection, new_jobs.insert_plainly(jobs, locked_until=now, dialect=connection.dialect)
        )

    async def _enqueue_on(self, connection: Any, requests: Sequence[JobRequest]) -> Sequence[str]:
        if (blocking := caller_connections.blocking(connection)) is not None:
            return self.write_on(blocking, requests)
        if (awaited := caller_connections.awaiting(connection)) is None:
            raise caller_connections.not_accepted(connection, is_blocking=False)
        jobs = [self.composer.prepare(request) for request in requests]
        now = self.clock.now()
        return await caller_connections.run_awaiting(
            awaited, new_jobs.insert_plainly(jobs, locked_until=now, dialect=awaited.dialect)
        )

    async def _enqueue_within(self, session: AnySession, requests: Sequence[JobRequest]) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        if isinstance(session, async_scoped_session):
            within: AsyncSession = session()
            return await within.run_sync(self.write_within, requests, loop)
        if isinstance(session, AsyncSession):
            return await session.run_sync(self.write_within, requests, loop)
        return self.write_within(session, requests, loop)

    def _publish_after_commit(self, session: Session, loop: asyncio.AbstractEventLoop) -> None:
        """Wake the relay at each commit of this session. The relay only sees committed messages."""
        loops = session.info.setdefault(_HAS_HOOK, {})
        is_hooked = self in loops
        loops[self] = loop  # the one in use: a session may outlive a loop
        if is_hooked:
            return

        def wake(committed: Session) -> None:
            # A savepoint's release is announced as a commit too.
            if not committed.in_nested_transaction() and not loops[self].is_closed():
                loops[self].call_soon_threadsafe(self.outbox.wake)

        event.listen(session, "after_commit", wake)

    async def _publish(self, messages: Sequence[Message]) -> None:
        if len(messages) == 1:
            await self.outbox.publish(messages[0])
            return
        answers: list[str | BaseException | None] = []
        for start in range(0, len(messages), _PUBLISHED_AT_ONCE):
            some = messages[start : start + _PUBLISHED_AT_ONCE]
            answers += await asyncio.gather(*map(self.outbox.publish, some), return_exceptions=True)
        errors = [answer for answer in answers if isinstance(answer, BaseException)]
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


def _check_id(job_id: str) -> None:
    """Raise JobNotFoundError for a text that no column holds; PostgreSQL would refuse the question."""
    if job_id != storable(job_id):
        raise _not_found(job_id)


def _not_found(job_id: str) -> JobNotFoundError:
    return JobNotFoundError(f"there is no job {storable(job_id)}", job_id=job_id)


def _no_session(given: object) -> str:
    is_awaited = isinstance(given, AsyncSession | async_scoped_session)
    hint = " (an AsyncSession is for JobDispatcher, which is awaited)" if is_awaited else ""
    return (
        f"session must be a Session or scoped_session of SQLAlchemy, or for JobDispatcher an AsyncSession, not "
        f"{type(given).__qualname__}{hint}"
    )


def _connection_of(session: Session) -> Connection:
    """Return the session's connection to the database of the job tables."""
    try:
        return session.connection(bind_arguments={"mapper": inspect(JobExecution)})
    except UnboundExecutionError as error:
        raise UnboundExecutionError(
            "the session is bound to no database for the job tables; name it: Session(binds={JobsModel: engine}), "
            f"with JobsModel of jobs_core.database.tables ({error})"
        ) from None
