"""Carries out one delivery: verify, parse, claim, run the handler with a timeout, record, respond.

QStash delivers at least once, so the same job may arrive twice, even at the same time. The claim decides: one
conditional UPDATE takes the job for one attempt under a lease. A finished job is answered 200 and not run.
For a job that another attempt holds, a further message is written that comes when that lease has ended. A job
whose lease has ended was abandoned by a worker that died, and is taken over.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any, assert_never

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from jobs_core.database import job_attempts, job_queries, new_jobs
from jobs_core.database.connections import is_lost, is_unavailable, why_unavailable
from jobs_core.database.job_attempts import Claim, Claimed, Died, Ended
from jobs_core.database.new_jobs import NewJob
from jobs_core.engine.app_context import AppContext
from jobs_core.engine.handler_threads import HandlerThreads
from jobs_core.engine.job import Job, JobLogger, Write, current_job_id
from jobs_core.engine.redelivery import further_message, write_further
from jobs_core.engine.registry import JobDefinition
from jobs_core.engine.requests import handler_timeout, max_retries
from jobs_core.engine.resources import Resources
from jobs_core.engine.running_attempts import RunningAttempts
from jobs_core.model import outcome
from jobs_core.model.backoff import ANSWER_MARGIN
from jobs_core.model.clock import Clock, SystemClock
from jobs_core.model.envelope import JobEnvelope
from jobs_core.model.errors import JobError, JobTimeoutError, JobValidationError
from jobs_core.model.ids import scheduled_job_id
from jobs_core.model.options import DeliveryOptions
from jobs_core.model.outcome import Answer, Attempt, Verdict
from jobs_core.model.recordable import not_recorded
from jobs_core.model.records import JobRecord
from jobs_core.model.states import Event
from jobs_core.qstash.signature import Rejected, Verified, Verifier
from jobs_core.settings.regions import region_of
from jobs_core.tracing import TRACE_HEADERS, ProcessSpan, process_span

log: logging.Logger = logging.getLogger(__name__)

_NO_OPTIONS = DeliveryOptions()
_THREAD_PAUSE = timedelta(seconds=5)
_DATABASE_PAUSE = timedelta(seconds=10)
_RECORD_PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One HTTP request from QStash."""

    url: str  # public: BASE_URL and path
    body: bytes
    signature: str | None
    message_id: str | None
    retried: int
    schedule_id: str | None
    trace: Mapping[str, str]  # the trace context it carries, if it does
    max_retries: int | None = None  # of the message, where QStash says it
    region: str | None = None  # not verified: whoever sends it chooses among our own keys

    @classmethod
    def of(cls, url: str, body: bytes, headers: Mapping[str, str]) -> "Delivery":
        """Make one from a request's headers, by their names in lower case."""
        max_retries = headers.get("upstash-max-retries")
        return cls(
            url=url,
            body=body,
            signature=headers.get("upstash-signature"),
            message_id=headers.get("upstash-message-id"),
            retried=_number(headers.get("upstash-retried", "0")),
            schedule_id=headers.get("upstash-schedule-id"),
            trace={name: headers[name] for name in TRACE_HEADERS if name in headers},
            max_retries=None if max_retries is None else _number(max_retries),
            region=headers.get("upstash-region"),
        )


