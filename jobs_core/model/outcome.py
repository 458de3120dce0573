"""Judge the end of a handler: the outcome to record, and the answer to QStash. Pure.

=====================  ==================  =========================================
what happened          recorded            answered
=====================  ==================  =========================================
the handler returned   completed           200
``PermanentJobError``  failed              489, ``Upstash-NonRetryable-Error: true``
``RetryLater``         pending, or failed  503 with ``Retry-After``
out of time            pending, or failed  504
any other exception    pending, or failed  500
=====================  ==================  =========================================

"Or failed" is for the last attempt: the one after which no retry of the job is left. A job's retries are its own
failures, counted in its record; what a delivery met on its way (a busy or stopping worker, a database that does not
answer) is answered with a ``status`` in `NOT_THE_JOBS_FAILURE` and uses none of them up.
"""

import math
import traceback
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from jobs_core.model.backoff import expected_wait
from jobs_core.model.errors import (
    JobError,
    JobTimeoutError,
    JobValidationError,
    PermanentJobError,
    RetryLater,
)
from jobs_core.model.recordable import recordable, storable, text_of
from jobs_core.model.states import AttemptOutcome, Event

# Source: Upstash docs, features/retry: with the header, 489 ends all retries.
NON_RETRYABLE_STATUS = 489
_NON_RETRYABLE_HEADER = {"Upstash-NonRetryable-Error": "true"}

# Answers after which the job is to be delivered again, whatever QStash's own count of retries says.
RETRIED = "pending"  # the job failed, and a retry of its own is left
BUSY = "busy"  # another attempt holds the job
NO_THREAD = "no_thread"  # every thread for blocking handlers is taken
UNAVAILABLE = "unavailable"  # the database does not answer
NOT_THE_JOBS_FAILURE = frozenset({BUSY, NO_THREAD, UNAVAILABLE})
COMES_AGAIN = NOT_THE_JOBS_FAILURE | {RETRIED}

_LONGEST_ERROR = 2_000
_LONGEST_TRACEBACK = 20_000


@dataclass(frozen=True, slots=True)
class Finish:
    """Values to record of an attempt and its job."""

    event: Event
    outcome: AttemptOutcome
    status_code: int
    error: str | None = None
    traceback: str | None = None
    result: Any = None
    next_attempt_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A response to QStash. Any 2xx ends the message."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Facts of an attempt from which its end is judged."""

    job_id: str
    number: int  # counts runs of the handler: 1, 2, 3
    failures: int  # how often the job itself has failed since it was enqueued, or retried by hand
    max_retries: int
    retried: int  # the wire's count, of which QStash makes its wait: 0 for the first delivery of a message
    retry_delay: str | None

    @property
    def is_last(self) -> bool:
        return self.failures >= self.max_retries


@dataclass(frozen=True, slots=True)
class Verdict:
    """Judgement of an attempt: the values to record, and the response once they are recorded."""

    record: Finish
    answer: Answer


def judge_success(attempt: Attempt, result: Any) -> Verdict:
    """Judge that the handler returned ``result``. A result without a JSON form is recorded as a note that says so."""
    answer = Answer(200, {"jobId": attempt.job_id, "status": "completed"})
    finish = Finish(Event.COMPLETE, AttemptOutcome.COMPLETED, 200, result=recordable(result))
    return Verdict(finish, answer)


def judge_failure(attempt: Attempt, error: BaseException, *, now: datetime) -> Verdict:
    """Judge that the handler raised ``error``, or ran out of time, by ``now``."""
    error = _of_the_job(error)
    if isinstance(error, PermanentJobError | JobValidationError):
        return _fail(attempt, error, NON_RETRYABLE_STATUS, _NON_RETRYABLE_HEADER)
    status, headers = _retryable_answer(error)
    if attempt.is_last:
        return _fail(attempt, error, status, headers)
    return _retry(attempt, error, status, headers, now)


def not_now(job_id: str, status: str, error: str, *, wait: timedelta) -> Answer:
    """Tell QStash to retry after ``wait``; the job has not failed. ``status`` is one of `NOT_THE_JOBS_FAILURE`."""
    return Answer(
        503, {"jobId": job_id, "status": status, "error": error}, {"Retry-After": retry_after(wait)}
    )


def busy(job_id: str) -> Answer:
    """Tell QStash that another attempt holds the job, and has just changed."""
    return not_now(job_id, BUSY, "another attempt is running", wait=timedelta(seconds=1))


