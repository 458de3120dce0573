"""Recording the attempts at jobs: claimed under a lease, ended, given back or lost.

Every function runs inside a transaction that its caller commits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Update, and_, func, not_, select, update

from jobs_core.database import job_steps
from jobs_core.database.dialects import changed_rows
from jobs_core.database.outbox_rows import discard_messages
from jobs_core.database.statements import ENDS
from jobs_core.database.tables import attempts, executions
from jobs_core.model.options import DeliveryOptions
from jobs_core.model.outcome import Finish
from jobs_core.model.recordable import storable
from jobs_core.model.states import AttemptOutcome, Event, JobStatus, target

CUT_OFF_STATUS = 503  # what the worker would have answered; an attempt whose worker died has none

# After so many attempts in a row whose worker was killed, the job itself is taken to be the cause, as one that uses too
# much memory is.
MOST_DEATHS = 3


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery's request to run its job once, under a lease that ends at ``lease_until``."""

    job_id: str
    message_id: str | None
    now: datetime
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job claimed for attempt ``number`` (1, 2, 3, …), with what its record says."""

    number: int
    failures: int  # of the job itself, since it was enqueued or retried by hand
    max_retries: int
    options: DeliveryOptions


@dataclass(frozen=True, slots=True)
class Died:
    """A job that has failed because its workers died too often while they ran it."""

    error: str


def claim(connection: Connection, claims: Sequence[Claim]) -> list[Claimed | Died | None]:
    """Claim jobs for one attempt each. Return ``None`` for a job that is not free.

    A job is free while it is pending, and when the lease of its present attempt has ended. If its workers have
    died in ``MOST_DEATHS`` attempts in a row, it fails instead. Of two claims for the same job the first wins.
    """
    first: dict[str, Claim] = {}
    for each in claims:
        first.setdefault(each.job_id, each)
    rows = {job_id: _claiming(each) for job_id, each in first.items()}
    claimed = {
        job_id: _claimed(*found) for job_id, *found in job_steps.claim(connection, list(rows.values()))
    }
    died: dict[str, Died] = {}
    for job_id, got in claimed.items():
        now = first[job_id].now
        was_lost = got.number > 1 and close_lost_attempts(connection, job_id, now)
        if was_lost and _deaths(connection, job_id, before=got.number) % MOST_DEATHS == 0:
            died[job_id] = _fail_unrun(connection, job_id, got.number, now)
    again = [
        job_steps.attempt_row(rows[job_id], number=got.number)
        for job_id, got in claimed.items()
        if got.number > 1 and job_id not in died
    ]
    if again:
        job_steps.add_attempts(connection, again)
    found: dict[str, Claimed | Died] = {**claimed, **died}
    return [found.get(each.job_id) if first[each.job_id] is each else None for each in claims]


def extend_lease(connection: Connection, job_id: str, *, lease_until: datetime) -> None:
    """Set the end of the lease of a job that was claimed in this transaction."""
    connection.execute(
        update(executions).where(executions.c.job_id == job_id).values(lease_until=lease_until)
    )


@dataclass(frozen=True, slots=True)
class Ended:
    """End of an attempt."""

    job_id: str
    number: int
    how: Finish
    now: datetime


def finish(connection: Connection, ended: Sequence[Ended]) -> list[bool]:
    """Record how attempts ended. Return false for an attempt that no longer holds its job: it was taken over or
    cancelled.
    """
    kept: set[tuple[str, int]] = set()
    for event in ENDS:
        rows = [_ending(each) for each in ended if each.how.event is event]
        if rows:
            kept |= job_steps.finish(connection, event, rows)
    changed = [(each.job_id, each.number) in kept for each in ended]
    lost = [each for each, is_kept in zip(ended, changed, strict=True) if not is_kept]
    job_steps.end_attempts(
        connection, [_ending(each) | {"ended_as": AttemptOutcome.CANCELLED.value} for each in lost]
    )
    return changed


def has_ended(connection: Connection, ended: Ended) -> bool:
    """Return whether the attempt is recorded with this outcome, rather than as taken over or cancelled."""
    found = select(attempts.c.id).where(
        attempts.c.job_id == ended.job_id,
        attempts.c.number == ended.number,
        attempts.c.outcome == ended.how.outcome,
    )
    return connection.execute(found).first() is not None


def report_progress(
    connection: Connection,
    job_id: str,
    attempt_number: int,
    *,
    fraction: float,
    note: str | None,
    now: datetime,
) -> bool:
    """Store the attempt's progress. Return false if the attempt no longer holds the job."""
    statement = (
        update(executions)
        .where(
            executions.c.job_id == job_id,
            executions.c.status == JobStatus.PROCESSING,
            executions.c.attempt_count == attempt_number,
        )
        .values(progress=fraction, progress_note=None if note is None else storable(note), updated_at=now)
    )
    return changed_rows(connection.execute(statement)) > 0


