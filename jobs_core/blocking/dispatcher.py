"""The dispatcher for blocking code: Django, Flask, scripts, and handlers that run in a thread.

One background thread runs an event loop with an ordinary `JobDispatcher`; each call here waits for a call
there. Rows in the caller's own transaction are written in the caller's thread.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel
from sqlalchemy.orm import Session, scoped_session

from jobs_core.blocking.loop_thread import BackgroundLoop
from jobs_core.database import caller_connections
from jobs_core.database.job_queries import JobFilter, JobPage, TypeStats
from jobs_core.engine.dispatcher import JobDispatcher
from jobs_core.engine.registry import JobDefinition, Registry
from jobs_core.engine.requests import Duration, JobRequest
from jobs_core.engine.schedules import Schedule
from jobs_core.model.clock import Clock
from jobs_core.model.records import JobRecord
from jobs_core.settings.settings import Settings

P = TypeVar("P", bound=BaseModel)


class SyncJobDispatcher:
    """`JobDispatcher`, blocking. Threads may share it; make one a process, and ``close`` it at the end.

    Its thread starts with the first call, which must not happen before a server forks.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        registry: Registry | None = None,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.dispatcher: JobDispatcher = JobDispatcher(
            settings, registry=registry, clock=clock, transport=transport
        )
        self.background: BackgroundLoop = BackgroundLoop("jobs_core")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Finish the work under way and stop the thread."""
        self.background.run(self.dispatcher.aclose())
        self.background.close()

    def enqueue(
        self,
        job_type: str | JobDefinition[P],
        payload: P | Mapping[str, Any],
        *,
        session: Session | scoped_session[Session] | None = None,
        connection: Any = None,
        **options: Any,
    ) -> str:
        """As ``JobDispatcher.enqueue``, with the same options; ``connection`` is a blocking one."""
        if session is None and connection is None:
            return self.background.run(self.dispatcher.enqueue(job_type, payload, **options))
        request = JobRequest.of(job_type, payload, **options)
        return self.enqueue_many([request], session=session, connection=connection)[0]

    def enqueue_many(
        self,
        requests: Sequence[JobRequest],
        *,
        session: Session | scoped_session[Session] | None = None,
        connection: Any = None,
    ) -> Sequence[str]:
        """As ``JobDispatcher.enqueue_many``; ``connection`` is a blocking one."""
        if session is not None and connection is not None:
            raise TypeError("give session or connection, not both")
        if connection is not None:
            blocking = caller_connections.blocking(connection)
            if blocking is None:
                raise caller_connections.not_accepted(connection, is_blocking=True)
            return self.dispatcher.write_on(blocking, requests)
        if session is None:
            return self.background.run(self.dispatcher.enqueue_many(requests))
        return self.dispatcher.write_within(session, requests, self.background.loop)

    def flush(self) -> None:
        """As ``JobDispatcher.flush``."""
        self.background.run(self.dispatcher.flush())

    def get(self, job_id: str) -> JobRecord:
        """As ``JobDispatcher.get``."""
        return self.background.run(self.dispatcher.get(job_id))

    def list(self, wanted: JobFilter | None = None) -> JobPage:
        """As ``JobDispatcher.list``."""
        return self.background.run(self.dispatcher.list(wanted))

    def stats(self, period: timedelta = timedelta(days=1)) -> Sequence[TypeStats]:
        """As ``JobDispatcher.stats``."""
        return self.background.run(self.dispatcher.stats(period))

    def wait(self, job_id: str, timeout: Duration = 30) -> JobRecord:
        """As ``JobDispatcher.wait``."""
        return self.background.run(self.dispatcher.wait(job_id, timeout))

    def cancel(self, job_id: str) -> JobRecord:
        """As ``JobDispatcher.cancel``."""
        return self.background.run(self.dispatcher.cancel(job_id))

    def run_now(self, job_id: str) -> JobRecord:
        """As ``JobDispatcher.run_now``."""
        return self.background.run(self.dispatcher.run_now(job_id))

    def retry(self, job_id: str) -> JobRecord:
        """As ``JobDispatcher.retry``."""
        return self.background.run(self.dispatcher.retry(job_id))

    def schedule(
        self,
        job_type: str | JobDefinition[Any],
        cron: str,
        payload: BaseModel | Mapping[str, Any],
        **options: Any,
    ) -> str:
        """As ``JobDispatcher.schedule``."""
        return self.background.run(self.dispatcher.schedule(job_type, cron, payload, **options))

    def schedules(self) -> Sequence[Schedule]:
        """As ``JobDispatcher.schedules.list``."""
        return self.background.run(self.dispatcher.schedules.list())

    def pause_schedule(self, schedule_id: str) -> bool:
        """As ``JobDispatcher.schedules.pause``."""
        return self.background.run(self.dispatcher.schedules.pause(schedule_id))

    def resume_schedule(self, schedule_id: str) -> bool:
        """As ``JobDispatcher.schedules.resume``."""
        return self.background.run(self.dispatcher.schedules.resume(schedule_id))

    def remove_schedule(self, schedule_id: str) -> bool:
        """As ``JobDispatcher.schedules.remove``."""
        return self.background.run(self.dispatcher.schedules.remove(schedule_id))
