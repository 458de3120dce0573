"""``process-webhook``: an event of GitHub, Resend or any configured source."""

from datetime import timedelta
from typing import Any

from jobs_core.engine.job import Job
from jobs_core.engine.registry import JobType, job
from jobs_core.webhooks.events import EventHandlers, ProcessWebhook


@job(
    JobType.PROCESS_WEBHOOK,
    endpoint="/api/jobs/webhook",
    retries=5,
    timeout=timedelta(seconds=60),
    description="Work on a webhook of a third party.",
)
async def process_webhook(payload: ProcessWebhook, job: Job) -> dict[str, Any]:
    """Call the handlers of the event. An event without one is logged, and done."""
    return await run_handlers(payload, job, source=payload.source, event=payload.event)


async def run_handlers(payload: Any, job: Job, *, source: str, event: str) -> dict[str, Any]:
    """Run an event's handlers. Return what each returned, by its name."""
    handlers = job.use(EventHandlers).find(source, event)
    if not handlers:
        job.log.info("nothing handles %s of %s", event, source, extra={"event": "webhook_unhandled"})
        return {"handled": False}
    results = {handler.handle.__name__: await handler(payload, job) for handler in handlers}
    return {"handled": True, "results": results}
