"""Repeating jobs: QStash's schedules, each of whose firings is a job with its own record.

A schedule's message carries an envelope without a job id; the worker derives the id from the schedule and the
message (``ids.scheduled_job_id``), so every firing is one job, however often it is delivered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from jobs_core.engine.app_context import AppContext
from jobs_core.engine.payloads import wire_payload
from jobs_core.engine.registry import JobDefinition
from jobs_core.engine.requests import JobRequest, parse_metadata, parse_options
from jobs_core.engine.schedule_form import ComposedSchedule, form_of
from jobs_core.model.envelope import JobEnvelope, Subject
from jobs_core.model.errors import JobValidationError
from jobs_core.model.options import unsendable


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as QStash knows it."""

    schedule_id: str
    cron: str  # with its CRON_TZ= prefix, if it has one
    destination: str
    is_paused: bool
    next_at: datetime | None


_NOT_FOR_SCHEDULES = frozenset({"delay", "not_before", "idempotency_key", "parent_job_id"})


class Schedules:
    """The schedules of one application's QStash user."""

    def __init__(self, context: AppContext) -> None:
        self._context = context

    async def create(
        self,
        job_type: str | JobDefinition[Any],
        cron: str,
        payload: BaseModel | Mapping[str, Any],
        *,
        schedule_id: str | None = None,
        timezone: str = "UTC",
        user_id: Subject | None = None,
        organization_id: Subject | None = None,
        **options: Any,
    ) -> str:
        """Enqueue a job at every time that matches ``cron`` (five fields) in ``timezone``. Return the
        schedule's id.

        With a ``schedule_id`` that exists, that schedule is replaced. ``options`` say how each firing is delivered:
        ``retries``, ``retry_delay``, ``timeout``, ``callback``, ``failure_callback``, ``headers``, ``queue``,
        ``flow_control`` and ``label``, as ``JobDispatcher.enqueue`` takes them.

        Raises:
            JobValidationError, UnknownJobTypeError: as ``JobDispatcher.enqueue``.
            PublishError: QStash did not take it; nothing is recorded.
        """
        composed = self._compose(
            job_type, cron, payload, schedule_id, timezone, user_id, organization_id, options
        )
        return await self._context.client.create_schedule(
            composed.url,
            cron=composed.cron,
            schedule_id=schedule_id,
            body=composed.body,
            headers=composed.headers,
        )

    def export(self) -> dict[str, dict[str, Any]]:
        """Return every declared schedule by id, in the form of ``qstash.yaml`` (docs/account.md). Raise as
        ``create`` does.
        """
        return {
            schedule_id: form_of(self._compose_declared(schedule_id, definition))
            for schedule_id, definition in self._declared().items()
        }

    def _compose_declared(self, schedule_id: str, definition: JobDefinition[Any]) -> ComposedSchedule:
        assert definition.schedule is not None
        cron = definition.schedule
        return self._compose(
            definition, cron.expression, cron.payload, schedule_id, cron.timezone, None, None, {}
        )

    def _declared(self) -> dict[str, JobDefinition[Any]]:
        return {
            declared_id(definition): definition
            for definition in self._context.registry
            if definition.schedule is not None
        }

    def _compose(
        self,
        job_type: str | JobDefinition[Any],
        cron: str,
        payload: BaseModel | Mapping[str, Any],
        schedule_id: str | None,
        timezone: str,
        user_id: Subject | None,
        organization_id: Subject | None,
        options: Mapping[str, Any],
    ) -> ComposedSchedule:
        composer = self._context.composer
        definition = composer.definition(job_type)
        parsed = wire_payload(definition, payload)
        if refused := _NOT_FOR_SCHEDULES & options.keys():
            raise JobValidationError(
                f"a schedule has no {', '.join(sorted(refused))}: its cron expression says when it fires"
            )
        delivery = parse_options(definition, JobRequest.of(definition, payload, **options).options)
        # A worker knows a firing from its delivery alone, so the template carries the delivery options.
        given = delivery if delivery.to_record() else None
        named = {"schedule_id": schedule_id, "cron": cron, "timezone": timezone}
        for name, value in named.items():
            if value is not None and (problem := unsendable(value)):
                raise JobValidationError(f"the schedule of {definition.job_type}: {name}: {problem}")
        metadata = parse_metadata(definition, user_id=user_id, organization_id=organization_id, options=given)
        envelope = JobEnvelope(type=definition.job_type, payload=parsed, metadata=metadata)
        headers = composer.headers(definition, delivery)
        if delivery.queue is not None:
            headers["Upstash-Queue-Name"] = delivery.queue
        return ComposedSchedule(
            url=composer.url(definition),
            cron=cron.strip() if timezone == "UTC" else f"CRON_TZ={timezone} {cron.strip()}",
            body=envelope.to_json(),
            headers=headers,
        )

    async def list(self) -> list[Schedule]:
        """Return every schedule of this QStash user. Raise PublishError."""
        return [_schedule(found) for found in await self._context.client.schedules()]

    async def pause(self, schedule_id: str) -> bool:
        """Skip firings until resumed. Return false if there is no such schedule. Raise PublishError."""
        return await self._context.client.change_schedule(schedule_id, "pause")

    async def resume(self, schedule_id: str) -> bool:
        """Fire again from the next matching time. Return false if there is no such schedule. Raise PublishError."""
        return await self._context.client.change_schedule(schedule_id, "resume")

    async def remove(self, schedule_id: str) -> bool:
        """Remove a schedule; its jobs stay. Return false if there is no such schedule. Raise PublishError."""
        return await self._context.client.change_schedule(schedule_id, "delete")

    async def plan(self) -> "SyncPlan":
        """Return what must change for QStash to match the registry's declared schedules. Raise PublishError."""
        declared = self._declared()
        ours = {
            found.schedule_id
            for found in await self.list()
            if found.schedule_id.startswith(DECLARED_PREFIX)
            and found.destination.startswith(f"{self._context.settings.base_url}/")
        }
        return SyncPlan(declared, tuple(sorted(ours - declared.keys())))

    async def carry_out(self, plan: "SyncPlan", *, remove: bool) -> None:
        """Create or replace every declared schedule; with ``remove``, remove those no longer declared.

        Raises:
            PublishError: QStash did not take one; carrying out the plan again does no harm.
        """
        for schedule_id, definition in plan.declared.items():
            assert definition.schedule is not None
            cron = definition.schedule
            await self.create(
                definition, cron.expression, cron.payload, schedule_id=schedule_id, timezone=cron.timezone
            )
        for schedule_id in plan.undeclared if remove else ():
            await self.remove(schedule_id)


DECLARED_PREFIX = "jobs-core."


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """The declared schedules by id, and the ids in QStash (with our prefix and origin) that the code no
    longer declares.
    """

    declared: Mapping[str, JobDefinition[Any]]
    undeclared: tuple[str, ...]


def declared_id(definition: JobDefinition[Any]) -> str:
    """Return the id of the schedule that a job type declares."""
    return f"{DECLARED_PREFIX}{definition.job_type}"


def _schedule(found: Mapping[str, Any]) -> Schedule:
    next_ms = found.get("nextScheduleTime")
    return Schedule(
        schedule_id=str(found["scheduleId"]),
        cron=str(found["cron"]),
        destination=str(found.get("destination", "")),
        is_paused=bool(found.get("isPaused", False)),
        next_at=None if next_ms is None else datetime.fromtimestamp(int(next_ms) / 1000, UTC),
    )
