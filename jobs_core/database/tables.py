"""The tables. Instants are UTC with zone; ``migrations`` creates these tables, and a test compares the two.

``id`` is the order of rows and pages; ``job_id`` is the public name of a job.
"""

import json
from datetime import UTC, datetime
from typing import Any, ClassVar, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ColumnElement,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlmodel import Field, SQLModel

from jobs_core.model.message import NOTICE_SUFFIX

# SQLite gives rowids only to a column declared exactly INTEGER; PostgreSQL needs eight bytes.
BigKey: BigInteger = BigInteger().with_variant(Integer(), "sqlite")
# JSON rather than JSONB: nothing looks inside, and JSONB refuses the \u0000 that a payload may carry.
JsonValue: JSON = JSON(none_as_null=True)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant. SQLite has no zones, so it stores UTC."""

    impl: DateTime = DateTime(timezone=True)
    cache_ok: bool | None = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"instants have a zone, and {value!r} has none")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class SubjectId(TypeDecorator[int | str]):
    """A user's or organization's id, number or text, in one column that an index can serve.

    Text that would read as a number, or as quoted text, is quoted: 7 is kept as ``7`` and "7" as ``"7"``.
    """

    impl: type[String] = String
    cache_ok: bool | None = True

    def process_bind_param(self, value: int | str | None, dialect: Dialect) -> str | None:
        return None if value is None else encode_subject(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> int | str | None:
        return None if value is None else decode_subject(value)


def encode_subject(value: int | str) -> str:
    """Return ``value`` as text from which ``decode_subject`` tells numbers and strings apart."""
    if isinstance(value, int):
        return str(value)
    return json.dumps(value) if value.startswith('"') or _is_number(value) else value


def decode_subject(text: str) -> int | str:
    """Return the value that ``encode_subject`` was given."""
    if text.startswith('"'):
        return cast("str", json.loads(text))
    return int(text) if _is_number(text) else text


def _is_number(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit()


class JobsModel(SQLModel):
    """Base of the tables. Their metadata is their own, so that an application's tables stay apart."""

    metadata: ClassVar[MetaData] = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class JobExecution(JobsModel, table=True):
    """One job."""

    __tablename__: ClassVar[str] = "job_executions"
    __table_args__: ClassVar[tuple[Index | UniqueConstraint, ...]] = (
        UniqueConstraint("job_id"),
        UniqueConstraint("job_type", "idempotency_key"),
        Index("ix_job_executions_job_type", "job_type", "id"),
        Index("ix_job_executions_user_id", "user_id", "id"),
        Index("ix_job_executions_organization_id", "organization_id", "id"),
        Index("ix_job_executions_created_at", "created_at"),  # read backwards for the newest first
        Index("ix_job_executions_status_created_at", "status", "created_at"),
        Index("ix_job_executions_parent_job_id", "parent_job_id"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigKey, primary_key=True))
    job_id: str = Field(sa_column=Column(String(36), nullable=False))
    job_type: str = Field(sa_column=Column(String(255), nullable=False))
    status: str = Field(sa_column=Column(String(16), nullable=False))
    payload: dict[str, Any] = Field(sa_column=Column(JsonValue, nullable=False))
    options: dict[str, Any] = Field(sa_column=Column(JsonValue, nullable=False))  # options.DeliveryOptions
    result: Any = Field(default=None, sa_column=Column(JsonValue, nullable=True))
    error: str | None = Field(default=None, sa_column=Column(Text))
    retry_count: int = Field(default=0, nullable=False)  # retries made or promised of this message
    max_retries: int = Field(nullable=False)
    attempt_count: int = Field(
        default=0, nullable=False
    )  # claims so far; a worker that lost its claim has an older number
    run: int = Field(
        default=0, nullable=False
    )  # messages made for it, less one: grows when it is retried by hand
    user_id: str | None = Field(default=None, sa_column=Column(SubjectId(255)))
    organization_id: str | None = Field(default=None, sa_column=Column(SubjectId(255)))
    idempotency_key: str | None = Field(default=None, sa_column=Column(String(255)))
    parent_job_id: str | None = Field(default=None, sa_column=Column(String(36)))
    schedule_id: str | None = Field(default=None, sa_column=Column(String(255)))
    message_id: str | None = Field(default=None, sa_column=Column(String(255)))
    progress: float | None = Field(default=None)
    progress_note: str | None = Field(default=None, sa_column=Column(Text))
    lease_until: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    next_attempt_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    started_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    completed_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    created_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    updated_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))


class JobAttempt(JobsModel, table=True):
    """One delivery that ran the handler, or tried to."""

    __tablename__: ClassVar[str] = "job_attempts"
    __table_args__: ClassVar[tuple[UniqueConstraint, ...]] = (UniqueConstraint("job_id", "number"),)

    id: int | None = Field(default=None, sa_column=Column(BigKey, primary_key=True))
    job_id: str = Field(
        sa_column=Column(String(36), ForeignKey("job_executions.job_id", ondelete="CASCADE"), nullable=False)
    )
    number: int = Field(nullable=False)  # 1, 2, 3
    message_id: str | None = Field(default=None, sa_column=Column(String(255)))
    outcome: str = Field(sa_column=Column(String(16), nullable=False))
    status_code: int | None = Field(default=None)  # what the worker answered
    error: str | None = Field(default=None, sa_column=Column(Text))
    traceback: str | None = Field(default=None, sa_column=Column(Text))
    started_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    finished_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))


class OutboxMessage(JobsModel, table=True):
    """A message to publish to QStash; its row is deleted when QStash has accepted it."""

    __tablename__: ClassVar[str] = "job_outbox"
    __table_args__: ClassVar[tuple[Index, ...]] = (Index("ix_job_outbox_due", "locked_until", "id"),)

    id: int | None = Field(default=None, sa_column=Column(BigKey, primary_key=True))
    job_id: str = Field(
        sa_column=Column(
            String(36), ForeignKey("job_executions.job_id", ondelete="CASCADE"), nullable=False, index=True
        )
    )
    deduplication_id: str = Field(sa_column=Column(String(255), nullable=False, unique=True))
    destination: str = Field(sa_column=Column(Text, nullable=False))
    queue: str | None = Field(default=None, sa_column=Column(String(255)))
    headers: dict[str, str] = Field(sa_column=Column(JsonValue, nullable=False))
    body: str = Field(sa_column=Column(Text, nullable=False))
    deliver_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    locked_until: datetime = Field(
        sa_column=Column(UtcDateTime(), nullable=False)
    )  # no other process publishes it before then
    failures: int = Field(default=0, nullable=False)
    last_error: str | None = Field(default=None, sa_column=Column(Text))
    created_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))


class JobAlert(JobsModel, table=True):
    """An alert that was sent and is not over; the worker that wrote the row has sent it."""

    __tablename__: ClassVar[str] = "job_alerts"

    name: str = Field(sa_column=Column(String(255), primary_key=True))
    text: str = Field(sa_column=Column(Text, nullable=False))
    raised_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))


def table_of(model: type[SQLModel]) -> Table:
    """Return the table of a model, for statements that make no objects."""
    return cast("Table", getattr(model, "__table__"))  # noqa: B009 -- unknown to the type checker


executions: Table = table_of(JobExecution)
attempts: Table = table_of(JobAttempt)
outbox: Table = table_of(OutboxMessage)
alerts: Table = table_of(JobAlert)

# Of a row of the outbox: that it delivers its job, rather than tells of its failure.
delivers_job: ColumnElement[bool] = outbox.c.deduplication_id.not_like(f"%{NOTICE_SUFFIX}")
