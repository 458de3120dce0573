"""``create-notification``: an in-app notification for one user or many."""

from datetime import timedelta

from jobs_core.engine.app_context import AppContext
from jobs_core.engine.job import Job
from jobs_core.engine.registry import JobType, job
from jobs_core.notifications import store
from jobs_core.notifications.models import CreateNotification


@job(
    JobType.CREATE_NOTIFICATION,
    endpoint="/api/jobs/notifications",
    retries=3,
    timeout=timedelta(seconds=30),
    description="Notify one user or many in the app.",
)
async def create_notification(payload: CreateNotification, job: Job) -> dict[str, int]:
    """Store the notification for each user, in the transaction that completes the job."""
    now = job.use(AppContext).clock.now()
    job.on_completion(
        lambda connection: store.add(
            connection, payload, job_id=job.id, organization_id=job.metadata.organization_id, now=now
        )
    )
    return {"users": len(payload.user_ids)}
