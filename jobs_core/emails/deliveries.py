"""The status of each e-mail: from our own sending, and from the provider's webhooks in whatever order."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, or_, select, update

from jobs_core.database import dialects
from jobs_core.emails.tables import email_deliveries

_SENT = "sent"


def record_sent(
    connection: Connection,
    provider_id: str,
    *,
    job_id: str,
    template: str,
    recipients: Sequence[str],
    now: datetime,
) -> None:
    """Record that the provider accepted an e-mail. A webhook that came before is newer, and stays."""
    row = {
        "provider_id": provider_id,
        "job_id": job_id,
        "template": template,
        "recipients": list(recipients),
        "status": _SENT,
        "status_at": now,
        "created_at": now,
    }
    if not dialects.insert_unless_there(connection, email_deliveries, row):
        connection.execute(
            update(email_deliveries)
            .where(email_deliveries.c.provider_id == provider_id)
            .values(job_id=job_id, template=template, recipients=list(recipients))
        )


def record_status(
    connection: Connection,
    provider_id: str,
    status: str,
    *,
    at: datetime,
    now: datetime,
    recipients: Sequence[str] = (),
    detail: str | None = None,
) -> bool:
    """Record the provider's status of an e-mail at ``at``. Return false if something newer is known."""
    row = {
        "provider_id": provider_id,
        "recipients": list(recipients),
        "status": status,
        "detail": detail,
        "status_at": at,
        "created_at": now,
    }
    if dialects.insert_unless_there(connection, email_deliveries, row):
        return True
    columns = email_deliveries.c
    changed = connection.execute(
        update(email_deliveries)
        # Our own "sent" is stamped by our clock, so that it never hides what the provider says.
        .where(columns.provider_id == provider_id, or_(columns.status_at < at, columns.status == _SENT))
        .values(status=status, status_at=at, detail=func.coalesce(detail, columns.detail))
    )
    return dialects.changed_rows(changed) > 0


def status_of(connection: Connection, provider_id: str) -> str | None:
    """Return the newest status, ``None`` if the e-mail is not known."""
    found: str | None = connection.execute(
        select(email_deliveries.c.status).where(email_deliveries.c.provider_id == provider_id)
    ).scalar_one_or_none()
    return found
