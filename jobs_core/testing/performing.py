"""Run one job through the real worker: recorded, published, signed, verified, claimed, run, recorded."""

import json
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel
from sqlalchemy import update

from jobs_core.database.job_queries import JobFilter
from jobs_core.database.tables import executions
from jobs_core.engine.app_context import AppContext
from jobs_core.engine.delivery import Delivery
from jobs_core.engine.dispatcher import JobDispatcher
from jobs_core.engine.registry import JobDefinition, Registry, default_registry
from jobs_core.engine.requests import envelope_of
from jobs_core.engine.resources import Resources
from jobs_core.engine.worker import Worker
from jobs_core.model.clock import Clock
from jobs_core.model.envelope import Subject
from jobs_core.model.outcome import Answer
from jobs_core.model.records import JobRecord
from jobs_core.model.states import JobStatus
from jobs_core.settings.settings import Environment, Settings
from jobs_core.testing.databases import temporary_database
from jobs_core.testing.signing import sign_delivery

P = TypeVar("P", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class PerformedJob:
    """The result of a job: its record after one delivery, the response to QStash, and the jobs it enqueued."""

    record: JobRecord
    answer: Answer
    enqueued: tuple[JobRecord, ...]  # in order

    @property
    def result(self) -> Any:
        """Return what the handler returned, in its JSON form.

        Raises:
            AssertionError: it did not complete; with the traceback of the handler.
        """
        if self.record.status is not JobStatus.COMPLETED:
            attempt = self.record.attempts[-1] if self.record.attempts else None
            detail = (attempt.traceback if attempt else None) or self.record.error or "no attempt was made"
            raise AssertionError(f"{self.record.job_type} is {self.record.status}, not completed:\n{detail}")
        return self.record.result


async def perform_job(
    job: JobDefinition[P],
    payload: P | Mapping[str, Any],
    *,
    retried: int = 0,
    user_id: Subject | None = None,
    organization_id: Subject | None = None,
    registry: Registry | None = None,
    resources: Resources | None = None,
    clock: Clock | None = None,
    settings: Settings | None = None,
) -> PerformedJob:
    """Deliver one job to the real worker, once, with a temporary database and no server.

    Args:
        retried: how many deliveries failed before this one; at the type's ``retries`` it is the last attempt.
        registry: the types that the handler may enqueue; default: the package's and those of JOBS_MODULES.
        resources: what the handler may ``use``; the dispatcher is added.
        clock: what the records' times are taken from.
        settings: default: the environment's. Its database is used only if it is given.

    Raises:
        JobValidationError: the payload does not fit.
    """
    with ExitStack() as stack:
        if settings is None:
            url = stack.enter_context(temporary_database())
            settings = Settings.load(database_url=url, environment=Environment.TEST)
        known = registry or default_registry(settings.jobs_modules)
        if job.job_type not in known:
            known = Registry([*known, job])
        async with JobDispatcher(
            settings, registry=known, clock=clock, transport=httpx.MockTransport(_take)
        ) as dispatcher:
            job_id = await dispatcher.enqueue(job, payload, user_id=user_id, organization_id=organization_id)
            await _pretend_earlier_attempts(dispatcher, job_id, retried)
            provided = (resources or Resources()).provide(JobDispatcher, dispatcher)
            provided.provide(AppContext, dispatcher.context)
            worker = Worker(dispatcher.context, provided)
            definition = known.get(job.job_type)
            answer = await worker.deliver(
                definition, await _delivery(dispatcher, definition, job_id, retried)
            )
            children = await dispatcher.list(JobFilter(parent_job_id=job_id, limit=1000))
            return PerformedJob(await dispatcher.get(job_id), answer, tuple(reversed(children.jobs)))


async def _delivery(
    dispatcher: JobDispatcher, definition: JobDefinition[Any], job_id: str, retried: int
) -> Delivery:
    record = await dispatcher.get(job_id)
    url = dispatcher.composer.url(definition)
    body = envelope_of(record).to_json().encode()
    key = dispatcher.settings.qstash_current_signing_key.get_secret_value()
    headers = {
        "upstash-signature": sign_delivery(url, body, key=key),
        "upstash-message-id": record.message_id or "",
        "upstash-retried": str(retried),
    }
    return Delivery.of(url, body, headers)


async def _pretend_earlier_attempts(dispatcher: JobDispatcher, job_id: str, count: int) -> None:
    statement = (
        update(executions).where(executions.c.job_id == job_id).values(attempt_count=count, retry_count=count)
    )
    await dispatcher.database.write(lambda connection: connection.execute(statement))


def _take(request: httpx.Request) -> httpx.Response:
    """Accept every message as QStash does, and deliver none."""
    if request.method != "POST":
        return httpx.Response(404, json={"error": "there is nothing here"})
    if request.url.path == "/v2/batch":
        return httpx.Response(200, json=[_new_message() for _ in json.loads(request.content)])
    return httpx.Response(200, json={**_new_message(), "scheduleId": "scd_test"})


def _new_message() -> dict[str, str]:
    return {"messageId": f"msg_{uuid.uuid4().hex}"}
