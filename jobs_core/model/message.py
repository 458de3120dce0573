"""A message for QStash: the destination, body and headers that one job is delivered with."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from jobs_core.model.options import duration

# Ends the deduplication id of a notice that a job has failed: the one kind of message that delivers no job.
NOTICE_SUFFIX = ".failed"


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

    @property
    def is_notice(self) -> bool:
        """Return whether the message calls the caller's failure callback, and does not deliver the job."""
        return self.deduplication_id.endswith(NOTICE_SUFFIX)

    def all_headers(self, now: datetime) -> dict[str, str]:
        """Return the headers of a publish at ``now``: a late publish does not make a late job later still."""
        headers = {**self.headers, "Upstash-Deduplication-Id": self.deduplication_id}
        if self.deliver_at is not None and self.deliver_at > now:
            headers["Upstash-Delay"] = duration(self.deliver_at - now)
        return headers
