"""A cron line as an APScheduler trigger; its own crontab parser counts weekdays from Monday, cron from Sunday."""

from datetime import UTC, datetime

from apscheduler.triggers.base import BaseTrigger

from emulator.wire.cron import Cron


class CronTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler 3 has no types
    """Fires at the cron line's times."""

    def __init__(self, cron: Cron) -> None:
        self.cron = cron

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """The first time after the previous one, or after now."""
        next_at = self.cron.next_after(round((previous_fire_time or now).timestamp() * 1000))
        return None if next_at is None else datetime.fromtimestamp(next_at / 1000, UTC)