def postponed(job_id: str, *, attempt: int, until: datetime) -> Answer:
    """Tell QStash that ``attempt`` holds the job, and a further message comes when its lease has ended.

    The response is a 2xx, for the job has not failed, and none of its retries is to be used up. Its reason is for
    whoever reads the message's log at QStash.
    """
    reason = f"the lease of attempt {attempt} has not ended; a further message delivers the job when it has"
    return Answer(200, {"jobId": job_id, "status": "postponed", "until": until.isoformat(), "reason": reason})


def died(job_id: str, error: str) -> Answer:
    """Tell QStash that the job has failed because its workers died while they ran it."""
    return Answer(
        NON_RETRYABLE_STATUS, {"jobId": job_id, "status": "failed", "error": error}, _NON_RETRYABLE_HEADER
    )


def ignored(job_id: str, reason: str) -> Answer:
    """Tell QStash that nothing is left to do, so that the message ends."""
    return Answer(200, {"jobId": job_id, "status": reason})


def malformed(error: JobError) -> Answer:
    """Tell QStash that the body is no job, and never will be."""
    return Answer(NON_RETRYABLE_STATUS, {"error": error.message, "code": error.code}, _NON_RETRYABLE_HEADER)


def retry_after(wait: timedelta) -> str:
    """Return whole seconds, rounded up, at least one where there is any wait."""
    return str(max(0, math.ceil(wait.total_seconds())))


def _retryable_answer(error: BaseException) -> tuple[int, dict[str, str]]:
    if isinstance(error, RetryLater):
        return 503, {"Retry-After": retry_after(error.after)}
    return (504 if isinstance(error, JobTimeoutError) else 500), {}


def _of_the_job(error: BaseException) -> BaseException:
    """Return the error of a group that decides about the job, wherever it was raised in the group.

    A permanent error outweighs all others; of several ``RetryLater`` the latest counts.
    """
    leaves = _leaves(error)
    if len(leaves) == 1:
        return leaves[0]
    permanent = [leaf for leaf in leaves if isinstance(leaf, PermanentJobError | JobValidationError)]
    later = [leaf for leaf in leaves if isinstance(leaf, RetryLater)]
    return permanent[0] if permanent else max(later, key=lambda leaf: leaf.after, default=error)


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for inner in error.exceptions for leaf in _leaves(inner)]


def _fail(attempt: Attempt, error: BaseException, status: int, headers: dict[str, str]) -> Verdict:
    described = describe(error)
    record = Finish(Event.FAIL, AttemptOutcome.FAILED, status, error=described, traceback=_traceback(error))
    return Verdict(
        record, Answer(status, {"jobId": attempt.job_id, "status": "failed", "error": described}, headers)
    )


def _retry(
    attempt: Attempt, error: BaseException, status: int, headers: dict[str, str], now: datetime
) -> Verdict:
    is_later = isinstance(error, RetryLater)
    wait = (
        error.after
        if isinstance(error, RetryLater)
        else expected_wait(attempt.retried + 1, attempt.retry_delay)
    )
    described = describe(error)
    record = Finish(
        Event.RETRY,
        AttemptOutcome.LATER if is_later else AttemptOutcome.RETRY,
        status,
        error=described,
        traceback=None if is_later else _traceback(error),
        next_attempt_at=None if wait is None else now + wait,
    )
    return Verdict(
        record, Answer(status, {"jobId": attempt.job_id, "status": RETRIED, "error": described}, headers)
    )


def describe(error: BaseException) -> str:
    """Return the error's message, with its type unless it is ours. One line, or as many as the message has."""
    if isinstance(error, BaseExceptionGroup):
        leaves = _leaves(error)
        return f"{len(leaves)} errors: {'; '.join(map(describe, leaves))}"[:_LONGEST_ERROR]
    if isinstance(error, JobError):
        return storable(error.message)[:_LONGEST_ERROR]
    return storable(f"{type(error).__name__}: {text_of(error)}")[:_LONGEST_ERROR]


def _traceback(error: BaseException) -> str | None:
    if error.__traceback__ is None:
        return None
    # The end of a traceback says where it happened, so that is what is kept of a deep recursion.
    return storable("".join(traceback.format_exception(error)))[-_LONGEST_TRACEBACK:]
