"""Checks the alerts' rules at intervals, and sends what is new.

Every worker checks; the row in ``job_alerts`` decides which of them sends, so that an alert is sent once
however many workers there are. A worker that dies between writing the row and sending leaves it unsent.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, select

from jobs_core.database.connections import Database
from jobs_core.database.dialects import insert_unless_there
from jobs_core.database.tables import alerts
from jobs_core.emails.senders import EmailSender
from jobs_core.model.clock import Clock
from jobs_core.monitoring import statistics
from jobs_core.monitoring.alert_channels import AlertChannel, EmailChannel, LogChannel, WebhookChannel
from jobs_core.monitoring.alerts import Alert, Observed, Thresholds, judge
from jobs_core.settings.settings import Settings

log: logging.Logger = logging.getLogger(__name__)


class Watch:
    """The alerts of one application."""

    def __init__(
        self, database: Database, clock: Clock, thresholds: Thresholds, channels: Sequence[AlertChannel]
    ) -> None:
        self._database = database
        self._clock = clock
        self._thresholds = thresholds
        self.channels: list[AlertChannel] = list(channels)

    async def look(self) -> list[Alert]:
        """Return all present alerts; send nothing."""
        return judge(await self._database.read(self._observe), self._thresholds)

    async def check(self) -> list[Alert]:
        """Return all present alerts; send those that are new, and those that are over."""
        now = self._clock.now()
        found = await self.look()
        raised, resolved = await self._database.write(lambda connection: _note(connection, found, now))
        if raised or resolved:
            news = [alert for alert in found if alert.name in raised]
            await self._tell(news, sorted(resolved), key=f"alert-{now:%Y%m%dT%H%M%S}")
        return found

    def _observe(self, connection: Connection) -> Observed:
        now = self._clock.now()
        since = now - statistics.HOUR
        processing_for = self._thresholds.processing_for
        return Observed(
            health=statistics.health(connection, since=since),
            types=statistics.by_type(connection, since=since),
            stuck=[]
            if processing_for is None
            else statistics.stuck(connection, started_before=now - processing_for),
        )

    async def _tell(self, raised: Sequence[Alert], resolved: Sequence[str], *, key: str) -> None:
        for channel in self.channels:
            try:
                await channel.tell(raised, resolved, key=key)
            except Exception:
                # The other channels still send, and the log has this one's error.
                log.exception(
                    "an alert was not told by %s: %s",
                    type(channel).__name__,
                    "; ".join([*(alert.text for alert in raised), *resolved]),
                    extra={"event": "alert_untold"},
                )


def create_watch(settings: Settings, database: Database, clock: Clock, sender: EmailSender) -> Watch:
    """Return the watch that the settings configure: always on the log, by e-mail and webhook where they are set."""
    channels: list[AlertChannel] = [LogChannel()]
    if addresses := [address.strip() for address in settings.alert_emails.split(",") if address.strip()]:
        channels.append(EmailChannel(sender, addresses))
    if settings.alert_webhook_url:
        channels.append(WebhookChannel(settings.alert_webhook_url))
    thresholds = Thresholds(
        failure_rate=settings.alert_failure_rate,
        least_jobs=settings.alert_least_jobs,
        processing_for=timedelta(minutes=settings.alert_processing_minutes),
        expects_jobs=settings.alert_expects_jobs,
        average_seconds=settings.alert_average_seconds,
    )
    return Watch(database, clock, thresholds, channels)


def _note(connection: Connection, found: Sequence[Alert], now: datetime) -> tuple[set[str], set[str]]:
    """Return the names of alerts that this caller is to send: newly raised, and over."""
    known = set(connection.execute(select(alerts.c.name)).scalars())
    current = {alert.name for alert in found}
    raised = {alert.name for alert in found if alert.name not in known and _is_first(connection, alert, now)}
    over = known - current
    resolved: set[str] = set()
    if over:
        gone = delete(alerts).where(alerts.c.name.in_(over)).returning(alerts.c.name)
        resolved = set(connection.execute(gone).scalars())
    return raised, resolved


def _is_first(connection: Connection, alert: Alert, now: datetime) -> bool:
    """Return whether this caller, and no other worker, wrote the alert's row."""
    row = {"name": alert.name, "text": alert.text, "raised_at": now}
    return insert_unless_there(connection, alerts, row)