def _number(text: str) -> int:
    """Return digits as a number. They are not verified yet: anyone may send any number of them."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0


@dataclass(frozen=True, slots=True)
class _Wish:
    """A delivery that asks for its job."""

    definition: JobDefinition[Any]
    job_id: str
    envelope: JobEnvelope
    delivery: Delivery
    now: datetime

    def lease(self, options: DeliveryOptions) -> datetime:
        """Return when the lease ends for a job with these options."""
        return self.now + handler_timeout(self.definition, options) + ANSWER_MARGIN


@dataclass(frozen=True, slots=True)
class _Held:
    """A job claimed for one attempt."""

    attempt: Attempt
    message_id: str | None
    timeout: timedelta
    deadline: datetime
    begins_by: datetime  # later, the handler would outlive the lease


class Worker:
    """Runs the handlers of one application. Any number of processes may share the records."""

    def __init__(
        self,
        context: AppContext,
        resources: Resources | None = None,
        *,
        wall_clock: Clock | None = None,
    ) -> None:
        settings = context.settings
        self._context = context
        self._database = context.database
        self._clock = context.clock
        self._resources = resources or Resources()
        # Signatures carry real time, even where the jobs' clock is turned.
        self._wall_clock = wall_clock or SystemClock()
        self._attempts = RunningAttempts()
        self._explains = not settings.is_production
        tolerance = settings.signature_tolerance_seconds
        self._verifier = Verifier.of(settings.signing_keys, tolerance)
        self._verifiers = {
            region: Verifier.of(keys, tolerance) for region, keys in settings.signing_keys_by_region.items()
        }

    async def stop(self) -> None:
        """Interrupt the attempts that still run, and wait some seconds for their leases to be given back.

        Servers cancel requests and close the application at the same moment; the database must outlive both.
        """
        await self._attempts.stop()

    def verify(self, delivery: Delivery) -> Answer | None:
        """Return ``None`` if the delivery is genuine, else the response that rejects it."""
        region = region_of(delivery.region)
        verifier = self._verifiers.get(region, self._verifier) if region else self._verifier
        checked = verifier.verify(
            delivery.signature, body=delivery.body, url=delivery.url, now=self._wall_clock.now()
        )
        match checked:
            case Verified(used_next_key=used_next_key):
                if used_next_key:
                    log.warning(
                        "QStash signs with %sQSTASH_NEXT_SIGNING_KEY: the keys were rotated; copy the new ones",
                        verifier.prefix,
                        extra={"event": "signing_keys_rotated"},
                    )
                return None
            case Rejected():
                return self._turn_away(delivery, checked)
        assert_never(checked)

    async def deliver(self, definition: JobDefinition[Any], delivery: Delivery) -> Answer:
        """Run the job in ``delivery``, if it is genuine and the job is not finished."""
        if (refused := self.verify(delivery)) is not None:
            return refused
        try:
            job_id, envelope = _read(definition, delivery)
        except JobError as error:
            log.warning(
                "turned away a delivery: %s",
                error,
                extra={"event": "malformed", "message_id": delivery.message_id},
            )
            return outcome.malformed(error)
        try:
            return await self._attempt(definition, job_id, envelope, delivery)
        except Exception as error:
            if not is_unavailable(error):
                raise
            return outcome.not_now(job_id, outcome.UNAVAILABLE, why_unavailable(error), wait=_DATABASE_PAUSE)

    async def _attempt(
        self, definition: JobDefinition[Any], job_id: str, envelope: JobEnvelope, delivery: Delivery
    ) -> Answer:
        threads = self._context.threads
        if not definition.is_async and not threads.take():
            _say("no_thread", job_id, definition.job_type, level=logging.WARNING, hung=threads.hung)
            return outcome.not_now(
                job_id, outcome.NO_THREAD, f"all {threads.size} threads are taken", wait=_THREAD_PAUSE
            )
        place = _Place(threads, is_taken=not definition.is_async)
        with place:
            with self._attempts.under_way():
                claimed = await self._claim(definition, job_id, envelope, delivery)
            if isinstance(claimed, Answer):
                return claimed
            if self._clock.now() > claimed.begins_by:
                return await self._begun_late(definition, claimed.attempt)
            with process_span(
                definition.job_type,
                delivery.trace,
                job_id=job_id,
                attempt_number=claimed.attempt.number,
                message_id=delivery.message_id,
            ) as span:
                return await self._work(definition, envelope, claimed, span, place)

    async def _claim(
        self, definition: JobDefinition[Any], job_id: str, envelope: JobEnvelope, delivery: Delivery
    ) -> _Held | Answer:
        wish = _Wish(definition, job_id, envelope, delivery, self._clock.now())
        found = await self._take(wish)
        if found is None:
            _say("duplicate", job_id, definition.job_type, message_id=delivery.message_id)
            return outcome.ignored(job_id, "duplicate")
        if isinstance(found, JobRecord):
            return await self._not_claimed(found, wish)
        if isinstance(found, Died):
            _say("died", job_id, definition.job_type, level=logging.ERROR, error=found.error)
            return outcome.died(job_id, found.error)
        options, timeout = found.options, handler_timeout(definition, found.options)
        return _Held(
            Attempt(
                job_id,
                found.number,
                found.failures,
                found.max_retries,
                retried=delivery.retried,
                retry_delay=options.retry_delay,
            ),
            delivery.message_id,
            timeout,
            deadline=wish.now + timeout,
            begins_by=wish.now + ANSWER_MARGIN,
        )

    async def _take(self, wish: _Wish) -> "_Found":
        """Claim the job. A delivery that is cut off meanwhile gives it back: the commit goes on without it."""
        claiming = asyncio.create_task(self._database.write_jointly(_claim_all, wish))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await self._attempts.shielded(self._put_back(wish.job_id, claiming))
            raise

    async def _put_back(self, job_id: str, claiming: "asyncio.Task[_Found]") -> None:
        await asyncio.wait([claiming])
        if claiming.cancelled() or claiming.exception() is not None:
            return  # nothing is held
        if isinstance(found := claiming.result(), Claimed):
            await self._give_back(job_id, found.number)

    async def _begun_late(self, definition: JobDefinition[Any], attempt: Attempt) -> Answer:
        """Do not run what was claimed long ago: this process stood still, and another may have the job by now."""
        await self._give_back(attempt.job_id, attempt.number)
        return outcome.busy(attempt.job_id)

    async def _not_claimed(self, record: JobRecord, wish: _Wish) -> Answer:
        message_id = wish.delivery.message_id
        if record.is_finished:
            _say("already_finished", record.job_id, record.job_type, message_id=message_id)
            return outcome.ignored(record.job_id, record.status)
        _say("busy", record.job_id, record.job_type, message_id=message_id)
        if record.message_id not in {None, message_id}:
            return outcome.ignored(record.job_id, "superseded")
        until = max(record.lease_until or wish.now, wish.now)
        if await self._come_back(record, wish, until):
            return outcome.postponed(record.job_id, until=until)
        return outcome.busy(record.job_id)

    async def _come_back(self, record: JobRecord, wish: _Wish, until: datetime) -> bool:
        """Write a message that delivers the job when its present lease has ended. Return false if the lease
        has changed.

        The running attempt may belong to a dead worker. If QStash were told to retry instead, each such
        delivery would use up one of the job's retries, and a long lease all of them.
        """
        message = further_message(
            self._context.composer,
            wish.definition,
            record,
            instead_of=wish.delivery.message_id,
            not_before=until,
        )
        is_written = await self._database.write(
            lambda connection: write_further(connection, record, message, now=wish.now, not_before=until)
        )
        if is_written:
            self._context.outbox.wake()
        return is_written

    async def _work(
        self,
        definition: JobDefinition[Any],
        envelope: JobEnvelope,
        held: _Held,
        span: ProcessSpan,
        place: "_Place",
    ) -> Answer:
        job = self._job(definition, envelope, held)
        job.log.info("processing %s", job.id, extra={"event": "processing"})
        started_at = self._clock.now()
        with self._attempts.under_way():
            try:
                verdict = await self._run(definition, envelope, job, held, place)
            except asyncio.CancelledError:
                await self._attempts.shielded(self._give_back(job.id, job.attempt_number))
                raise
        verdict, kept = await self._recorded(job, held, verdict)
        _report(job, verdict, kept=kept)
        if verdict.record.error is not None:
            span.failed(verdict.record.error)
        seconds = (self._clock.now() - started_at).total_seconds()
        self._context.observer.attempted(job.job_type, verdict.record.outcome, seconds)
        return verdict.answer if kept else outcome.ignored(job.id, "superseded")

    async def _run(
        self, definition: JobDefinition[Any], envelope: JobEnvelope, job: Job, held: _Held, place: "_Place"
    ) -> Verdict:
        token = current_job_id.set(job.id)
        try:
            payload = definition.parse(envelope.payload)
            result = await _call(definition, payload, job, held.timeout, place)
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise  # the server stops, or the caller went away
            return outcome.judge_failure(held.attempt, error, now=self._clock.now())
        except BaseException as error:  # noqa: BLE001 -- the edge that records the outcome, sys.exit() included
            return outcome.judge_failure(held.attempt, error, now=self._clock.now())
        finally:
            current_job_id.reset(token)
        return outcome.judge_success(held.attempt, result)

    async def _recorded(self, job: Job, held: _Held, verdict: Verdict) -> tuple[Verdict, bool]:
        """Record how the attempt ended. A result that the database refuses is replaced by a note."""
        try:
            return verdict, await self._record(job, verdict)
        except Exception as error:
            if job.writes and not _comes_back(job, verdict, error):
                cause = error.left_by if isinstance(error, _WriteLeftError) else error
                verdict = outcome.judge_failure(held.attempt, cause, now=self._clock.now())
            elif isinstance(error, DBAPIError) and not isinstance(error, OperationalError | InterfaceError):
                note = not_recorded(verdict.record.result, error.orig or error)
                verdict = replace(verdict, record=replace(verdict.record, result=note))
            else:
                raise
            return verdict, await self._record(job, verdict)

    async def _give_back(self, job_id: str, number: int) -> None:
        """End the lease of an interrupted attempt, so that the next delivery need not wait for it."""
        now = self._clock.now()
        extra = {"job_id": job_id, "attempt": number}
        try:
            await self._database.write(
                lambda connection: job_attempts.give_back(connection, job_id, number, now=now)
            )
        except Exception as error:  # noqa: BLE001 -- the attempt is cut off all the same, and its lease ends by itself
            extra |= {"event": "lease_kept", "error": str(error)}
            log.warning("cut off %s, which keeps its lease: %s", job_id, error, extra=extra)
        else:
            log.warning("cut off %s", job_id, extra=extra | {"event": "cut_off"})

    async def _record(self, job: Job, verdict: Verdict) -> bool:
        """Write how the attempt ended, and retry for some seconds while the database does not answer."""
        for pause in _RECORD_PAUSES_SECONDS:
            try:
                return await self._record_once(job, verdict)
            except Exception as error:
                if not _comes_back(job, verdict, error):
                    raise
            await asyncio.sleep(pause)
        return await self._record_once(job, verdict)

    async def _record_once(self, job: Job, verdict: Verdict) -> bool:
        ended = Ended(job.id, job.attempt_number, verdict.record, self._clock.now())
        # If a commit succeeded and only its answer was lost, the repeated update finds nothing to change.
        return await self._write_end(job, ended) or await self._database.read(
            lambda connection: job_attempts.has_ended(connection, ended)
        )

    async def _write_end(self, job: Job, ended: Ended) -> bool:
        if not job.writes:
            return await self._database.write_jointly(job_attempts.finish, ended)

        def write(connection: Connection) -> bool:
            [kept] = job_attempts.finish(connection, [ended])
            if kept and ended.how.event is Event.COMPLETE:
                for further in job.writes:
                    _carry_out(further, connection)
            return kept

        return await self._database.write(write)

    def _job(self, definition: JobDefinition[Any], envelope: JobEnvelope, held: _Held) -> Job:
        attempt, metadata = held.attempt, envelope.metadata

        async def report(fraction: float, note: str | None) -> None:
            now = self._clock.now()
            await self._database.write(
                lambda connection: job_attempts.report_progress(
                    connection, attempt.job_id, attempt.number, fraction=fraction, note=note, now=now
                )
            )

        facts = {
            "job_id": attempt.job_id,
            "job_type": definition.job_type,
            "attempt": attempt.number,
            "message_id": held.message_id,
            "user_id": metadata.user_id,
            "organization_id": metadata.organization_id,
        }
        return Job(
            id=attempt.job_id,
            job_type=definition.job_type,
            metadata=metadata,
            attempt_number=attempt.number,
            is_last_attempt=attempt.is_last,
            deadline=held.deadline,
            log=JobLogger(_logger(definition.handler.__module__), facts),
            resources=self._resources,
            _report=report,
        )

    def _turn_away(self, delivery: Delivery, rejected: Rejected) -> Answer:
        log.warning(
            "rejected a delivery to %s: %s",
            delivery.url,
            rejected,
            extra={"event": "signature_rejected", "cause": rejected.cause, "message_id": delivery.message_id},
        )
        self._context.observer.rejected(rejected.cause)
        detail = {"cause": rejected.cause, "hint": str(rejected)} if self._explains else {}
        return Answer(401, {"error": "invalid signature", **detail})


_Found = Claimed | Died | JobRecord | None


def _claim_all(connection: Connection, wishes: Sequence[_Wish]) -> list[_Found]:
    """Claim the jobs of all deliveries. Return each one's job, the record of a job that cannot be had, or
    nothing to do.
    """
    claimed = job_attempts.claim(connection, [_claim_of(wish) for wish in wishes])
    found: list[_Found] = []
    for wish, got in zip(wishes, claimed, strict=True):
        taken = got or _claim_late(connection, wish)
        if isinstance(taken, Claimed) and taken.options.timeout_seconds is not None:
            job_attempts.extend_lease(connection, wish.job_id, lease_until=wish.lease(taken.options))
        found.append(taken)
    return found


def _claim_late(connection: Connection, wish: _Wish) -> _Found:
    record = job_queries.get(connection, wish.job_id, with_attempts=False)
    if record is not None:
        return record
    # Published by another service, or by a schedule: it has no record before its delivery.
    job = foreign_job(wish.definition, wish.job_id, wish.envelope, wish.delivery.schedule_id, wish.now)
    if wish.delivery.max_retries is not None:
        job = replace(job, max_retries=wish.delivery.max_retries)
    new_jobs.add_job(connection, job, message_id=wish.delivery.message_id)
    [got] = job_attempts.claim(connection, [_claim_of(wish)])
    return got or job_queries.get(connection, wish.job_id, with_attempts=False)


def _claim_of(wish: _Wish) -> Claim:
    # With the type's timeout, as the job's own options are only read with the claim; few jobs have one.
    until = wish.lease(_NO_OPTIONS)
    return Claim(wish.job_id, wish.delivery.message_id, wish.now, until)


def foreign_job(
    definition: JobDefinition[Any],
    job_id: str,
    envelope: JobEnvelope,
    schedule_id: str | None,
    now: datetime,
) -> NewJob:
    """Return the record of a job that was not enqueued here."""
    options = envelope.metadata.options or DeliveryOptions()
    return NewJob(
        job_id=job_id,
        job_type=definition.job_type,
        payload=envelope.payload,
        options=options,
        max_retries=max_retries(definition, options),
        created_at=now,
        user_id=envelope.metadata.user_id,
        organization_id=envelope.metadata.organization_id,
        idempotency_key=envelope.metadata.idempotency_key,
        parent_job_id=envelope.metadata.parent_job_id,
        schedule_id=schedule_id,
    )


def identify(envelope: JobEnvelope, *, schedule_id: str | None, message_id: str | None) -> str:
    """Return the id of the job in an envelope. Raise JobValidationError if it has none and is not from a schedule."""
    if envelope.job_id is not None:
        return envelope.job_id
    if schedule_id is not None and message_id is not None:
        return scheduled_job_id(schedule_id, message_id)
    raise JobValidationError("the job envelope has no jobId, and was not delivered by a schedule")


def _read(definition: JobDefinition[Any], delivery: Delivery) -> tuple[str, JobEnvelope]:
    envelope = JobEnvelope.parse(delivery.body)
    if envelope.type != definition.job_type:
        raise JobValidationError(
            f"{definition.endpoint} takes {definition.job_type!r} jobs, not {envelope.type!r}"
        )
    return identify(envelope, schedule_id=delivery.schedule_id, message_id=delivery.message_id), envelope


async def _call(
    definition: JobDefinition[Any], payload: Any, job: Job, limit: timedelta, place: "_Place"
) -> Any:
    """Run the handler. Raise JobTimeoutError when it takes longer than ``limit``.

    A coroutine is cancelled. A thread cannot be: it runs on, and nothing waits for it.
    """
    scope = asyncio.timeout(limit.total_seconds())
    try:
        async with scope:
            if definition.is_async:
                return await definition.handler(payload, job)
            return await place.run(partial(definition.handler, payload, job))
    except TimeoutError:
        if not scope.expired():
            raise  # the handler's own
        raise JobTimeoutError(
            f"{definition.job_type} ran longer than its timeout of {limit.total_seconds():g} s",
            job_id=job.id,
        ) from None


# Kept, because the logging module takes a lock to find a logger.
_logger = cache(logging.getLogger)


class _Place:
    """A thread reserved for a delivery; released unless a handler runs in it."""

    def __init__(self, threads: HandlerThreads, *, is_taken: bool) -> None:
        self._threads = threads
        self._is_taken = is_taken

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        if self._is_taken:
            self._is_taken = False
            self._threads.put_back()

    async def run(self, call: Callable[[], Any]) -> Any:
        self._is_taken = False
        return await self._threads.run(call)


class _WriteLeftError(Exception):
    """A write given to ``on_completion`` raised ``left_by``, which would end the event loop, as sys.exit() does."""

    def __init__(self, left_by: BaseException) -> None:
        super().__init__(str(left_by))
        self.left_by = left_by


def _carry_out(write: Write, connection: Connection) -> None:
    try:
        write(connection)
    except Exception:
        raise
    except BaseException as error:
        raise _WriteLeftError(error) from error


def _comes_back(job: Job, verdict: Verdict, error: Exception) -> bool:
    """Return whether the end of an attempt could not be written because the database is away for now.

    The attempt's own writes meet limits that are no such thing: they fail it, with their own error.
    """
    has_own_writes = job.writes and verdict.record.event is Event.COMPLETE
    return is_lost(error) if has_own_writes else is_unavailable(error)


def _report(job: Job, verdict: Verdict, *, kept: bool) -> None:
    if not kept:
        job.log.warning("superseded %s", job.id, extra={"event": "superseded"})
    elif verdict.record.error is None:
        job.log.info("processed %s", job.id, extra={"event": "processed"})
    else:
        job.log.warning(
            "failed %s: %s",
            job.id,
            verdict.record.error,
            extra={"event": "failed", "outcome": verdict.record.outcome, "error": verdict.record.error},
        )


def _say(event: str, job_id: str, job_type: str, *, level: int = logging.INFO, **facts: Any) -> None:
    extra = {"event": event, "job_id": job_id, "job_type": job_type, **facts}
    log.log(level, "%s %s", event, job_id, extra=extra)
