"""The tables. Instants are unix milliseconds; ``*_json`` columns hold compact JSON.

Of a message's row only ``state``, ``due_at``, ``retried``, ``finished_at`` and ``is_cancel_requested`` change.
``due_at`` is set exactly while the message is unfinished, so the partial indexes on it hold only pending messages and
stay small however much history is kept.
"""

from typing import ClassVar

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, text
from sqlmodel import Field, SQLModel

# SQLite gives rowids only to a column declared exactly INTEGER; PostgreSQL needs eight bytes.
BigKey: BigInteger = BigInteger().with_variant(Integer(), "sqlite")


def table_of(model: type[SQLModel]) -> Table:
    """Return the Core table of a SQLModel class."""
    table: Table = model.__table__  # type: ignore[attr-defined]  # SQLModel leaves it untyped
    return table


def _instant(*, nullable: bool = False) -> Column[int]:
    return Column(BigInteger, nullable=nullable)


class TenantRow(SQLModel, table=True):
    __tablename__: ClassVar[str] = "tenants"

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    token: str = Field(unique=True)
    read_only_token: str = Field(unique=True)
    current_key: str
    next_key: str
    clock_at: int | None = Field(sa_column=_instant(nullable=True))


class MessageRow(SQLModel, table=True):
    __tablename__: ClassVar[str] = "messages"
    __table_args__: ClassVar[tuple[Index, ...]] = (
        Index(
            "ix_messages_due",
            "tenant_id", "due_at", "seq",
            sqlite_where=text("due_at IS NOT NULL AND queue_name IS NULL"),
            postgresql_where=text("due_at IS NOT NULL AND queue_name IS NULL"),
        ),
        Index(
            "ix_messages_queued",
            "tenant_id", "queue_name", "seq",
            sqlite_where=text("due_at IS NOT NULL AND queue_name IS NOT NULL"),
            postgresql_where=text("due_at IS NOT NULL AND queue_name IS NOT NULL"),
        ),
        Index(
            "ix_messages_slot",
            "tenant_id", "slot_of",
            sqlite_where=text("due_at IS NOT NULL AND slot_of IS NOT NULL"),
            postgresql_where=text("due_at IS NOT NULL AND slot_of IS NOT NULL"),
        ),
        Index(
            "ix_messages_flow_key", "tenant_id", "flow_key",
            sqlite_where=text("due_at IS NOT NULL AND flow_key IS NOT NULL"),
            postgresql_where=text("due_at IS NOT NULL AND flow_key IS NOT NULL"),
        ),
        Index(
            "ix_messages_finished", "tenant_id", "finished_at",
            sqlite_where=text("finished_at IS NOT NULL"),
            postgresql_where=text("finished_at IS NOT NULL"),
        ),
        Index(
            "ix_messages_shared_body", "body_seq",
            sqlite_where=text("body_seq != seq"),
            postgresql_where=text("body_seq != seq"),
        ),
    )  # fmt: skip

    seq: int = Field(sa_column=Column(BigKey, primary_key=True, autoincrement=False))
    tenant_id: int
    id: str = Field(unique=True)
    state: str
    due_at: int | None = Field(sa_column=_instant(nullable=True))
    retried: int
    is_cancel_requested: bool
    created_at: int = Field(sa_column=_instant())
    finished_at: int | None = Field(sa_column=_instant(nullable=True))
    not_before_at: int = Field(sa_column=_instant())
    url: str
    host: str
    path: str
    method: str
    headers_json: str
    body_seq: int | None = Field(sa_column=_instant(nullable=True))
    max_retries: int
    caller_ip: str | None
    topic_name: str | None
    queue_name: str | None
    schedule_id: str | None
    flow_key: str | None
    labels: str | None
    slot_of: int | None = Field(sa_column=_instant(nullable=True))
    options_json: str | None


