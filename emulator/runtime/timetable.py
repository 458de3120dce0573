"""When schedules fire: APScheduler keeps the times, croniter computes them, the broker decides.

Under the system clock APScheduler's own loop calls. It reads that clock itself, so under a manual clock the
same jobs stand paused and are driven by their next run times through APScheduler's public interface.

APScheduler is imported with the first schedule: a server without one starts faster.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from emulator.broker.resources import Schedule
from emulator.clock import Clock
from emulator.wire.cron import Cron


class Timetable:
    """One tenant's schedules and their next times. ``fire`` is called with a schedule's id."""

    def __init__(self, clock: Clock, fire: Callable[[str], None]) -> None:
        self._clock = clock
        self._fire = fire
        self._scheduler: Any = None

    def put(self, schedule: Schedule) -> None:
        """Follow a schedule's present settings."""
        if schedule.is_paused or schedule.next_at is None:
            self.remove(schedule.id)
            return
        job = self._open().get_job(schedule.id)
        if job is None or job.trigger.cron.text != schedule.cron:
            self._add(schedule.id, schedule.cron, schedule.next_at)
        elif _instant(job.next_run_time) != schedule.next_at:
            job.modify(next_run_time=_moment(schedule.next_at))

    def _add(self, schedule_id: str, cron: str, next_at: int) -> None:
        from emulator.runtime.cron_trigger import CronTrigger

        self._open().add_job(
            _call,
            args=(self._fire, schedule_id),
            trigger=CronTrigger(Cron.parse(cron)),
            id=schedule_id,
            next_run_time=_moment(next_at),
            replace_existing=True,
            # However late we are (a closed laptop), fire once and go on from there.
            coalesce=True,
            misfire_grace_time=None,
        )

    def remove(self, schedule_id: str) -> None:
        """Forget a schedule."""
        if self._scheduler is not None and self._scheduler.get_job(schedule_id) is not None:
            self._scheduler.remove_job(schedule_id)

    def clear(self) -> None:
        """Forget all."""
        if self._scheduler is not None:
            self._scheduler.remove_all_jobs()

    def next_at(self) -> int | None:
        """When the next schedule fires, in unix milliseconds."""
        return min((_instant(job.next_run_time) for job in self._jobs()), default=None)

    def run_due(self, now_at: int) -> None:
        """Under a manual clock: fire what is due by ``now_at``, in order of time."""
        due = [job for job in self._jobs() if _instant(job.next_run_time) <= now_at]
        for job in sorted(due, key=lambda job: (job.next_run_time, job.id)):
            self._fire(job.id)

    def close(self) -> None:
        """Fire nothing more."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
            self._scheduler = None

    def _jobs(self) -> list[Any]:
        return [] if self._scheduler is None else self._scheduler.get_jobs()

    def _open(self) -> Any:
        if self._scheduler is None:
            from apscheduler.schedulers.asyncio import AsyncIOScheduler

            self._scheduler = AsyncIOScheduler(timezone=UTC)
            self._scheduler.start(paused=self._clock.mode == "manual")
        return self._scheduler


async def _call(fire: Callable[[str], None], schedule_id: str) -> None:
    """A coroutine function, so that APScheduler stays on the event loop's own thread."""
    fire(schedule_id)


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC)


def _instant(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
