"""The notifications of users: written, listed, marked as read. Each function runs in its caller's transaction."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from jobs_core.database import dialects
from jobs_core.database.tables import encode_subject
from jobs_core.model.envelope import Subject
from jobs_core.notifications.models import CreateNotification, Notification
from jobs_core.notifications.tables import notifications

_NAMESPACE = uuid.UUID("2f0a8a52-6c55-5a43-9c1b-6d6c0d7a3b0e")
_ROWS_AT_ONCE = 500
_Row = notifications.c


@dataclass(frozen=True, slots=True)
class NotificationPage:
    """One page of a user's notifications, the newest first, and how many are unread in all."""

    notifications: tuple[Notification, ...]
    unread_count: int
    next_before: str | None  # the ``before`` of the next page, ``None`` on the last


def notification_id(job_id: str, user_id: Subject) -> str:
    """Return the notification's id, the same for every attempt of a job for one user."""
    return str(uuid.uuid5(_NAMESPACE, f"{job_id}\n{encode_subject(user_id)}"))


def add(
    connection: Connection,
    created: CreateNotification,
    *,
    job_id: str,
    organization_id: Subject | None,
    now: datetime,
) -> int:
    """Write one notification for each user. Return how many were new."""
    event = created.event.model_dump(mode="json")
    rows = [
        {
            **event,
            "notification_id": notification_id(job_id, user_id),
            "job_id": job_id,
            "user_id": user_id,
            "organization_id": organization_id,
            "created_at": now,
        }
        for user_id in created.user_ids
    ]
    statement = dialects.insert_into(notifications, connection).on_conflict_do_nothing().returning(_Row.id)
    written = 0
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        written += len(connection.execute(statement, rows[start : start + _ROWS_AT_ONCE]).all())
    return written


def page(
    connection: Connection,
    user_id: Subject,
    *,
    unread_only: bool = False,
    category: str | None = None,
    before: str | None = None,
    limit: int = 50,
) -> NotificationPage:
    """Return a page of a user's notifications, the newest first; ``before`` is the last page's ``next_before``."""
    conditions = [_Row.user_id == user_id]
    if unread_only:
        conditions.append(_Row.read_at.is_(None))
    if category is not None:
        conditions.append(_Row.category == category)
    if before is not None:
        earlier = select(_Row.id).where(_Row.notification_id == before).scalar_subquery()
        conditions.append(_Row.id < earlier)
    rows = connection.execute(
        select(notifications).where(*conditions).order_by(_Row.id.desc()).limit(limit + 1)
    ).all()
    shown = tuple(Notification.model_validate(row) for row in rows[:limit])
    has_more = len(rows) > limit
    return NotificationPage(
        shown, unread_count(connection, user_id), shown[-1].notification_id if has_more else None
    )


def unread_count(connection: Connection, user_id: Subject) -> int:
    """Return how many of a user's notifications are unread."""
    statement = select(func.count()).where(_Row.user_id == user_id, _Row.read_at.is_(None))
    return connection.execute(statement.select_from(notifications)).scalar_one()


def mark_read(connection: Connection, user_id: Subject, ids: Sequence[str] | None, *, now: datetime) -> int:
    """Mark a user's notifications as read, those of ``ids`` or (``None``) all. Return how many were unread."""
    conditions = [_Row.user_id == user_id, _Row.read_at.is_(None)]
    if ids is not None:
        conditions.append(_Row.notification_id.in_(ids))
    return dialects.changed_rows(
        connection.execute(update(notifications).where(*conditions).values(read_at=now))
    )


def exists(connection: Connection, user_id: Subject, notification: str) -> bool:
    """Return whether the user has a notification of that id."""
    statement = select(_Row.id).where(_Row.user_id == user_id, _Row.notification_id == notification)
    return connection.execute(statement).first() is not None