class BodyRow(SQLModel, table=True):
    __tablename__: ClassVar[str] = "bodies"

    seq: int = Field(sa_column=Column(BigKey, primary_key=True, autoincrement=False))
    tenant_id: int
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class LogRow(SQLModel, table=True):
    __tablename__: ClassVar[str] = "log_entries"
    __table_args__: ClassVar[tuple[Index, ...]] = (Index("ix_log_entries_message", "message_seq"),)

    seq: int | None = Field(default=None, sa_column=Column(BigKey, primary_key=True))
    tenant_id: int
    message_seq: int = Field(sa_column=_instant())
    time_at: int = Field(sa_column=_instant())
    state: str
    retried: int
    next_delivery_at: int | None = Field(sa_column=_instant(nullable=True))
    error: str | None
    response_status: int | None
    response_headers_json: str | None
    response_body: bytes | None = Field(sa_column=Column(LargeBinary, nullable=True))
    request_headers_json: str | None


class DeadLetterRow(SQLModel, table=True):
    __tablename__: ClassVar[str] = "dead_letters"
    __table_args__: ClassVar[tuple[Index, ...]] = (Index("ix_dead_letters_failed", "tenant_id", "failed_at"),)

    message_seq: int = Field(sa_column=Column(BigKey, primary_key=True, autoincrement=False))
    tenant_id: int
    dlq_id: str
    failed_at: int = Field(sa_column=_instant())
    response_status: int
    response_headers_json: str
    response_body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    error: str | None


class DeduplicationRow(SQLModel, table=True):
    __tablename__: ClassVar[str] = "deduplications"

    tenant_id: int = Field(primary_key=True)
    key: str = Field(primary_key=True)
    message_id: str
    url: str
    expires_at: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))


class QueueRow(SQLModel, table=True):
    __tablename__: ClassVar[str] = "queues"

    tenant_id: int = Field(primary_key=True)
    name: str = Field(primary_key=True)
    parallelism: int
    is_paused: bool
    created_at: int = Field(sa_column=_instant())
    updated_at: int = Field(sa_column=_instant())


class UrlGroupRow(SQLModel, table=True):
    __tablename__: ClassVar[str] = "url_groups"

    tenant_id: int = Field(primary_key=True)
    name: str = Field(primary_key=True)
    endpoints_json: str
    headers_json: str
    created_at: int = Field(sa_column=_instant())
    updated_at: int = Field(sa_column=_instant())


class ScheduleRow(SQLModel, table=True):
    __tablename__: ClassVar[str] = "schedules"

    tenant_id: int = Field(primary_key=True)
    id: str = Field(primary_key=True)
    cron: str
    destination: str
    query: str
    lines_json: str
    body_seq: int | None = Field(sa_column=_instant(nullable=True))
    caller_ip: str | None
    created_at: int = Field(sa_column=_instant())
    is_paused: bool
    next_at: int | None = Field(sa_column=_instant(nullable=True))
    last_at: int | None = Field(sa_column=_instant(nullable=True))
    last_states_json: str
    error: str | None


class FlowKeyRow(SQLModel, table=True):
    __tablename__: ClassVar[str] = "flow_keys"
    __table_args__: ClassVar[tuple[Index, ...]] = (Index("ix_flow_keys_used", "tenant_id", "used_at"),)

    tenant_id: int = Field(primary_key=True)
    key: str = Field(primary_key=True)
    parallelism: int | None
    rate: int | None
    period_seconds: int
    is_paused: bool
    is_pinned_parallelism: bool
    is_pinned_rate: bool
    rate_count: int
    period_start_at: int = Field(sa_column=_instant())
    used_at: int = Field(sa_column=_instant())


class BulkActionRow(SQLModel, table=True):
    __tablename__: ClassVar[str] = "bulk_actions"

    tenant_id: int = Field(primary_key=True)
    id: str = Field(primary_key=True)
    subject: str
    filter_json: str
    total: int
    processed: int
    until_seq: int = Field(sa_column=_instant())
    cursor_at: int | None = Field(sa_column=_instant(nullable=True))
    cursor_seq: int | None = Field(sa_column=_instant(nullable=True))
    created_at: int = Field(sa_column=_instant())
    completed_at: int | None = Field(sa_column=_instant(nullable=True))


TABLES = (
    MessageRow, BodyRow, LogRow, DeadLetterRow, DeduplicationRow, QueueRow, UrlGroupRow, ScheduleRow, FlowKeyRow,
    BulkActionRow,
)  # fmt: skip
"""Every table that holds a tenant's state; all have a ``tenant_id``."""
