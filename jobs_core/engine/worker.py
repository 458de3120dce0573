"""Carries out one delivery: verifies, parses, claims, runs the handler with a timeout, records, responds.

QStash delivers at least once, so the same job may arrive twice, even at the same time. The claim decides: one
conditional UPDATE takes the job for one attempt under a lease. A finished job is answered 200 and not run.
For a job that another attempt holds, a further message is written that comes when that lease has ended. A job
whose lease has ended was abandoned by a worker that died, and is taken over.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any, assert_never

from jobs_core.database import job_attempts
from jobs_core.database.connections import is_unavailable, why_unavailable
from jobs_core.database.job_attempts import Claimed, Died
from jobs_core.engine.app_context import AppContext
from jobs_core.engine.attempt_recorder import AttemptRecorder
from jobs_core.engine.claims import ClaimRequest, Found, claim_all
from jobs_core.engine.delivery import Delivery, read_envelope
from jobs_core.engine.handler_threads import ReservedThread
from jobs_core.engine.job import Job, JobLogger, current_job_id
from jobs_core.engine.redelivery import further_message, write_further
from jobs_core.engine.registry import JobDefinition
from jobs_core.engine.requests import handler_timeout
from jobs_core.engine.resources import Resources
from jobs_core.engine.running_attempts import RunningAttempts
from jobs_core.model import outcome
from jobs_core.model.backoff import ANSWER_MARGIN
from jobs_core.model.clock import Clock, SystemClock
from jobs_core.model.envelope import JobEnvelope
from jobs_core.model.errors import JobError, JobTimeoutError
from jobs_core.model.outcome import Answer, Attempt, Verdict
from jobs_core.model.records import JobRecord
from jobs_core.qstash.signature import Rejected, Verified, Verifier
from jobs_core.settings.regions import region_of
from jobs_core.tracing import ProcessSpan, process_span

log: logging.Logger = logging.getLogger(__name__)

_THREAD_PAUSE = timedelta(seconds=5)
_DATABASE_PAUSE = timedelta(seconds=10)


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
        self._recorder = AttemptRecorder(context.database, context.clock)
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
        """Run the job of a delivery, if the delivery is genuine and the job is free. Return the response to QStash."""
        if (refused := self.verify(delivery)) is not None:
            return refused
        try:
            job_id, envelope = read_envelope(definition, delivery)
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
        thread = ReservedThread(threads, is_taken=not definition.is_async)
        with thread:
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
                return await self._work(definition, envelope, claimed, span, thread)

    async def _claim(
        self, definition: JobDefinition[Any], job_id: str, envelope: JobEnvelope, delivery: Delivery
    ) -> _Held | Answer:
        request = ClaimRequest(definition, job_id, envelope, delivery, self._clock.now())
        found = await self._take(request)
        if found is None:
            _say("duplicate", job_id, definition.job_type, message_id=delivery.message_id)
            return outcome.ignored(job_id, "duplicate")
        if isinstance(found, JobRecord):
            return await self._not_claimed(found, request)
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
            deadline=request.now + timeout,
            begins_by=request.now + ANSWER_MARGIN,
        )

    async def _take(self, request: ClaimRequest) -> Found:
        """Claim the job. If the delivery is cancelled meanwhile, the commit goes on, and the job is given back."""
        claiming = asyncio.create_task(self._database.write_jointly(claim_all, request))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await self._attempts.shielded(self._put_back(request.job_id, claiming))
            raise

    async def _put_back(self, job_id: str, claiming: "asyncio.Task[Found]") -> None:
        await asyncio.wait([claiming])
        if claiming.cancelled() or claiming.exception() is not None:
            return  # nothing is held
        if isinstance(found := claiming.result(), Claimed):
            await self._recorder.give_back(job_id, found.number)

    async def _begun_late(self, definition: JobDefinition[Any], attempt: Attempt) -> Answer:
        """Give back a job that was claimed long ago: this process stood still, and another may have the job by now."""
        await self._recorder.give_back(attempt.job_id, attempt.number)
        return outcome.busy(attempt.job_id)

    async def _not_claimed(self, record: JobRecord, request: ClaimRequest) -> Answer:
        message_id = request.delivery.message_id
        if record.is_finished:
            _say("already_finished", record.job_id, record.job_type, message_id=message_id)
            return outcome.ignored(record.job_id, record.status)
        _say("busy", record.job_id, record.job_type, message_id=message_id)
        if record.message_id not in {None, message_id}:
            return outcome.ignored(record.job_id, "superseded")
        until = max(record.lease_until or request.now, request.now)
        if await self._come_back(record, request, until):
            return outcome.postponed(record.job_id, attempt=record.attempt_count, until=until)
        return outcome.busy(record.job_id)

    async def _come_back(self, record: JobRecord, request: ClaimRequest, until: datetime) -> bool:
        """Write a message that delivers the job when its present lease has ended. Return false if the job has changed.

        The running attempt may belong to a dead worker. If QStash were told to retry instead, each such
        delivery would use up one of the job's retries, and a long lease all of them.
        """
        message = further_message(
            self._context.composer,
            request.definition,
            record,
            instead_of=request.delivery.message_id,
            not_before=until,
        )
        is_written = await self._database.write(
            lambda connection: write_further(connection, record, message, now=request.now, not_before=until)
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
        thread: ReservedThread,
    ) -> Answer:
        job = self._job(definition, envelope, held)
        job.log.info("processing %s", job.id, extra={"event": "processing"})
        started_at = self._clock.now()
        with self._attempts.under_way():
            try:
                verdict = await self._run(definition, envelope, job, held, thread)
            except asyncio.CancelledError:
                await self._attempts.shielded(self._recorder.give_back(job.id, job.attempt_number))
                raise
        verdict, kept = await self._recorder.record(job, held.attempt, verdict)
        _report(job, verdict, kept=kept)
        if verdict.record.error is not None:
            span.failed(verdict.record.error)
        seconds = (self._clock.now() - started_at).total_seconds()
        self._context.observer.attempted(job.job_type, verdict.record.outcome, seconds)
        return verdict.answer if kept else outcome.ignored(job.id, "superseded")

    async def _run(
        self,
        definition: JobDefinition[Any],
        envelope: JobEnvelope,
        job: Job,
        held: _Held,
        thread: ReservedThread,
    ) -> Verdict:
        token = current_job_id.set(job.id)
        try:
            payload = definition.parse(envelope.payload)
            result = await _call(definition, payload, job, held.timeout, thread)
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise  # the server stops, or the caller went away
            return outcome.judge_failure(held.attempt, error, now=self._clock.now())
        except BaseException as error:  # noqa: BLE001 -- the edge that records the outcome, sys.exit() included
            return outcome.judge_failure(held.attempt, error, now=self._clock.now())
        finally:
            current_job_id.reset(token)
        return outcome.judge_success(held.attempt, result)

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


async def _call(
    definition: JobDefinition[Any], payload: Any, job: Job, limit: timedelta, thread: ReservedThread
) -> Any:
    """Run the handler. Raise JobTimeoutError when it takes longer than ``limit``.

    A coroutine is cancelled. A thread cannot be: it runs on, and nothing waits for it.
    """
    scope = asyncio.timeout(limit.total_seconds())
    try:
        async with scope:
            if definition.is_async:
                return await _apart(partial(definition.handler, payload, job))
            return await thread.run(partial(definition.handler, payload, job))
    except TimeoutError:
        if not scope.expired():
            raise  # the handler's own
        raise JobTimeoutError(
            f"{definition.job_type} ran longer than its timeout of {limit.total_seconds():g} s",
            job_id=job.id,
        ) from None


async def _apart(call: Callable[[], Awaitable[Any]]) -> Any:
    """Run a handler in a task of its own: one that cancels its task has failed, and is told from one that a
    server cancels.
    """

    async def handle() -> tuple[Any, BaseException | None]:
        try:
            return await call(), None
        except BaseException as error:  # noqa: BLE001 -- as the end of a task, an exit would end the event loop
            return None, error

    result, error = await asyncio.create_task(handle())
    if error is not None:
        raise error
    return result


# Kept, because the logging module takes a lock to find a logger.
_logger = cache(logging.getLogger)


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
