"""``process-stripe-webhook``: an event of Stripe."""

from datetime import timedelta
from typing import Any

from jobs_core.engine.job import Job
from jobs_core.engine.registry import JobType, job
from jobs_core.handlers.webhook import run_handlers
from jobs_core.webhooks.events import STRIPE, ProcessStripeWebhook


@job(
    JobType.PROCESS_STRIPE_WEBHOOK,
    endpoint="/api/jobs/stripe-webhook",
    retries=5,
    timeout=timedelta(seconds=120),
    description="Work on an event of Stripe.",
)
async def process_stripe_webhook(payload: ProcessStripeWebhook, job: Job) -> dict[str, Any]:
    """Call the handlers of the event. An event without one is logged, and done."""
    return await run_handlers(payload, job, source=STRIPE, event=payload.event_type)