def give_back(connection: Connection, job_id: str, attempt_number: int, *, now: datetime) -> None:
    """End the lease of an interrupted attempt, and record it as lost."""
    columns = executions.c
    connection.execute(
        update(executions)
        .where(
            columns.job_id == job_id,
            columns.status == JobStatus.PROCESSING,
            columns.attempt_count == attempt_number,
        )
        .values(lease_until=now, updated_at=now)
    )
    connection.execute(
        update(attempts)
        .where(
            attempts.c.job_id == job_id,
            attempts.c.number == attempt_number,
            attempts.c.outcome == AttemptOutcome.RUNNING,
        )
        .values(
            outcome=AttemptOutcome.LOST,
            status_code=CUT_OFF_STATUS,
            error="cut off: the worker was stopped",
            finished_at=now,
        )
    )


def close_lost_attempts(connection: Connection, job_id: str, now: datetime) -> bool:
    """Record that a running attempt's worker died. Return false if none was running."""
    closed = connection.execute(
        _running(job_id).values(
            outcome=AttemptOutcome.LOST,
            error="the worker died, or ran longer than its lease, without an answer",
            finished_at=now,
        )
    )
    return changed_rows(closed) > 0


def cancel_running_attempt(connection: Connection, job_id: str, now: datetime) -> None:
    """Record that the job's running attempt, if there is one, was cancelled."""
    connection.execute(_running(job_id).values(outcome=AttemptOutcome.CANCELLED, finished_at=now))


def _claimed(number: int, failures: int, max_retries: int, options: dict[str, Any]) -> Claimed:
    return Claimed(number, failures, max_retries, DeliveryOptions.model_validate(options))


def _claiming(wanted: Claim) -> dict[str, Any]:
    return {
        "of_job": wanted.job_id,
        "now": wanted.now,
        "until": wanted.lease_until,
        "delivered_as": wanted.message_id,
    }


def _ending(ended: Ended) -> dict[str, Any]:
    how = ended.how
    return {
        "of_job": ended.job_id,
        "of_number": ended.number,
        "ended_as": how.outcome.value,
        "answered": how.status_code,
        "what_failed": how.error,
        "where_failed": how.traceback,
        "again_at": how.next_attempt_at,
        "now": ended.now,
        "returned": how.result,
    }


def _running(job_id: str) -> Update:
    return update(attempts).where(attempts.c.job_id == job_id, attempts.c.outcome == AttemptOutcome.RUNNING)


def _deaths(connection: Connection, job_id: str, *, before: int) -> int:
    """Return how many attempts in a row, the last of them number ``before - 1``, ended with the worker's death."""
    columns = attempts.c
    is_death = and_(columns.outcome == AttemptOutcome.LOST, columns.status_code.is_(None))
    other = connection.execute(
        select(func.max(columns.number)).where(
            columns.job_id == job_id, columns.number < before, not_(is_death)
        )
    ).scalar()
    return before - 1 - (other or 0)


def _fail_unrun(connection: Connection, job_id: str, number: int, now: datetime) -> Died:
    """Fail a job instead of starting attempt ``number``, for which it was claimed in this transaction."""
    error = f"its worker died in {MOST_DEATHS} runs in a row (killed? out of memory?); it is not run again"
    connection.execute(
        update(executions)
        .where(executions.c.job_id == job_id)
        .values(
            status=target(Event.FAIL),
            attempt_count=number - 1,
            error=error,
            lease_until=None,
            completed_at=now,
            updated_at=now,
        )
    )
    discard_messages(connection, job_id)
    return Died(error)
