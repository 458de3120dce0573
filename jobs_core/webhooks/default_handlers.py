"""The package's handlers for webhooks of GitHub and Resend, and for those without another handler."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from jobs_core.emails.deliveries import record_status
from jobs_core.engine.app_context import AppContext
from jobs_core.engine.job import Job
from jobs_core.model.recordable import storable
from jobs_core.webhooks.events import ProcessWebhook, on_webhook

# As long as their columns.
_LONGEST_ID = 255
_LONGEST_STATUS = 32


@on_webhook("github", "push")
async def github_push(event: ProcessWebhook, job: Job) -> dict[str, Any]:
    """Return which commits were pushed to which branch."""
    commits = event.data.get("commits")
    return _github(event) | {
        "ref": event.data.get("ref"),
        "before": event.data.get("before"),
        "after": event.data.get("after"),
        "commits": len(commits) if isinstance(commits, list) else 0,
        "isForced": bool(event.data.get("forced")),
    }


@on_webhook("github", "pull_request")
async def github_pull_request(event: ProcessWebhook, job: Job) -> dict[str, Any]:
    """Return what happened to which pull request."""
    request = _part(event.data, "pull_request")
    return _github(event) | {
        "action": event.data.get("action"),
        "number": event.data.get("number"),
        "title": request.get("title"),
        "state": request.get("state"),
        "isMerged": bool(request.get("merged")),
    }


@on_webhook("github", "issues")
async def github_issues(event: ProcessWebhook, job: Job) -> dict[str, Any]:
    """Return what happened to which issue."""
    issue = _part(event.data, "issue")
    return _github(event) | {
        "action": event.data.get("action"),
        "number": issue.get("number"),
        "title": issue.get("title"),
        "state": issue.get("state"),
    }


@on_webhook("resend")
async def resend_delivery_status(event: ProcessWebhook, job: Job) -> dict[str, Any]:
    """Store the status of an e-mail, by Resend's id."""
    data = _part(event.data, "data")
    provider_id, status = data.get("email_id"), event.event.removeprefix("email.")
    is_known = event.event.startswith("email.") and len(status) <= _LONGEST_STATUS
    if not is_known or not isinstance(provider_id, str) or not _is_an_id(provider_id):
        return {"ignored": event.event}
    at = _instant(event.data.get("created_at")) or job.metadata.created_at
    context = job.use(AppContext)
    now = context.clock.now()
    recipients = data.get("to")

    def write(connection: Connection) -> bool:
        return record_status(
            connection,
            provider_id,
            status,
            at=at or now,
            now=now,
            recipients=[each for each in recipients if isinstance(each, str)]
            if isinstance(recipients, list)
            else [],
            detail=_bounce_reason(data),
        )

    is_news = await context.database.write(write)
    if status in {"bounced", "complained"}:
        job.log.warning(
            "an e-mail %s", status, extra={"event": f"email_{status}", "provider_id": provider_id}
        )
    return {"providerId": provider_id, "status": status, "applied": is_news}


def _github(event: ProcessWebhook) -> dict[str, Any]:
    return {
        "repository": _part(event.data, "repository").get("full_name"),
        "sender": _part(event.data, "sender").get("login"),
    }


def _bounce_reason(data: dict[str, Any]) -> str | None:
    reason = _part(data, "bounce").get("message")
    return storable(reason) if isinstance(reason, str) else None


def _is_an_id(text: str) -> bool:
    return len(text) <= _LONGEST_ID and text == storable(text)


def _part(data: dict[str, Any], name: str) -> dict[str, Any]:
    value = data.get(name)
    return value if isinstance(value, dict) else {}


def _instant(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
        return parsed.astimezone(UTC) if parsed.tzinfo is not None else None
    except (ValueError, OverflowError):  # the first and the last day have no instant in UTC everywhere
        return None
