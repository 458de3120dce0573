"""Work done at intervals: relaying the outbox, sweeping for lost jobs, checking for alerts.

APScheduler keeps the times: runs of one kind do not overlap, runs missed while the machine slept become one,
and a jitter spreads the workers of one application. It is imported when an application starts.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from jobs_core.database.connections import is_unavailable

log: logging.Logger = logging.getLogger(__name__)

_JITTER = 0.1  # of the interval
_EXECUTOR = "jobs_core"


@dataclass(frozen=True, slots=True)
class Interval:
    """``work``, done every ``seconds``; ``begins_at_once`` adds a run at the start. ``name`` is used in the log."""

    name: str
    seconds: float
    work: Callable[[], Awaitable[object]]
    begins_at_once: bool = False

    async def run(self) -> None:
        """Do the work once. An exception is logged, and does not stop later runs."""
        try:
            await self.work()
        except Exception as error:
            if not is_unavailable(error):  # the database has logged it
                log.exception("%s failed; trying again", self.name, extra={"event": "interval_failed"})


@asynccontextmanager
async def at_intervals(intervals: Sequence[Interval]) -> AsyncIterator[None]:
    """Do all of them while the block runs; cancel what is under way at its end."""
    from apscheduler.executors.asyncio import AsyncIOExecutor
    from apscheduler.schedulers.asyncio import AsyncIOScheduler

    # APScheduler logs every run, and every one that is skipped because the one before has not ended.
    logging.getLogger(f"apscheduler.executors.{_EXECUTOR}").setLevel(logging.ERROR)
    quiet = logging.getLogger(f"{__name__}.scheduler")
    quiet.setLevel(logging.ERROR)
    scheduler = AsyncIOScheduler(
        timezone=UTC,
        logger=quiet,
        executors={_EXECUTOR: AsyncIOExecutor()},
        job_defaults={
            "coalesce": True,
            "max_instances": 1,
            "misfire_grace_time": None,
            "executor": _EXECUTOR,
        },
    )
    for each in intervals:
        scheduler.add_job(
            each.run,
            "interval",
            name=each.name,
            seconds=each.seconds,
            jitter=each.seconds * _JITTER,
            executor=_EXECUTOR,
            **({"next_run_time": datetime.now(UTC)} if each.begins_at_once else {}),
        )
    scheduler.start()
    try:
        yield
    finally:
        scheduler.shutdown(wait=False)
