"""Messages to publish: written with the job, published after the commit, deleted once QStash has accepted them.

A process may die at any instruction between, so another finds and publishes what it left. The deduplication
id, made from the job's id, keeps a message that was accepted without our knowledge from being accepted twice
(within QStash's ten minutes; after that the claim keeps the job from running twice).

Until a row's ``locked_until`` only one process publishes it. Waiting messages are published in one batch.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update

from jobs_core.database import job_changes, job_steps
from jobs_core.database.batching import Coalescer, PerLoop
from jobs_core.database.connections import Database, is_unavailable
from jobs_core.database.statements import FORGET_MESSAGE
from jobs_core.database.tables import outbox
from jobs_core.model.clock import Clock
from jobs_core.model.errors import PublishError, PublishRefusedError, PublishUnavailableError
from jobs_core.model.message import Message
from jobs_core.model.recordable import storable
from jobs_core.qstash.client import LARGEST_BATCH, QStashClient

log: logging.Logger = logging.getLogger(__name__)

# Longer than a publish takes with all its timeouts; shorter than the ten minutes of deduplication.
LOCK = timedelta(seconds=60)
_FIRST_PAUSE = timedelta(seconds=2)
_LONGEST_PAUSE = timedelta(minutes=5)


def pause(failures: int) -> timedelta:
    """Return the wait after so many failures in a row: 2, 4, 8 s and so on, up to 5 minutes."""
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * (1 << min(failures - 1, 10)))


@dataclass(frozen=True, slots=True)
class _Due:
    message: Message
    failures: int


class _Relay:
    """The state of one event loop's relay."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.is_woken = False
        # One at a time: a second caller also waits for what the first has locked and not yet published.
        self.lock = asyncio.Lock()


class Outbox:
    """Publishes messages whose rows are committed, and records that they were."""

    def __init__(self, database: Database, client: QStashClient, clock: Clock) -> None:
        self._database = database
        self._client = client
        self._clock = clock
        self._publisher: PerLoop[Coalescer[Message, str]] = PerLoop(
            lambda: Coalescer(self._publish_group, limit=LARGEST_BATCH, lanes=4)
        )
        self._relay: PerLoop[_Relay] = PerLoop(_Relay)

    def locked_until(self) -> datetime:
        """Return the lock of a row that its writer publishes itself, right after the commit."""
        return self._clock.now() + LOCK

    async def publish(self, message: Message, *, failures: int = 0) -> str | None:
        """Publish one message whose row is committed and locked by the caller. Return its message id.

        ``None`` means that QStash cannot be reached now; the relay will try again.

        Raises:
            PublishRefusedError: QStash refused it for good; the job is recorded as failed.
        """
        try:
            message_id = await self._publisher.here().submit(message)
        except PublishUnavailableError as error:
            await self._postpone(message, failures + 1, error)
            return None
        except PublishRefusedError as error:
            error.job_id = message.job_id
            await self._give_up(message, error)
            raise
        _say("enqueued", message, message_id=message_id)
        return message_id

    async def relay(self) -> int:
        """Publish every due message that nobody has locked. Return how many rows were taken."""
        taken = 0
        async with self._relay.here().lock:
            while due := await self._take():
                ended = await asyncio.gather(
                    *(self.publish(each.message, failures=each.failures) for each in due),
                    return_exceptions=True,
                )
                for each, error in zip(due, ended, strict=True):
                    if isinstance(error, Exception) and not isinstance(error, PublishRefusedError):
                        _say("publish_failed", each.message, level=logging.ERROR, error=repr(error))
                taken += len(due)
        return taken

    def wake(self) -> None:
        """Have ``relay`` run soon, in the background; once more if one is running that has read the rows already.

        What it cannot publish is left to the relay at intervals.
        """
        relay = self._relay.here()
        relay.is_woken = True
        if relay.task is None or relay.task.done():
            relay.task = asyncio.create_task(self._relay_while_woken())

    async def _relay_while_woken(self) -> None:
        relay = self._relay.here()
        while relay.is_woken:
            relay.is_woken = False
            try:
                await self.relay()
            except Exception as error:
                if not is_unavailable(error):  # the database has logged it
                    log.exception("the outbox's relay failed", extra={"event": "relay_failed"})

    async def flush(self) -> None:
        """Publish every committed message that nobody has locked, and wait for those that this process is
        publishing.
        """
        await asyncio.sleep(0)  # the notice of a commit may still be scheduled
        relay = self._relay.here()
        if relay.task is not None:
            await asyncio.gather(relay.task, return_exceptions=True)
        await self.relay()
        await self._publisher.here().join()

    async def close(self) -> None:
        """Wait for the publishes under way."""
        relay = self._relay.here()
        if relay.task is not None:
            await asyncio.gather(relay.task, return_exceptions=True)
        await self._publisher.here().join()

    async def _publish_group(self, messages: Sequence[Message]) -> list[str | PublishError]:
        answers = await self._client.publish(messages, now=self._clock.now())
        published = [
            (message, answer)
            for message, answer in zip(messages, answers, strict=True)
            if isinstance(answer, str)
        ]
        if published:
            await self._database.write_jointly(_record_published, published)
        return answers

    async def _take(self) -> list[_Due]:
        now = self._clock.now()
        return await self._database.write(lambda connection: _take_due(connection, now))

    async def _postpone(self, message: Message, failures: int, error: PublishError) -> None:
        wait = pause(failures)
        until = self._clock.now() + wait
        await self._database.write(
            lambda connection: _update(
                connection, message, locked_until=until, failures=failures, last_error=storable(str(error))
            )
        )
        _say("publish_postponed", message, level=logging.WARNING, error=str(error), wait_seconds=wait.seconds)

    async def _give_up(self, message: Message, error: PublishError) -> None:
        """Fail the job that waits for a refused message. The row says whether it still does: a message that was
        replaced has none. A notice of an earlier failure is not what its job waits for.
        """
        now = self._clock.now()

        def record(connection: Connection) -> None:
            is_waited_for = FORGET_MESSAGE.returning(connection, [{"key": message.deduplication_id}])
            if is_waited_for and not message.is_notice:
                job_changes.abandon(connection, message.job_id, error=str(error), now=now)

        await self._database.write(record)
        _say("publish_refused", message, level=logging.ERROR, error=str(error))


