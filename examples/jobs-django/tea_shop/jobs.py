"""The shop's job types."""

from datetime import timedelta

from jobs_core import Job, Payload, job
from tea_shop.models import Order


class ConfirmOrder(Payload):
    """Which order to confirm."""

    order_id: int


@job(
    "confirm-order",
    endpoint="/api/jobs/confirm-order",
    retries=3,
    timeout=timedelta(seconds=10),
    description="Confirm an order.",
)
def confirm_order(payload: ConfirmOrder, job: Job) -> None:
    """Confirm it; doing so twice would do no harm."""
    Order.objects.filter(pk=payload.order_id).update(is_confirmed=True)
