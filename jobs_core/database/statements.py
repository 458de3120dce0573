"""The statements that every job needs, from its record to its end; ``job_steps`` runs them.

Each step changes the job's record and a row beside it: two statements, or one where a query may change rows, as
PostgreSQL's may.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Insert,
    Select,
    Update,
    and_,
    delete,
    func,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.sql.dml import ReturningDelete, ReturningInsert, ReturningUpdate
from sqlalchemy.types import TypeEngine

from jobs_core.database.compiled import Given, Prepared, types_of
from jobs_core.database.tables import attempts, executions, outbox
from jobs_core.model.states import AttemptOutcome, Event, JobStatus, sources, target

_Types = Mapping[str, TypeEngine[Any]]


# --- a new job, and its message


def _add_job(given: Given) -> ReturningInsert[Any]:
    insert = given.into(executions, status=JobStatus.PENDING.value, retry_count=0, attempt_count=0, run=0)
    return insert.on_conflict_do_nothing().returning(executions.c.job_id)


_NEW_JOB: _Types = types_of(
    executions,
    *("job_id", "job_type", "payload", "options", "max_retries"),
    *("user_id", "organization_id", "idempotency_key", "parent_job_id", "schedule_id"),
    *("next_attempt_at", "created_at", "updated_at"),
)
NEW_MESSAGE: _Types = types_of(
    outbox,
    *("job_id", "deduplication_id", "destination", "queue", "headers", "body"),
    *("deliver_at", "locked_until", "created_at"),
)


def _add_job_and_message(given: Given) -> Select[Any]:
    added = _add_job(given.only(_NEW_JOB)).cte("added")
    is_new = given["job_id"] == added.c.job_id
    has_message = given["deduplication_id"].is_not(None)
    message = given.only(NEW_MESSAGE).into(outbox, is_new, has_message, failures=0)
    return select(added.c.job_id).add_cte(message.cte("message"))


ADD_JOB = Prepared(_add_job, _NEW_JOB)
ADD_MESSAGE = Prepared(lambda given: given.into(outbox, failures=0), NEW_MESSAGE)
ADD_JOB_AND_MESSAGE = Prepared(_add_job_and_message, {**NEW_MESSAGE, **_NEW_JOB})


FIND_JOB_BY_KEY = Prepared(
    lambda given: select(executions.c.job_id).where(
        executions.c.job_type == given["job_type"], executions.c.idempotency_key == given["idempotency_key"]
    ),
    types_of(executions, "job_type", "idempotency_key"),
)


# --- its message is published


def _forget_message(given: Given) -> ReturningDelete[Any]:
    key = outbox.c.deduplication_id
    return delete(outbox).where(key == given["key"]).returning(key)


def _note_message(given: Given) -> Update:
    columns = executions.c
    is_without = and_(columns.job_id == given["of_job"], columns.message_id.is_(None))
    given, is_locked = given.locking(executions, is_without)
    return update(executions).where(is_locked).values(message_id=given["published_as"])


def _forget_and_note_message(given: Given) -> Update:
    forgetting = _forget_message(given).returning(*(given[name] for name in _NOTED))
    forgotten = forgetting.cte("forgotten")
    return _note_message(given.but(**{name: forgotten.c[name] for name in _NOTED}))


_FORGOTTEN: _Types = {"key": outbox.c.deduplication_id.type}
_NOTED: _Types = {"of_job": executions.c.job_id.type, "published_as": executions.c.message_id.type}
FORGET_MESSAGE = Prepared(_forget_message, _FORGOTTEN)
NOTE_MESSAGE = Prepared(_note_message, _NOTED)
FORGET_AND_NOTE_MESSAGE = Prepared(_forget_and_note_message, {**_FORGOTTEN, **_NOTED})


# --- an attempt begins


def _claim(given: Given, *returned: str) -> ReturningUpdate[Any]:
    columns = executions.c
    is_free = or_(
        columns.status == JobStatus.PENDING,
        and_(columns.status == JobStatus.PROCESSING, columns.lease_until <= given["now"]),
    )
    given, is_locked = given.locking(
        executions, and_(columns.job_id == given["of_job"], _not_by_index(is_free))
    )
    now = given["now"]
    return (
        update(executions)
        .where(is_locked)
        .values(
            status=target(Event.CLAIM),
            attempt_count=columns.attempt_count + 1,
            started_at=func.coalesce(columns.started_at, now, type_=columns.started_at.type),
            lease_until=given["until"],
            next_attempt_at=null(),
            updated_at=now,
        )
        .returning(
            columns.job_id,
            columns.attempt_count,
            columns.retry_count,
            columns.max_retries,
            columns.options,
            *(given[name] for name in returned),
        )
    )


_CLAIMING: _Types = {
    "of_job": executions.c.job_id.type,
    "now": executions.c.updated_at.type,
    "until": executions.c.lease_until.type,
}


def _add_attempt(given: Given, *conditions: ColumnElement[bool]) -> Insert:
    return given.into(attempts, *conditions, outcome=AttemptOutcome.RUNNING.value)


def _claim_and_add_first_attempt(given: Given) -> Select[Any]:
    """The attempt of a job that has run before is not added: its lost ones are to be counted first."""
    claimed = _claim(given, "delivered_as", "now").cte("claimed")
    columns = claimed.c
    first = _add_attempt(
        given.but(
            job_id=columns.job_id,
            number=columns.attempt_count,
            message_id=columns.delivered_as,
            started_at=columns.now,
        ),
        columns.attempt_count == 1,
    )
    found = columns.job_id, columns.attempt_count, columns.retry_count, columns.max_retries, columns.options
    return select(*found).add_cte(first.cte("first_attempt"))


CLAIM = Prepared(_claim, _CLAIMING)
ADD_ATTEMPT = Prepared(_add_attempt, types_of(attempts, "job_id", "number", "message_id", "started_at"))
CLAIM_AND_ADD_FIRST_ATTEMPT = Prepared(
    _claim_and_add_first_attempt, {**_CLAIMING, "delivered_as": attempts.c.message_id.type}
)


# --- an attempt ends


def _finish(event: Event, given: Given) -> ReturningUpdate[Any]:
    columns = executions.c
    values: dict[str, Any] = {
        "status": target(event),
        "error": given["what_failed"],
        "lease_until": null(),
        "next_attempt_at": given["again_at"],
        "completed_at": null() if event is Event.RETRY else given["now"],
        "updated_at": given["now"],
    }
    if event is Event.COMPLETE:
        values |= {"result": given["returned"], "progress": 1.0}
    if event is Event.RETRY:
        values["retry_count"] = columns.retry_count + 1
    return (
        update(executions)
        .where(
            columns.job_id == given["of_job"],
            _not_by_index(or_(*(columns.status == source for source in sources(event)))),
            columns.attempt_count == given["of_number"],
        )
        .values(**values)
        .returning(columns.job_id, columns.attempt_count)
    )


def _end_attempt(given: Given) -> Update:
    return (
        update(attempts)
        .where(
            attempts.c.job_id == given["of_job"],
            attempts.c.number == given["of_number"],
            attempts.c.outcome == AttemptOutcome.RUNNING,
        )
        .values(
            outcome=given["ended_as"],
            status_code=given["answered"],
            error=given["what_failed"],
            traceback=given["where_failed"],
            finished_at=given["now"],
        )
    )


def _finish_and_end_attempt(event: Event, given: Given) -> Select[Any]:
    """An attempt that has lost its job is left as it is: it ends otherwise."""
    finishing = _finish(event, given).returning(*(given[name] for name in _ENDING_ATTEMPT))
    kept = finishing.cte("kept")
    ended = _end_attempt(given.but(**{name: kept.c[name] for name in _ENDING_ATTEMPT}))
    return select(kept.c.job_id, kept.c.attempt_count).add_cte(ended.cte("ended"))


_ENDING: _Types = {
    "of_job": executions.c.job_id.type,
    "of_number": executions.c.attempt_count.type,
    "what_failed": executions.c.error.type,
    "again_at": executions.c.next_attempt_at.type,
    "now": executions.c.updated_at.type,
    "returned": executions.c.result.type,
}
_ENDING_ATTEMPT: _Types = {
    "of_job": attempts.c.job_id.type,
    "of_number": attempts.c.number.type,
    "ended_as": attempts.c.outcome.type,
    "answered": attempts.c.status_code.type,
    "what_failed": attempts.c.error.type,
    "where_failed": attempts.c.traceback.type,
    "now": attempts.c.finished_at.type,
}
ENDS = (Event.COMPLETE, Event.RETRY, Event.FAIL)
FINISH = {event: Prepared(partial(_finish, event), _ENDING) for event in ENDS}
END_ATTEMPT = Prepared(_end_attempt, _ENDING_ATTEMPT)
FINISH_AND_END_ATTEMPT = {
    event: Prepared(partial(_finish_and_end_attempt, event), {**_ENDING_ATTEMPT, **_ENDING}) for event in ENDS
}


def _not_by_index(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return ``condition`` in a form that PostgreSQL's planner does not use an index for: the ids are to find
    the rows.

    After a burst its statistics still say that hardly any job is pending, so reading all pending ones looks
    cheap.
    """
    return condition.is_(true())
