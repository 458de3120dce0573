"""The tables of workflow runs. Instants are unix milliseconds; ``*_json`` columns hold compact JSON."""

from typing import ClassVar

from sqlalchemy import BigInteger, Column, Index, LargeBinary, text
from sqlmodel import Field, SQLModel

from emulator.store.tables import BigKey


def _number(*, nullable: bool = False) -> Column[int]:
    return Column(BigInteger, nullable=nullable)


class RunRow(SQLModel, table=True):
    """``dlq_id`` is set while a failed run is in the dead letter queue."""

    __tablename__: ClassVar[str] = "workflow_runs"
    __table_args__: ClassVar[tuple[Index, ...]] = (
        Index("ix_workflow_runs_id", "tenant_id", "id", "seq"),
        Index("ix_workflow_runs_created", "tenant_id", "created_at", "seq"),
        Index("ix_workflow_runs_invoker", "tenant_id", "invoker_id"),
        Index(
            "ix_workflow_runs_active", "tenant_id", "seq",
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index(
            "ix_workflow_runs_dlq", "tenant_id", "ended_at", "seq",
            sqlite_where=text("dlq_id IS NOT NULL"),
            postgresql_where=text("dlq_id IS NOT NULL"),
        ),
    )  # fmt: skip

    seq: int = Field(sa_column=Column(BigKey, primary_key=True, autoincrement=False))
    tenant_id: int
    id: str
    url: str
    created_at: int = Field(sa_column=_number())
    init_seq: int = Field(sa_column=_number())
    init_message_id: str
    caller_ip: str | None
    flow_key: str | None
    labels: str | None
    invoker_id: str | None
    trigger_json: str
    state: str
    ended_at: int | None = Field(sa_column=_number(nullable=True))
    response: str | None
    dlq_id: str | None
    response_status: int | None
    failure_json: str | None
    callback_state: str | None
    callback_json: str | None


class EntryRow(SQLModel, table=True):
    """``body`` is a step's, byte for byte; other messages keep their bodies themselves."""

    __tablename__: ClassVar[str] = "workflow_entries"
    __table_args__: ClassVar[tuple[Index, ...]] = (
        Index("ix_workflow_entries_message", "message_seq"),
        Index("ix_workflow_entries_message_id", "message_id"),
    )

    run_seq: int = Field(sa_column=Column(BigKey, primary_key=True, autoincrement=False))
    position: int = Field(primary_key=True)
    tenant_id: int
    message_seq: int = Field(sa_column=_number())
    message_id: str
    call_type: str
    created_at: int = Field(sa_column=_number())
    body: bytes | None = Field(sa_column=Column(LargeBinary, nullable=True))


class WaiterRow(SQLModel, table=True):
    __tablename__: ClassVar[str] = "workflow_waiters"
    __table_args__: ClassVar[tuple[Index, ...]] = (Index("ix_workflow_waiters_run", "run_seq"),)

    seq: int = Field(sa_column=Column(BigKey, primary_key=True, autoincrement=False))
    tenant_id: int
    run_seq: int = Field(sa_column=_number())
    event_id: str
    registered_at: int = Field(sa_column=_number())
    deadline_at: int = Field(sa_column=_number())
    wait_json: str


class EventRow(SQLModel, table=True):
    """An event that arrived before the run waited for it."""

    __tablename__: ClassVar[str] = "workflow_events"
    __table_args__: ClassVar[tuple[Index, ...]] = (Index("ix_workflow_events_run", "run_seq"),)

    seq: int = Field(sa_column=Column(BigKey, primary_key=True, autoincrement=False))
    tenant_id: int
    run_seq: int = Field(sa_column=_number())
    event_id: str
    data: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


WORKFLOW_TABLES = (RunRow, EntryRow, WaiterRow, EventRow)
"""Every table of workflows; all have a ``tenant_id``."""
