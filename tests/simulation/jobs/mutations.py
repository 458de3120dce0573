"""Deliberate defects of the job system, real former ones and possible ones, which the simulation must find."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, delete, func, null, or_, update

from jobs_core.database import job_attempts, job_changes, job_steps, new_jobs, outbox_rows
from jobs_core.database.compiled import Given, Prepared
from jobs_core.database.statements import _CLAIMING, _ENDING, FINISH
from jobs_core.database.tables import executions, outbox
from jobs_core.engine import dispatcher as dispatching
from jobs_core.engine import lost_jobs
from jobs_core.engine.attempt_recorder import AttemptRecorder
from jobs_core.engine.dispatcher import JobDispatcher
from jobs_core.engine.worker import Worker
from jobs_core.model.states import Event, JobStatus, sources, target
from jobs_core.qstash.client import MessageEnd, QStashClient
from jobs_core.qstash.outbox import Outbox
from tests.simulation.jobs.rules import Rule

Mutation = Callable[[pytest.MonkeyPatch], None]


def sweep_believes_the_dead(patch: pytest.MonkeyPatch) -> None:
    """The sweep takes QStash's record of an ended message as proof that the message is still pending."""

    async def message_end(self: QStashClient, message_id: str) -> MessageEnd | None:
        is_there = await self._is_there("GET", f"/v2/messages/{message_id}") is not None
        return None if is_there else MessageEnd("it is gone")

    patch.setattr(QStashClient, "message_end", message_end)


def a_lease_uses_up_retries(patch: pytest.MonkeyPatch) -> None:
    """A delivery during a running attempt is answered as a failure, and the job fails when QStash gives up."""

    async def come_back(*_: Any) -> bool:
        return False

    patch.setattr(Worker, "_come_back", come_back)
    patch.setattr(lost_jobs, "next_run", lambda *_: None)


def claim_ignores_the_lease(patch: pytest.MonkeyPatch) -> None:
    """A delivery claims a job that another attempt holds."""

    def build(given: Given) -> Any:
        columns = executions.c
        is_free = or_(columns.status == JobStatus.PENDING, columns.status == JobStatus.PROCESSING)
        return (
            update(executions)
            .where(columns.job_id == given["of_job"], is_free)
            .values(
                status=target(Event.CLAIM),
                attempt_count=columns.attempt_count + 1,
                started_at=func.coalesce(columns.started_at, given["now"], type_=columns.started_at.type),
                lease_until=given["until"],
                next_attempt_at=null(),
                updated_at=given["now"],
            )
            .returning(
                columns.job_id,
                columns.attempt_count,
                columns.retry_count,
                columns.max_retries,
                columns.options,
            )
        )

    patch.setattr(job_steps, "CLAIM", Prepared(build, _CLAIMING))


def relay_sees_nothing(patch: pytest.MonkeyPatch) -> None:
    """The relay publishes no message that its writer left unpublished."""

    async def relay(*_: Any) -> int:
        return 0

    patch.setattr(Outbox, "relay", relay)


def postponed_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A message that QStash cannot accept now is removed from the outbox."""

    async def postpone(self: Outbox, message: Any, *_: Any) -> None:
        gone = delete(outbox).where(outbox.c.deduplication_id == message.deduplication_id)
        await self._database.write(lambda connection: connection.execute(gone))

    patch.setattr(Outbox, "_postpone", postpone)


def published_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """A job of a caller's transaction is published when it is written, before the commit."""

    def write_within(
        self: JobDispatcher, session: Any, requests: Sequence[Any], loop: asyncio.AbstractEventLoop
    ) -> Sequence[str]:
        jobs = [self.composer.prepare(request) for request in requests]
        connection = dispatching._connection_of(session)
        written = new_jobs.insert_jobs(connection, jobs, locked_until=self.clock.now())
        for job in jobs:
            assert job.message is not None
            loop.create_task(self.outbox.publish(job.message))
        return written

    patch.setattr(JobDispatcher, "write_within", write_within)


def message_in_a_second_transaction(patch: pytest.MonkeyPatch) -> None:
    """The record and its message are committed in two transactions."""

    async def enqueue_many(self: JobDispatcher, requests: Sequence[Any], **given: Any) -> Sequence[str]:
        if given.get("session") or given.get("connection"):
            return await original(self, requests, **given)
        jobs = [self.composer.prepare(request) for request in requests]
        for job in jobs:
            await self.database.write(partial(new_jobs.add_job, job=job, message_id=None))
        now = self.clock.now()
        for job in jobs:
            assert job.message is not None
            add = partial(outbox_rows.add_message, message=job.message, created_at=now, locked_until=now)
            await self.database.write(add)
        self.outbox.wake()
        return [job.job_id for job in jobs]

    original = JobDispatcher.enqueue_many
    patch.setattr(JobDispatcher, "enqueue_many", enqueue_many)


