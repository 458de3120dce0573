"""The received webhook events, by which a replay is recognized long after its job is cleaned up."""

from datetime import datetime
from typing import ClassVar

from sqlalchemy import Column, Index, String, Table, UniqueConstraint
from sqlmodel import Field

from jobs_core.database.tables import BigKey, JobsModel, UtcDateTime, table_of


class WebhookEvent(JobsModel, table=True):
    """One event of one source."""

    __tablename__: ClassVar[str] = "webhook_events"
    __table_args__: ClassVar[tuple[Index | UniqueConstraint, ...]] = (
        UniqueConstraint("source", "event_id"),
        Index("ix_webhook_events_source_body_digest", "source", "body_digest"),
        Index("ix_webhook_events_received_at", "received_at"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigKey, primary_key=True))
    source: str = Field(sa_column=Column(String(64), nullable=False))
    event_id: str = Field(sa_column=Column(String(255), nullable=False))
    event: str = Field(sa_column=Column(String(255), nullable=False))
    body_digest: str = Field(sa_column=Column(String(64), nullable=False))  # SHA-256, hexadecimal
    job_id: str = Field(sa_column=Column(String(36), nullable=False))
    received_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))


webhook_events: Table = table_of(WebhookEvent)
