"""The dispatcher for code that blocks: Django, Flask, scripts, and handlers that run in a thread.

One background thread runs an event loop with an ordinary `JobDispatcher` on it; each call here waits for one
call there. What is written into the caller's own transaction is written in the caller's thread.
"""

import asyncio
import threading
from collections.abc import Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel
from sqlalchemy.orm import Session

from jobs_core.clock import Clock
from jobs_core.composing import Duration, JobRequest
from jobs_core.dispatcher import JobDispatcher
from jobs_core.queries import JobFilter, JobPage
from jobs_core.records import JobRecord
from jobs_core.registry import JobDefinition, Registry
from jobs_core.schedules import Schedule
from jobs_core.settings import Settings

P = TypeVar("P", bound=BaseModel)
T = TypeVar("T")


class SyncJobDispatcher:
    """`JobDispatcher`, blocking. Safe to share between threads; one for each process; ``close`` when done.

    Make it after a fork, not before: a forked child has no copy of its thread.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        registry: Registry | None = None,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._dispatcher = JobDispatcher(settings, registry=registry, clock=clock, transport=transport)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="jobs_core", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Finish what is under way, and stop the thread."""
        self._wait(self._dispatcher.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def enqueue(
        self,
        job_type: str | JobDefinition[P],
        payload: P | Mapping[str, Any],
        *,
        session: Session | None = None,
        **options: Any,
    ) -> str:
        """As ``JobDispatcher.enqueue``, with the same options."""
        if session is None:
            return self._wait(self._dispatcher.enqueue(job_type, payload, **options))
        request = JobRequest.of(job_type, payload, **options)
        return self._dispatcher.write_within(session, [request], self._loop)[0]

    def enqueue_many(self, requests: Sequence[JobRequest]) -> Sequence[str]:
        """As ``JobDispatcher.enqueue_many``."""
        return self._wait(self._dispatcher.enqueue_many(requests))

    def get(self, job_id: str) -> JobRecord:
        """As ``JobDispatcher.get``."""
        return self._wait(self._dispatcher.get(job_id))

    def list(self, wanted: JobFilter | None = None) -> JobPage:
        """As ``JobDispatcher.list``."""
        return self._wait(self._dispatcher.list(wanted))

    def wait(self, job_id: str, timeout: Duration = 30) -> JobRecord:
        """As ``JobDispatcher.wait``."""
        return self._wait(self._dispatcher.wait(job_id, timeout))

    def cancel(self, job_id: str) -> JobRecord:
        """As ``JobDispatcher.cancel``."""
        return self._wait(self._dispatcher.cancel(job_id))

    def retry(self, job_id: str) -> JobRecord:
        """As ``JobDispatcher.retry``."""
        return self._wait(self._dispatcher.retry(job_id))

    def schedule(
        self,
        job_type: str | JobDefinition[Any],
        cron: str,
        payload: BaseModel | Mapping[str, Any],
        **options: Any,
    ) -> str:
        """As ``JobDispatcher.schedules.create``."""
        return self._wait(self._dispatcher.schedules.create(job_type, cron, payload, **options))

    def schedules(self) -> Sequence[Schedule]:
        """As ``JobDispatcher.schedules.list``."""
        return self._wait(self._dispatcher.schedules.list())

    def _wait(self, call: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()
