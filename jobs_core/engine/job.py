"""The object that a handler is given beside its payload."""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection

from jobs_core.engine.resources import Resources
from jobs_core.model.envelope import Metadata

T = TypeVar("T")

# The id of the job whose handler is running here: what it enqueues becomes its child.
current_job_id: ContextVar[str | None] = ContextVar("current_job_id", default=None)
Write = Callable[[Connection], object]
ReportProgress = Callable[[float, str | None], Awaitable[None]]


class JobLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger that adds the job's id and type to every line."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt at a job, as its handler sees it."""

    id: str
    job_type: str
    metadata: Metadata
    attempt_number: int  # counts 1, 2, 3
    is_last_attempt: bool  # QStash will not try again if this one fails
    deadline: datetime  # when the handler is cancelled
    log: JobLogger
    resources: Resources
    _report: ReportProgress
    _writes: list[Write] = field(default_factory=list)

    def use(self, kind: type[T]) -> T:
        """Return the application's resource of this type. Raise LookupError if none was provided."""
        return self.resources.use(kind)

    async def progress(self, fraction: float, note: str | None = None) -> None:
        """Store the job's progress, from 0 to 1. Raise ValueError outside that range."""
        if not 0 <= fraction <= 1:
            raise ValueError(f"progress goes from 0 to 1, not {fraction}")
        await self._report(fraction, note)

    def on_completion(self, write: Write) -> None:
        """Have ``write`` run in the transaction that records this job as completed, so that it takes effect
        exactly once.

        ``write`` is a plain function of an SQLAlchemy connection (``Session(connection)`` makes a session of
        it). The transaction is shared with other jobs: ``write`` should be quick and do nothing else. If the
        attempt fails, or another attempt has taken over the job meanwhile, nothing is written.
        """
        self._writes.append(write)

    @property
    def writes(self) -> tuple[Write, ...]:
        """Return the functions given to ``on_completion``, in order."""
        return tuple(self._writes)
