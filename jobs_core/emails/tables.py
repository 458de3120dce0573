"""The status of e-mails that the provider accepted."""

from datetime import datetime
from typing import ClassVar

from sqlalchemy import JSON, Column, Index, String, Table, Text
from sqlmodel import Field

from jobs_core.database.tables import BigKey, JobsModel, UtcDateTime, table_of


class EmailDelivery(JobsModel, table=True):
    """One e-mail by the provider's id, with the newest status from the provider."""

    __tablename__: ClassVar[str] = "email_deliveries"
    __table_args__: ClassVar[tuple[Index, ...]] = (
        Index("ix_email_deliveries_job_id", "job_id"),
        Index("ix_email_deliveries_created_at", "created_at"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigKey, primary_key=True))
    provider_id: str = Field(sa_column=Column(String(255), nullable=False, unique=True))
    job_id: str | None = Field(default=None, sa_column=Column(String(36)))
    template: str | None = Field(default=None, sa_column=Column(String(64)))
    recipients: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    status: str = Field(
        sa_column=Column(String(32), nullable=False)
    )  # sent, delivered, bounced, complained, …
    detail: str | None = Field(default=None, sa_column=Column(Text))
    status_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    created_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))


email_deliveries: Table = table_of(EmailDelivery)
