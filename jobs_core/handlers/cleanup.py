"""``cleanup-old-data``: deletes old finished data in batches."""

from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from jobs_core.engine.app_context import AppContext
from jobs_core.engine.dispatcher import JobDispatcher
from jobs_core.engine.job import Job
from jobs_core.engine.registry import JobType, Payload, job
from jobs_core.handlers import retention
from jobs_core.handlers.retention import Batch
from jobs_core.storage.files import FileStorage

BATCH_ROWS = 1_000
BATCH_FILES = 500
# A sender may repeat an event for days, and an attacker for longer.
WEBHOOK_EVENTS_KEPT = timedelta(days=90)
TEMPORARY_FILES_KEPT = timedelta(days=1)
# What is left when time runs out is a job of its own.
_MARGIN = timedelta(seconds=15)


class CleanupOldData(Payload):
    """Retention in days."""

    retention: int = Field(ge=1, le=3650)


@job(
    JobType.CLEANUP_OLD_DATA,
    endpoint="/api/jobs/cleanup",
    retries=1,
    timeout=timedelta(seconds=600),
    description="Remove old finished jobs, files and events.",
)
async def cleanup_old_data(payload: CleanupOldData, job: Job) -> dict[str, Any]:
    """Delete what is older than the retention. Return how many of each, and whether some is left."""
    cleaner = _Cleaner(job, job.use(AppContext).clock.now() - timedelta(days=payload.retention))
    await cleaner.run()
    if not cleaner.is_complete:
        dispatcher = job.use(JobDispatcher)
        await dispatcher.enqueue(JobType.CLEANUP_OLD_DATA, payload, idempotency_key=f"{job.id}:rest")
    return cleaner.removed | {"isComplete": cleaner.is_complete}


class _Cleaner:
    def __init__(self, job: Job, before: datetime) -> None:
        context = job.use(AppContext)
        self._job = job
        self._database = context.database
        self._clock = context.clock
        self._storage = job.use(FileStorage)
        self._before = before
        self.removed = dict.fromkeys(
            ("executions", "notifications", "webhookEvents", "emailDeliveries", "files", "temporaryFiles"), 0
        )
        self.is_complete = True

    async def run(self) -> None:
        now = self._clock.now()
        tables: list[tuple[str, Batch, datetime]] = [
            ("executions", retention.executions_batch, self._before),
            ("notifications", retention.notifications_batch, self._before),
            ("emailDeliveries", retention.email_deliveries_batch, self._before),
            ("webhookEvents", retention.webhook_events_batch, min(self._before, now - WEBHOOK_EVENTS_KEPT)),
        ]
        for done, (name, batch, before) in enumerate(tables):
            await self._rows(name, batch, before)
            await self._job.progress((done + 1) / (len(tables) + 1), f"{name}: {self.removed[name]} removed")
        await self._files()
        self.removed["temporaryFiles"] = await self._storage.discard_temporary(
            before=now - TEMPORARY_FILES_KEPT
        )

    async def _rows(self, name: str, batch: Batch, before: datetime) -> None:
        while self._has_time():
            removed = await self._database.write(lambda connection: batch(connection, before, BATCH_ROWS))
            self.removed[name] += removed
            if removed < BATCH_ROWS:
                return

    async def _files(self) -> None:
        while self._has_time():
            old = await self._storage.files(saved_before=self._before, limit=BATCH_FILES)
            for file in old:
                self.removed["files"] += await self._storage.delete(file.name)
            if len(old) < BATCH_FILES:
                return

    def _has_time(self) -> bool:
        self.is_complete = self.is_complete and self._clock.now() < self._job.deadline - _MARGIN
        return self.is_complete
