"""The notifications."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Column, Index, String, Table, Text
from sqlmodel import Field

from jobs_core.database.tables import BigKey, JobsModel, JsonValue, SubjectId, UtcDateTime, table_of


class NotificationRow(JobsModel, table=True):
    """One notification for one user."""

    __tablename__: ClassVar[str] = "notifications"
    __table_args__: ClassVar[tuple[Index, ...]] = (
        Index("ix_notifications_user_id", "user_id", "id"),
        Index("ix_notifications_user_id_read_at", "user_id", "read_at"),
        Index("ix_notifications_created_at", "created_at"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigKey, primary_key=True))
    # Made from the job and the user, so that a job that runs twice notifies once.
    notification_id: str = Field(sa_column=Column(String(36), nullable=False, unique=True))
    job_id: str | None = Field(default=None, sa_column=Column(String(36)))
    user_id: str = Field(sa_column=Column(SubjectId(255), nullable=False))
    organization_id: str | None = Field(default=None, sa_column=Column(SubjectId(255)))
    type: str = Field(sa_column=Column(String(100), nullable=False))
    category: str = Field(sa_column=Column(String(100), nullable=False))
    priority: str = Field(sa_column=Column(String(16), nullable=False))
    title: str = Field(sa_column=Column(String(255), nullable=False))
    message: str = Field(sa_column=Column(Text, nullable=False))
    action_url: str | None = Field(default=None, sa_column=Column(Text))
    data: dict[str, Any] | None = Field(default=None, sa_column=Column(JsonValue, nullable=True))
    read_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    created_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))


notifications: Table = table_of(NotificationRow)
