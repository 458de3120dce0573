"""Read the tables at the end of a run by SQL, without the job system's code."""

import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.simulation.jobs.history import History
from tests.simulation.simulator.timeline import BASE_AT


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """One row of ``job_attempts``; times in microseconds from the start of the run."""

    number: int
    outcome: str
    status_code: int | None
    error: str | None
    started_us: int
    finished_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One row of ``job_executions`` with its attempts and effects.

    ``seen`` lists its state changes: the state, the number of the run by hand, the attempts so far, and the time.
    """

    job_id: str
    label: str
    status: str
    max_retries: int
    retry_count: int
    idempotency_key: str | None
    parent_job_id: str | None
    result: Any
    error: str | None
    created_us: int
    completed_us: int | None
    attempts: tuple[AttemptRow, ...]
    seen: tuple[tuple[str, int, int, int], ...]
    effects: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The record of a whole run."""

    jobs: tuple[JobRow, ...]
    orders: frozenset[str]
    unpublished: int
    undelivered: bool
    history: History


def read_record(path: Path, history: History, *, undelivered: bool) -> Record:
    """Return the record, from the database's file and the history.

    ``undelivered`` says that QStash still has messages to deliver.
    """
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    try:
        return Record(
            jobs=tuple(
                _job(connection, row)
                for row in connection.execute("SELECT * FROM job_executions ORDER BY id")
            ),
            orders=frozenset(row["label"] for row in connection.execute("SELECT label FROM orders")),
            unpublished=connection.execute("SELECT count(*) FROM job_outbox").fetchone()[0],
            undelivered=undelivered,
            history=history,
        )
    finally:
        connection.close()


def _job(connection: sqlite3.Connection, row: sqlite3.Row) -> JobRow:
    job_id = row["job_id"]
    attempts = connection.execute("SELECT * FROM job_attempts WHERE job_id = ? ORDER BY number", (job_id,))
    seen = connection.execute(
        "SELECT status, run, attempts, at FROM seen WHERE job_id = ? ORDER BY id", (job_id,)
    )
    effects = connection.execute("SELECT number FROM effects WHERE job_id = ?", (job_id,))
    return JobRow(
        job_id=job_id,
        label=json.loads(row["payload"])["label"],
        status=row["status"],
        max_retries=row["max_retries"],
        retry_count=row["retry_count"],
        idempotency_key=row["idempotency_key"],
        parent_job_id=row["parent_job_id"],
        result=None if row["result"] is None else json.loads(row["result"]),
        error=row["error"],
        created_us=_us(row["created_at"]) or 0,
        completed_us=_us(row["completed_at"]),
        attempts=tuple(_attempt(each) for each in attempts),
        seen=tuple((each["status"], each["run"], each["attempts"], _us(each["at"]) or 0) for each in seen),
        effects=tuple(each["number"] for each in effects),
    )


def _attempt(row: sqlite3.Row) -> AttemptRow:
    return AttemptRow(
        number=row["number"],
        outcome=row["outcome"],
        status_code=row["status_code"],
        error=row["error"],
        started_us=_us(row["started_at"]) or 0,
        finished_us=_us(row["finished_at"]),
    )


def _us(text: str | None) -> int | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    base = datetime.fromtimestamp(BASE_AT / 1_000, UTC)
    elapsed = moment - base
    return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds
