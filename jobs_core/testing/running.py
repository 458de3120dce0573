"""A worker behind an emulator with a manual clock."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Protocol

import httpx
from starlette.types import ASGIApp

from jobs_core.app import create_app
from jobs_core.engine.delivery_trouble import find_troubles
from jobs_core.engine.dispatcher import JobDispatcher
from jobs_core.engine.registry import Registry
from jobs_core.engine.requests import Duration
from jobs_core.engine.resources import Resources
from jobs_core.model.records import JobRecord
from jobs_core.model.states import JobStatus
from jobs_core.settings.settings import Environment, Settings
from jobs_core.testing.databases import temporary_database


class TurnedQStash(Protocol):
    """The interface of an emulator in the test's process; its ``qstash`` fixture is one."""

    app: ASGIApp

    @property
    def now(self) -> int:
        """Return the present time in unix milliseconds."""
        ...

    def mount(self, origin: str, app: object) -> None:
        """Have an ASGI app answer requests to an origin."""
        ...


class TurnedClock:
    """The emulator's clock, for the records: turning it turns both."""

    def __init__(self, qstash: TurnedQStash) -> None:
        self._qstash = qstash

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._qstash.now / 1000, UTC)


@asynccontextmanager
async def jobs_running(
    qstash: TurnedQStash,
    *,
    registry: Registry | None = None,
    resources: Resources | None = None,
    settings: Settings | None = None,
    base_url: str = "https://app.example.com",
) -> AsyncIterator[JobDispatcher]:
    """Yield a dispatcher that publishes to ``qstash``, and mount a worker at ``base_url`` for its deliveries.

    Args:
        registry: default: the package's job types and those of JOBS_MODULES.
        resources: what handlers may ``use``.
        settings: default: the environment's, with a database that is gone afterwards, and ``base_url``.

    Nothing runs in real time: a test turns the emulator's clock, and looks at the records.
    """
    with ExitStack() as stack:
        if settings is None:
            url = stack.enter_context(temporary_database())
            settings = Settings.load(database_url=url, base_url=base_url, environment=Environment.TEST)
        async with JobDispatcher(
            settings,
            registry=registry,
            clock=TurnedClock(qstash),
            transport=httpx.ASGITransport(qstash.app),
        ) as dispatcher:
            qstash.mount(settings.base_url, create_app(dispatcher=dispatcher, resources=resources))
            yield dispatcher


async def wait_for_job(
    dispatcher: JobDispatcher,
    job_id: str,
    status: JobStatus = JobStatus.COMPLETED,
    *,
    timeout: Duration = 10,  # noqa: ASYNC109 -- as JobDispatcher.wait
    turn: Callable[[], Awaitable[object]] | None = None,
) -> JobRecord:
    """Return the job's record once it is finished in the expected state.

    What is committed is published first; then ``turn`` is awaited, ``qstash.run_until_idle`` for one.
    ``timeout`` is real time.

    Raises:
        AssertionError: it ended in another state, or did not end; with the reason and every attempt's outcome.
        JobNotFoundError: there is no such job.
    """
    await dispatcher.flush()
    if turn is not None:
        await turn()
    try:
        record = await dispatcher.wait(job_id, timeout)
    except TimeoutError:
        record = await dispatcher.get(job_id)
    if record.status is not status:
        attempts = "".join(
            f"\n  attempt {attempt.number}: {attempt.outcome}{f': {attempt.error}' if attempt.error else ''}"
            for attempt in record.attempts
        )
        troubles = await find_troubles(dispatcher.context, [record])
        why = troubles.get(job_id) or record.error
        raise AssertionError(
            f"{record.job_type} {job_id} is {record.status}, not {status}"
            f"{'' if attempts else ', and was never attempted'}{f': {why}' if why else ''}{attempts}"
        )
    return record
