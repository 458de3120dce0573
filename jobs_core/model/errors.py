"""The job system's errors.

::

    JobError
    ├── JobValidationError      the payload does not fit its model
    ├── UnknownJobTypeError     no handler is registered under that name
    ├── JobNotFoundError        no record with that id
    ├── JobStateError           the job's state does not allow it
    ├── JobTimeoutError         the handler ran longer than its timeout; retried
    ├── PermanentJobError       raised by handlers: do not retry
    ├── RetryLater              raised by handlers: retry, but not before a given time
    └── PublishError            QStash did not take the message
        ├── PublishRefusedError     and never will: the request itself is wrong
        └── PublishUnavailableError it may later: network, limits, credentials, its own failure
    SettingsError               the environment does not make a working configuration
    RegistryError               two job types collide, or one is not well formed

Any other exception that leaves a handler is a failure to be retried.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from pydantic import ValidationError

# Source: Upstash docs, features/retry: a Retry-After of more than a day is ignored, not clamped.
LONGEST_RETRY_AFTER = timedelta(days=1)


class JobError(Exception):
    """An error of one job. ``code`` is stable and meant for programs."""

    default_code: ClassVar[str] = "job_error"

    def __init__(self, message: str, code: str | None = None, job_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code: str = code or self.default_code
        self.job_id = job_id


@dataclass(frozen=True, slots=True)
class FieldError:
    """One invalid field of a payload."""

    path: str  # dotted, from the payload's root: "data.recipientName", "to.0"
    message: str
    kind: str  # pydantic's stable name of the rule: "missing", "string_too_long"


class JobValidationError(JobError):
    """The payload does not fit the job type's model; ``errors`` lists every field."""

    default_code = "invalid_payload"

    def __init__(self, message: str, errors: Sequence[FieldError] = (), job_id: str | None = None) -> None:
        super().__init__(message, job_id=job_id)
        self.errors: tuple[FieldError, ...] = tuple(errors)

    @classmethod
    def from_pydantic(cls, subject: str, error: ValidationError) -> "JobValidationError":
        """Make one that lists every field error of ``error``, without values: payloads do not belong in logs."""
        errors = [
            FieldError(".".join(map(str, found["loc"])), found["msg"], found["type"])
            for found in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        listed = "; ".join(f"{found.path or '(payload)'}: {found.message}" for found in errors)
        return cls(f"{subject} is not valid: {listed}", errors)


class UnknownJobTypeError(JobError):
    """No handler is registered under that name."""

    default_code = "unknown_job_type"


class JobNotFoundError(JobError):
    """There is no record with that job id."""

    default_code = "job_not_found"


class JobStateError(JobError):
    """The job is in a state that does not allow what was asked."""

    default_code = "job_state"


class JobTimeoutError(JobError):
    """The handler ran longer than its timeout and was cancelled. It is retried."""

    default_code = "timeout"


class PermanentJobError(JobError):
    """Raised by a handler when a retry cannot help."""

    default_code = "permanent"


class RetryLater(JobError):
    """Raised by a handler to be retried after ``after`` (a timedelta, or seconds).

    It is the job's own answer, and uses up one of its retries as a failure does: on the last attempt the job fails.

    Raises:
        ValueError: if ``after`` is negative or over a day, which QStash would ignore.
    """

    default_code = "retry_later"

    def __init__(self, after: timedelta | float, message: str = "asked to be retried later") -> None:
        super().__init__(message)
        self.after: timedelta = after if isinstance(after, timedelta) else timedelta(seconds=after)
        if not timedelta(0) <= self.after <= LONGEST_RETRY_AFTER:
            raise ValueError(f"RetryLater takes 0 to {LONGEST_RETRY_AFTER}, not {self.after}")


class PublishError(JobError):
    """QStash did not take a message. ``status`` is its HTTP status, ``None`` if there was no answer."""

    default_code = "publish_failed"

    def __init__(self, message: str, *, status: int | None = None, job_id: str | None = None) -> None:
        super().__init__(message, job_id=job_id)
        self.status = status


class PublishRefusedError(PublishError):
    """QStash refused the message, and would refuse it again."""

    default_code = "publish_refused"


class PublishUnavailableError(PublishError):
    """QStash could not take the message now; it stays in the outbox."""

    default_code = "publish_unavailable"


class SettingsError(Exception):
    """The environment does not make a working configuration; the message is one line for each problem."""


class RegistryError(Exception):
    """Two job types collide, or one is not well formed."""
