"""Work done at intervals of the machine's clock, for all tenants of a process.

APScheduler keeps the times: runs do not overlap, and runs missed while the machine slept become one. A tenant with a
manual clock has no work here: advancing the clock does it (``clock_control``).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apscheduler.schedulers.asyncio import AsyncIOScheduler

# Imported late, so that a server that a test starts and stops does not load APScheduler.
_LOADED_AFTER_SECONDS = 60.0
_EXECUTOR = "emulator"


class IntervalWork:
    """Does ``work`` every ``seconds`` from ``start`` to ``close``. Errors are logged and stop no later run."""

    def __init__(self, work: Callable[[], Awaitable[None]], *, seconds: float) -> None:
        self._work = work
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._loading: asyncio.Task[None] | None = None
        self._scheduler: AsyncIOScheduler | None = None

    def start(self) -> None:
        """Start; the first run comes after one interval."""
        delay = min(_LOADED_AFTER_SECONDS, self._seconds)
        self._timer = asyncio.get_running_loop().call_later(delay, self._begin_loading, self._seconds - delay)

    def close(self) -> None:
        """Start no further run, and cancel the one under way."""
        if self._timer is not None:
            self._timer.cancel()
        if self._loading is not None:
            self._loading.cancel()
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
            self._scheduler = None

    def _begin_loading(self, first_after_seconds: float) -> None:
        self._loading = asyncio.create_task(self._load(first_after_seconds), name="interval-work")

    async def _load(self, first_after_seconds: float) -> None:
        # On a thread: importing APScheduler would hold up deliveries.
        scheduler = await asyncio.to_thread(_make_scheduler, self._work, self._seconds, first_after_seconds)
        scheduler.start()
        self._scheduler = scheduler


def _make_scheduler(
    work: Callable[[], Awaitable[None]], seconds: float, first_after_seconds: float
) -> "AsyncIOScheduler":
    from apscheduler.executors.asyncio import AsyncIOExecutor
    from apscheduler.schedulers.asyncio import AsyncIOScheduler
    from apscheduler.triggers.interval import IntervalTrigger

    # Otherwise APScheduler logs every run, and each one that is skipped because the previous one has not ended.
    logging.getLogger(f"apscheduler.executors.{_EXECUTOR}").setLevel(logging.ERROR)
    quiet = logging.getLogger(f"{__name__}.scheduler")
    quiet.setLevel(logging.ERROR)
    scheduler = AsyncIOScheduler(timezone=UTC, logger=quiet, executors={_EXECUTOR: AsyncIOExecutor()})
    scheduler.add_job(
        work,
        IntervalTrigger(seconds=seconds, timezone=UTC),
        executor=_EXECUTOR,
        next_run_time=datetime.now(UTC) + timedelta(seconds=first_after_seconds),
        coalesce=True,
        max_instances=1,
        misfire_grace_time=None,
    )
    return scheduler
