"""Recording how attempts end, also while the database is away for some seconds."""

import asyncio
import logging
from dataclasses import replace

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from jobs_core.database import job_attempts
from jobs_core.database.connections import Database, is_lost, is_unavailable
from jobs_core.database.job_attempts import Ended
from jobs_core.engine.job import Job, Write
from jobs_core.model import outcome
from jobs_core.model.clock import Clock
from jobs_core.model.outcome import Attempt, Verdict
from jobs_core.model.recordable import not_recorded
from jobs_core.model.states import Event

log: logging.Logger = logging.getLogger(__name__)

_PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0)


class AttemptRecorder:
    """Records how the attempts of one application end."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def record(self, job: Job, attempt: Attempt, verdict: Verdict) -> tuple[Verdict, bool]:
        """Record how an attempt ended. Return what was recorded, and false if the attempt no longer holds the job.

        A result that the database refuses is replaced by a note. If the attempt's own writes fail, it has failed.
        """
        try:
            return verdict, await self._write_with_retries(job, verdict)
        except Exception as error:
            if job.writes and not _comes_back(job, verdict, error):
                cause = error.left_by if isinstance(error, _WriteLeftError) else error
                verdict = outcome.judge_failure(attempt, cause, now=self._clock.now())
            elif isinstance(error, DBAPIError) and not isinstance(error, OperationalError | InterfaceError):
                note = not_recorded(verdict.record.result, error.orig or error)
                verdict = replace(verdict, record=replace(verdict.record, result=note))
            else:
                raise
            return verdict, await self._write_with_retries(job, verdict)

    async def give_back(self, job_id: str, number: int) -> None:
        """End the lease of an interrupted attempt, so that the next delivery need not wait for it. Never raise."""
        now = self._clock.now()
        extra = {"job_id": job_id, "attempt": number}
        try:
            await self._database.write(
                lambda connection: job_attempts.give_back(connection, job_id, number, now=now)
            )
        except Exception as error:  # noqa: BLE001 -- the attempt is cut off all the same, and its lease ends by itself
            extra |= {"event": "lease_kept", "error": str(error)}
            log.warning("cut off %s, which keeps its lease: %s", job_id, error, extra=extra)
        else:
            log.warning("cut off %s", job_id, extra=extra | {"event": "cut_off"})

    async def _write_with_retries(self, job: Job, verdict: Verdict) -> bool:
        """Write the end of an attempt, and retry for some seconds while the database does not answer."""
        for pause in _PAUSES_SECONDS:
            try:
                return await self._write_once(job, verdict)
            except Exception as error:
                if not _comes_back(job, verdict, error):
                    raise
            await asyncio.sleep(pause)
        return await self._write_once(job, verdict)

    async def _write_once(self, job: Job, verdict: Verdict) -> bool:
        ended = Ended(job.id, job.attempt_number, verdict.record, self._clock.now())
        # If a commit succeeded and only its answer was lost, the repeated update finds nothing to change.
        return await self._write_end(job, ended) or await self._database.read(
            lambda connection: job_attempts.has_ended(connection, ended)
        )

    async def _write_end(self, job: Job, ended: Ended) -> bool:
        if not job.writes:
            return await self._database.write_jointly(job_attempts.finish, ended)

        def write(connection: Connection) -> bool:
            [kept] = job_attempts.finish(connection, [ended])
            if kept and ended.how.event is Event.COMPLETE:
                for further in job.writes:
                    _carry_out(further, connection)
            return kept

        return await self._database.write(write)


class _WriteLeftError(Exception):
    """A write given to ``on_completion`` raised ``left_by``, which would end the event loop, as sys.exit() does."""

    def __init__(self, left_by: BaseException) -> None:
        super().__init__(str(left_by))
        self.left_by = left_by


def _carry_out(write: Write, connection: Connection) -> None:
    try:
        write(connection)
    except Exception:
        raise
    except BaseException as error:
        raise _WriteLeftError(error) from error


def _comes_back(job: Job, verdict: Verdict, error: Exception) -> bool:
    """Return whether the end of an attempt could not be written because the database is away for now.

    An attempt's own writes may exceed the database's limits (a lock or statement timeout): that is no absence, and
    fails the attempt.
    """
    has_own_writes = job.writes and verdict.record.event is Event.COMPLETE
    return is_lost(error) if has_own_writes else is_unavailable(error)
