"""The changes of jobs as they happen, for ``jobs-core tail``.

The records are polled. Each poll reads only what an index finds: the newest jobs, the newest attempts, and
the unfinished jobs seen before. Several changes between two polls are shown as one. Of a job that has waited
since before the first poll and is not among the thousand newest unfinished ones, the first change shown is
its next attempt.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select

from jobs_core.database.tables import attempts, executions
from jobs_core.engine.app_context import AppContext
from jobs_core.model.envelope import PROBE_JOB_TYPE
from jobs_core.model.states import FINISHED, JobStatus

# Transactions may commit in another order than that of their ids, so the last few are read again.
_OVERLAP = 200
_WATCHED_AT_FIRST = 1_000
_MOST_WATCHED = 10_000
_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Happening:
    """One change of one job. ``event`` is "enqueued", "retry" or the job's new state."""

    at: datetime
    event: str
    job_id: str
    job_type: str
    attempt: int  # how many there were so far
    error: str | None
    next_attempt_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        """Return it in camelCase, with times as ISO 8601."""
        return {
            "at": self.at.isoformat(),
            "event": self.event,
            "jobId": self.job_id,
            "jobType": self.job_type,
            "attempt": self.attempt,
            "error": self.error,
            "nextAttemptAt": self.next_attempt_at.isoformat() if self.next_attempt_at else None,
        }


@dataclass(frozen=True, slots=True)
class Seen:
    """State of one job at a poll."""

    id: int
    job_id: str
    job_type: str
    status: JobStatus
    attempt_count: int
    error: str | None
    created_at: datetime
    updated_at: datetime
    next_attempt_at: datetime | None

    @property
    def is_finished(self) -> bool:
        return self.status in FINISHED


def changes(before: Seen | None, now: Seen) -> list[Happening]:
    """Return what changed between two views of a job; ``before`` is ``None`` for a new job."""
    told = [] if before is not None else [_told("enqueued", now, at=now.created_at)]
    if before is None and (now.status, now.attempt_count) == (JobStatus.PENDING, 0):
        return told
    if before is not None and (before.status, before.attempt_count) == (now.status, now.attempt_count):
        return told
    was_tried = now.attempt_count > 0 and (before is None or not before.is_finished)
    event = "retry" if now.status is JobStatus.PENDING and was_tried else str(now.status)
    return [*told, _told(event, now, at=now.updated_at)]


class Follower:
    """Polls the records of one application. The first poll reports nothing.

    The deployment check's probes are left out unless ``has_probes``.
    """

    def __init__(self, context: AppContext, *, has_probes: bool = False) -> None:
        self._database = context.database
        self._has_probes = has_probes
        self._seen: dict[int, Seen] = {}  # of jobs that may still change, and the newest of all
        self._newest_job: int | None = None
        self._newest_attempt = 0

    async def poll(self) -> list[Happening]:
        """Return the changes since the last poll, in order."""
        found = await self._database.read(self._look)
        told = []
        for seen in found:
            before = self._seen.get(seen.id)
            if before is not None or (self._newest_job is not None and seen.id > self._newest_job - _OVERLAP):
                told += changes(before, seen)
            elif self._newest_job is not None:  # an old one, found by its attempt
                told.append(_told(str(seen.status), seen, at=seen.updated_at))
            self._seen[seen.id] = seen
        self._newest_job = max([self._newest_job or 0, *(seen.id for seen in found)])
        self._forget()
        return sorted(told, key=lambda each: each.at)

    def _look(self, connection: Connection) -> list[Seen]:
        newest = connection.execute(select(func.max(attempts.c.id))).scalar() or 0
        if self._newest_job is None:
            query = self._query().order_by(executions.c.id.desc())
            unfinished = executions.c.status.not_in([str(status) for status in FINISHED])
            rows = [
                *connection.execute(query.limit(_OVERLAP)),
                *connection.execute(query.where(unfinished).limit(_WATCHED_AT_FIRST)),
            ]
        else:
            watched = [seen.id for seen in self._seen.values() if not seen.is_finished]
            tried = select(attempts.c.job_id).where(attempts.c.id > self._newest_attempt)
            rows = [
                row
                for condition in (
                    executions.c.id > self._newest_job - _OVERLAP,
                    executions.c.job_id.in_(tried),
                    *(executions.c.id.in_(part) for part in _parts(watched)),
                )
                for row in connection.execute(self._query().where(condition))
            ]
        self._newest_attempt = newest
        found = {row.id: Seen(**{**row._mapping, "status": JobStatus(row.status)}) for row in rows}  # noqa: SLF001
        return [found[key] for key in sorted(found)]

    def _query(self) -> Select[Any]:
        query = select(*(executions.c[name] for name in Seen.__dataclass_fields__))
        return query if self._has_probes else query.where(executions.c.job_type != PROBE_JOB_TYPE)

    def _forget(self) -> None:
        """Keep only the newest jobs, and the newest unfinished ones of the others."""
        assert self._newest_job is not None
        recent = self._newest_job - _OVERLAP
        kept = [seen for seen in self._seen.values() if seen.id > recent or not seen.is_finished]
        kept.sort(key=lambda seen: seen.id)
        self._seen = {seen.id: seen for seen in kept[-_MOST_WATCHED:]}


def _parts(ids: list[int]) -> Iterable[list[int]]:
    return (ids[start : start + _PAGE] for start in range(0, len(ids), _PAGE))


def _told(event: str, seen: Seen, *, at: datetime) -> Happening:
    return Happening(
        at, event, seen.job_id, seen.job_type, seen.attempt_count, seen.error, seen.next_attempt_at
    )