def superseded_attempts_count(patch: pytest.MonkeyPatch) -> None:
    """An attempt that has lost its job to another still records its outcome."""

    def build(event: Event, given: Given) -> Any:
        columns = executions.c
        values: dict[str, Any] = {
            "status": target(event),
            "error": given["what_failed"],
            "lease_until": null(),
            "next_attempt_at": given["again_at"],
            "completed_at": null() if event is Event.RETRY else given["now"],
            "updated_at": given["now"],
        }
        if event is Event.COMPLETE:
            values |= {"result": given["returned"], "progress": 1.0}
        if event is Event.RETRY:
            values["retry_count"] = columns.retry_count + 1
        return (
            update(executions)
            .where(
                columns.job_id == given["of_job"], or_(*(columns.status == each for each in sources(event)))
            )
            .values(**values)
            .returning(columns.job_id, given["of_number"])
        )

    events = (Event.COMPLETE, Event.RETRY, Event.FAIL)
    patch.setattr(job_steps, "FINISH", {event: Prepared(partial(build, event), _ENDING) for event in events})


def retries_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    """A failure that will be retried does not raise the retry count."""

    def build(given: Given) -> Any:
        columns = executions.c
        return (
            update(executions)
            .where(
                columns.job_id == given["of_job"],
                columns.status == JobStatus.PROCESSING,
                columns.attempt_count == given["of_number"],
            )
            .values(
                status=JobStatus.PENDING,
                error=given["what_failed"],
                lease_until=null(),
                next_attempt_at=given["again_at"],
                updated_at=given["now"],
            )
            .returning(columns.job_id, columns.attempt_count)
        )

    patch.setattr(job_steps, "FINISH", FINISH | {Event.RETRY: Prepared(build, _ENDING)})


def keys_are_ignored(patch: pytest.MonkeyPatch) -> None:
    """The idempotency key is not stored."""
    row = new_jobs._row
    patch.setattr(new_jobs, "_row", lambda job: row(job) | {"idempotency_key": None})


def callback_ends_what_runs(patch: pytest.MonkeyPatch) -> None:
    """QStash's failure callback ends the job although an attempt holds it."""

    def abandon(connection: Connection, job_id: str, *, error: str, now: Any, seen: Any = None) -> bool:
        values = {"status": JobStatus.FAILED, "error": error, "lease_until": None, "completed_at": now}
        changed = job_changes._change(connection, job_id, Event.ABANDON, values)
        if changed:
            job_attempts.close_lost_attempts(connection, job_id, now)
        return changed

    def next_run(record: Any, said: str | None, now: Any) -> Any:
        return None if record.status is JobStatus.PROCESSING else original(record, said, now)

    original = lost_jobs.next_run
    patch.setattr(job_changes, "abandon", abandon)
    patch.setattr(lost_jobs, "next_run", next_run)


def one_death_is_enough(patch: pytest.MonkeyPatch) -> None:
    """A job fails when its first worker dies."""
    patch.setattr(job_attempts, "MOST_DEATHS", 1)


def answered_before_recorded(patch: pytest.MonkeyPatch) -> None:
    """QStash is answered before the outcome is recorded."""

    async def record(self: AttemptRecorder, job: Any, attempt: Any, verdict: Any) -> tuple[Any, bool]:
        under_way.add(asyncio.create_task(original(self, job, attempt, verdict)))
        return verdict, True

    under_way: set[asyncio.Task[Any]] = set()
    original = AttemptRecorder.record
    patch.setattr(AttemptRecorder, "record", record)


MUTATIONS: tuple[tuple[Mutation, Rule], ...] = (
    (sweep_believes_the_dead, Rule.ONE_END),
    (a_lease_uses_up_retries, Rule.RUNS),
    (claim_ignores_the_lease, Rule.LEASE),
    (relay_sees_nothing, Rule.ONE_END),
    (postponed_is_forgotten, Rule.RUNS),
    (published_before_the_commit, Rule.COMMITTED),
    (message_in_a_second_transaction, Rule.RUNS),
    (superseded_attempts_count, Rule.TRUE),
    (retries_are_not_counted, Rule.RUNS),
    (keys_are_ignored, Rule.KEYS),
    (callback_ends_what_runs, Rule.RUNS),
    (one_death_is_enough, Rule.RUNS),
    (answered_before_recorded, Rule.TRUE),
)
