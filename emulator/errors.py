"""The errors of the domain.

    EmulatorError
    ├── InvalidInput          the request has an invalid value                      (400)
    ├── Unauthorized          no token, or an unknown one                           (401)
    ├── Forbidden             a read-only token on a write; a foreign origin        (403)
    ├── NotFound              a message, queue, schedule … that does not exist      (404)
    ├── Conflict              the request does not fit the server's present state   (409)
    ├── QuotaExceeded         more than the plan allows                             (412)
    ├── BodyTooLarge          over the message size limit                           (413)
    ├── TooManyRequests       more waiting than the server may hold                 (429)
    ├── StillInProgress       a bulk action takes longer than its caller waits       (429)
    ├── RunLimitExceeded      a workflow run has more steps or context than it may   (429)
    ├── DailyLimitReached     the plan's messages of the day are used up            (429)
    └── StoreUnavailable      the durable store does not take writes                (503)
        └── StoreLost         its file is gone or another one, until a restart      (503)

The table in ``emulator.http.errors`` maps each class to its status (contract 1.3).
"""


class EmulatorError(Exception):
    """An error that the caller is told of; ``str()`` is the text of the answer's ``error`` field.

    Applications compare the real service's texts, so further information of the emulator is the ``hint``, a separate
    field of the answer.
    """

    def __init__(self, text: str, *, hint: str | None = None) -> None:
        super().__init__(text)
        self.hint = hint


class InvalidInput(EmulatorError):
    """An invalid value. The text names the field, the value and what is accepted."""


class Unauthorized(EmulatorError):
    """The token is missing or unknown."""


class Forbidden(EmulatorError):
    """The token is known, but may not do this."""


class NotFound(EmulatorError):
    """The named object does not exist for this token."""


class Conflict(EmulatorError):
    """The request is valid but does not fit the present state."""


class QuotaExceeded(EmulatorError):
    """A limit of the plan. The text reads ``quota <name> exceeded``."""


class BodyTooLarge(EmulatorError):
    """The body is over the message size limit."""


class TooManyRequests(EmulatorError):
    """The server's limit of unfinished work is reached; try again in ``retry_after_seconds``."""

    def __init__(self, text: str, *, retry_after_seconds: int) -> None:
        super().__init__(text)
        self.retry_after_seconds = retry_after_seconds


class StillInProgress(EmulatorError):
    """A bulk action takes longer than its caller waits; it goes on."""


class RunLimitExceeded(EmulatorError):
    """A hard limit of workflow runs. The text reads ``EXCEEDS_LIMIT: <what>``; the run has failed with it."""


class DailyLimitReached(EmulatorError):
    """The plan's messages of the day are used up; ``reset_at_seconds`` is the next midnight in unix seconds."""

    def __init__(self, text: str, *, limit: int, remaining: int, reset_at_seconds: int) -> None:
        super().__init__(text, hint=f"the plan allows {limit} messages a day")
        self.limit = limit
        self.remaining = remaining
        self.reset_at_seconds = reset_at_seconds


class StoreUnavailable(EmulatorError):
    """The store refuses writes (a full disk, a read-only file); nothing of the request was accepted."""


class StoreLost(StoreUnavailable):
    """The store's file was deleted or replaced under the running process."""
