"""A message for QStash: the destination, body and headers that one job is delivered with."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from jobs_core.model.options import duration


@dataclass(frozen=True, slots=True)
class Message:
    """One message to publish. ``deliver_at`` asks for a delay, counted from the publish."""

    job_id: str
    destination: str
    body: str
    headers: Mapping[str, str]
    deduplication_id: str
    queue: str | None = None
    deliver_at: datetime | None = None

    def all_headers(self, now: datetime) -> dict[str, str]:
        """Return the headers of a publish at ``now``: a late publish does not make a late job later still."""
        headers = {**self.headers, "Upstash-Deduplication-Id": self.deduplication_id}
        if self.deliver_at is not None and self.deliver_at > now:
            headers["Upstash-Delay"] = duration(self.deliver_at - now)
        return headers
