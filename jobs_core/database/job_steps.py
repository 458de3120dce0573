"""The steps that every job takes, each for a group of jobs: recorded, published, claimed, ended.

A step changes the jobs' records and a row beside each. PostgreSQL does both in one statement, half the round trips
and less to plan; elsewhere they are two. Every function runs inside a transaction that its caller commits.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from jobs_core.database.compiled import Row, are_one_table
from jobs_core.database.statements import (
    ADD_ATTEMPT,
    ADD_JOB,
    ADD_JOB_AND_MESSAGE,
    ADD_MESSAGE,
    CLAIM,
    CLAIM_AND_ADD_FIRST_ATTEMPT,
    END_ATTEMPT,
    FINISH,
    FINISH_AND_END_ATTEMPT,
    FORGET_AND_NOTE_MESSAGE,
    FORGET_MESSAGE,
    NEW_MESSAGE,
    NOTE_MESSAGE,
)
from jobs_core.model.states import Event

_Rows = Sequence[Mapping[str, Any]]
NO_MESSAGE: Mapping[str, Any] = dict.fromkeys(NEW_MESSAGE)


def add_jobs(connection: Connection, rows: _Rows) -> set[str]:
    """Record jobs and their messages; a row without a message begins as `NO_MESSAGE`. Return the ids of those
    whose id and idempotency key were free.
    """
    if are_one_table(connection.dialect):
        return {job_id for (job_id,) in ADD_JOB_AND_MESSAGE.returning(connection, rows)}
    added = {job_id for (job_id,) in ADD_JOB.returning(connection, rows)}
    messages = [row for row in rows if row["job_id"] in added and row["deduplication_id"] is not None]
    if messages:
        ADD_MESSAGE.execute(connection, messages)
    return added


def note_published(connection: Connection, rows: _Rows) -> None:
    """Take published messages out of the outbox, and note in their jobs' records which message delivers them.

    Nothing is noted of a message that was not there any more, nor of one without ``of_job``.
    """
    if are_one_table(connection.dialect):
        FORGET_AND_NOTE_MESSAGE.execute(connection, rows)
        return
    forgotten = {key for (key,) in FORGET_MESSAGE.returning(connection, rows)}
    noted = [row for row in rows if row["key"] in forgotten and row["of_job"] is not None]
    if noted:
        NOTE_MESSAGE.execute(connection, noted)


def claim(connection: Connection, rows: _Rows) -> list[Row]:
    """Claim jobs for one attempt each, and record the attempt where it is the job's first. Return the records' id,
    number of attempts, failures, retries and options, of those that can be had.
    """
    if are_one_table(connection.dialect):
        return CLAIM_AND_ADD_FIRST_ATTEMPT.returning(connection, rows)
    claimed = CLAIM.returning(connection, rows)
    first = {job_id for job_id, number, *_ in claimed if number == 1}
    if first:
        add_attempts(connection, [attempt_row(row, number=1) for row in rows if row["of_job"] in first])
    return claimed


def add_attempts(connection: Connection, rows: _Rows) -> None:
    """Record running attempts."""
    ADD_ATTEMPT.execute(connection, rows)


def attempt_row(claiming: Mapping[str, Any], *, number: int) -> dict[str, Any]:
    """Return the running attempt of a claim as a row."""
    return {
        "job_id": claiming["of_job"],
        "number": number,
        "message_id": claiming["delivered_as"],
        "started_at": claiming["now"],
    }


def finish(connection: Connection, event: Event, rows: _Rows) -> set[tuple[str, int]]:
    """Record the end of attempts, and what it means for their jobs. Return the job's id and the attempt's number of
    those that still held their job; of others nothing is recorded.
    """
    if are_one_table(connection.dialect):
        found = FINISH_AND_END_ATTEMPT[event].returning(connection, rows)
        return {(job_id, number) for job_id, number in found}
    kept = {(job_id, number) for job_id, number in FINISH[event].returning(connection, rows)}
    end_attempts(connection, [row for row in rows if (row["of_job"], row["of_number"]) in kept])
    return kept


def end_attempts(connection: Connection, rows: _Rows) -> None:
    """Record the end of attempts alone."""
    if rows:
        END_ATTEMPT.execute(connection, rows)
