"""The states of a job and the legal changes between them.

Every change is one conditional UPDATE in ``jobs_core.database``, whose condition is ``sources(event)``: no caller sets
a status by hand, and of two callers that try the same change one finds no matching row.
"""

from enum import StrEnum


class JobStatus(StrEnum):
    PENDING = "pending"  # waiting for its next delivery: the first, or one after a failed attempt
    PROCESSING = "processing"  # a worker holds the lease and runs the handler
    COMPLETED = "completed"  # the handler returned
    FAILED = "failed"  # no retry is left, or the error was permanent
    CANCELLED = "cancelled"  # by request


class Event(StrEnum):
    CLAIM = "claim"  # a delivery arrived; also takes over an attempt whose lease has run out
    COMPLETE = "complete"  # the handler returned
    RETRY = "retry"  # the attempt failed and will be repeated
    FAIL = "fail"  # the attempt failed for good
    ABANDON = "abandon"  # QStash gave up, or never had the message: no attempt will come
    CANCEL = "cancel"  # someone asked
    REVIVE = "revive"  # someone asked for a finished job to be done once more


class AttemptOutcome(StrEnum):
    RUNNING = "running"  # not over, or its worker died and nobody has noticed yet
    COMPLETED = "completed"  # the handler returned
    RETRY = "retry"  # failed, to be retried
    LATER = "later"  # the handler asked for a later time
    FAILED = "failed"  # failed for good
    LOST = "lost"  # its worker died, or took longer than its lease
    CANCELLED = "cancelled"  # the job was cancelled while the handler ran


TRANSITIONS: dict[JobStatus, dict[Event, JobStatus]] = {
    JobStatus.PENDING: {
        Event.CLAIM: JobStatus.PROCESSING,
        Event.ABANDON: JobStatus.FAILED,
        Event.CANCEL: JobStatus.CANCELLED,
    },
    JobStatus.PROCESSING: {
        Event.CLAIM: JobStatus.PROCESSING,
        Event.COMPLETE: JobStatus.COMPLETED,
        Event.RETRY: JobStatus.PENDING,
        Event.FAIL: JobStatus.FAILED,
        Event.ABANDON: JobStatus.FAILED,
        Event.CANCEL: JobStatus.CANCELLED,
    },
    JobStatus.COMPLETED: {Event.REVIVE: JobStatus.PENDING},
    JobStatus.FAILED: {Event.REVIVE: JobStatus.PENDING},
    JobStatus.CANCELLED: {Event.REVIVE: JobStatus.PENDING},
}

FINISHED = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})


def sources(event: Event) -> tuple[JobStatus, ...]:
    """Return the states in which ``event`` is legal."""
    return tuple(status for status, legal in TRANSITIONS.items() if event in legal)


def target(event: Event) -> JobStatus:
    """Return the state to which ``event`` leads, from any legal state."""
    targets = {legal[event] for legal in TRANSITIONS.values() if event in legal}
    (status,) = targets
    return status