def _take_due(connection: Connection, now: datetime) -> list[_Due]:
    candidates = (
        select(outbox.c.id)
        .where(outbox.c.locked_until <= now)
        .order_by(outbox.c.id)
        .limit(LARGEST_BATCH)
        .with_for_update(skip_locked=True)  # SQLite, which has one writer at a time, leaves it out
    )
    taken = connection.execute(
        update(outbox)
        .where(outbox.c.id.in_(candidates.scalar_subquery()), outbox.c.locked_until <= now)
        .values(locked_until=now + LOCK)
        .returning(outbox)
    )
    return [_Due(_message(row), row.failures) for row in sorted(taken, key=lambda row: int(row.id))]


def _record_published(
    connection: Connection, groups: Sequence[Sequence[tuple[Message, str]]]
) -> Sequence[None]:
    """Delete the messages' rows, and note in their jobs' records which message delivers them.

    A row that is gone was replaced, by a message for the same job that is still to be published.
    """
    rows = [
        {
            "key": message.deduplication_id,
            "of_job": None if message.is_notice else message.job_id,
            "published_as": message_id,
        }
        for group in groups
        for message, message_id in group
    ]
    job_steps.note_published(connection, rows)
    return [None] * len(groups)


def _update(connection: Connection, message: Message, **values: Any) -> None:
    connection.execute(
        update(outbox).where(outbox.c.deduplication_id == message.deduplication_id).values(**values)
    )


def _message(row: Any) -> Message:
    return Message(
        job_id=row.job_id,
        destination=row.destination,
        body=row.body,
        headers=row.headers,
        deduplication_id=row.deduplication_id,
        queue=row.queue,
        deliver_at=row.deliver_at,
    )


def _say(
    event: str, message: Message, *, level: int = logging.INFO, error: str | None = None, **facts: Any
) -> None:
    words, more = ("%s %s", ()) if error is None else ("%s %s: %s", (error,))
    facts |= {"error": error} if error is not None else {}
    log.log(
        level, words, event, message.job_id, *more, extra={"event": event, "job_id": message.job_id, **facts}
    )
