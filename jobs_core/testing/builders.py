"""Builders of valid values; a test names only the fields that matter to it."""

import enum
import types
import typing
import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, TypeVar, get_args, get_origin

from annotated_types import Ge, Gt, MinLen
from pydantic import AnyUrl, AwareDatetime, BaseModel, HttpUrl
from pydantic.fields import FieldInfo

from jobs_core.database.tables import executions
from jobs_core.engine.dispatcher import JobDispatcher
from jobs_core.engine.registry import JobDefinition
from jobs_core.model.envelope import JobEnvelope
from jobs_core.model.ids import new_job_id
from jobs_core.model.records import JobRecord
from jobs_core.model.states import FINISHED, JobStatus

M = TypeVar("M", bound=BaseModel)

# Monday, 2026-06-01 12:00 UTC: what the builders take for now where they are not told.
BUILT_AT = datetime(2026, 6, 1, 12, tzinfo=UTC)


def build_payload(model: type[M] | JobDefinition[M], **fields: Any) -> M:
    """Return a payload that fits its model: ``fields``, and a simple valid value for each other required field.

    A field's own ``examples`` come first.

    Raises:
        TypeError: a field is of a kind for which no value can be guessed; it must be given.
        pydantic.ValidationError: what was given, or guessed, does not fit.
    """
    kind = model.payload_model if isinstance(model, JobDefinition) else model
    guessed = {
        name: _guess(kind, name, info)
        for name, info in kind.model_fields.items()
        if info.is_required() and name not in fields
    }
    return kind.model_validate({**guessed, **fields})


def build_envelope(
    job_type: str = "send-email", payload: Mapping[str, Any] | None = None, **fields: Any
) -> JobEnvelope:
    """Return a job's envelope."""
    return JobEnvelope(
        **{"job_id": new_job_id(BUILT_AT), "type": job_type, "payload": dict(payload or {}), **fields}
    )


def build_record(**fields: Any) -> JobRecord:
    """Return a job's record that is in no database. Its times follow from ``status`` and ``created_at``."""
    return JobRecord.model_validate(_row(fields))


async def add_execution(dispatcher: JobDispatcher, **fields: Any) -> JobRecord:
    """Write a job into the database, in any state. Nothing is published."""
    row = _row({"created_at": dispatcher.clock.now(), **fields})
    await dispatcher.database.write(lambda connection: connection.execute(executions.insert().values(**row)))
    return await dispatcher.get(row["job_id"])


def _row(fields: Mapping[str, Any]) -> dict[str, Any]:
    unknown = fields.keys() - set(executions.c.keys())
    if unknown:
        raise TypeError(
            f"a job execution has no {', '.join(sorted(unknown))}; it has {', '.join(executions.c.keys())}"
        )
    status = JobStatus(fields.get("status", JobStatus.PENDING))
    created_at = fields.get("created_at", BUILT_AT)
    has_started = status in {JobStatus.PROCESSING, JobStatus.COMPLETED, JobStatus.FAILED}
    is_over = status in FINISHED
    row: dict[str, Any] = dict.fromkeys(executions.c.keys())
    del row["id"]
    row |= {
        "job_id": new_job_id(created_at),
        "job_type": "send-email",
        "status": status,
        "payload": {},
        "options": {},
        "error": "it failed" if status is JobStatus.FAILED else None,
        "retry_count": 0,
        "max_retries": 3,
        "attempt_count": int(has_started),
        "run": 0,
        "message_id": f"msg_{uuid.uuid4().hex}",
        "next_attempt_at": created_at if status is JobStatus.PENDING else None,
        "started_at": created_at + timedelta(seconds=1) if has_started else None,
        "lease_until": created_at + timedelta(seconds=60) if status is JobStatus.PROCESSING else None,
        "completed_at": created_at + timedelta(seconds=2) if is_over else None,
        "created_at": created_at,
        "updated_at": created_at + timedelta(seconds=2 if is_over else int(has_started)),
    }
    return row | dict(fields)


def _guess(model: type[BaseModel], name: str, info: FieldInfo) -> Any:
    if info.examples:
        return info.examples[0]
    try:
        return _value(info.annotation, info.metadata)
    except LookupError:
        raise TypeError(
            f"no value can be guessed for {model.__name__}.{name}; give it, or give the field examples=[…]"
        ) from None


def _value(kind: Any, metadata: list[Any]) -> Any:
    """Return the simplest value of a type. Raise LookupError."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return build_payload(kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return next(iter(kind))
    if (origin := get_origin(kind)) is not None:
        return _generic_value(origin, get_args(kind), metadata)
    if kind is str:
        return "x" * (_shortest(metadata) or 1)
    return _least(metadata) if kind in {int, float} else _SIMPLE[kind]


def _generic_value(origin: Any, arguments: tuple[Any, ...], metadata: list[Any]) -> Any:
    if origin is Literal:
        return arguments[0]
    if origin in {typing.Union, types.UnionType}:
        return None if type(None) in arguments else _value(arguments[0], metadata)
    if origin in {list, tuple, set, frozenset}:
        return [_value(arguments[0], []) for _ in range(_shortest(metadata))]
    return _SIMPLE[origin]


def _shortest(metadata: list[Any]) -> int:
    return next((rule.min_length for rule in metadata if isinstance(rule, MinLen)), 0)


def _least(metadata: list[Any]) -> Any:
    for rule in metadata:
        if isinstance(rule, Ge):
            return rule.ge
        if isinstance(rule, Gt):
            return rule.gt + 1  # type: ignore[operator]
    return 1


_SIMPLE: dict[Any, Any] = {
    bool: False,
    bytes: b"x",
    dict: {},
    datetime: BUILT_AT,
    AwareDatetime: BUILT_AT,
    date: BUILT_AT.date(),
    timedelta: timedelta(seconds=1),
    uuid.UUID: uuid.UUID(int=1),
    HttpUrl: "https://example.com/",
    AnyUrl: "https://example.com/",
    Any: "x",
}
