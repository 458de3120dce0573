"""Applies Stripe's events to customers and subscriptions, and enqueues the e-mails and notifications that follow.

An event's changes and the jobs that follow from it are written in one transaction, so that neither happens
without the other, and neither twice. Such a job is a child of the job that handled the event; its idempotency
key is made from the event's id.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from jobs_core.billing import objects, store
from jobs_core.billing.money import format_amount, format_price
from jobs_core.billing.ordering import Stamp, has_ended, progress_of
from jobs_core.database import new_jobs
from jobs_core.database.new_jobs import NewJob
from jobs_core.engine.app_context import AppContext
from jobs_core.engine.job import Job
from jobs_core.engine.registry import JobType
from jobs_core.engine.requests import JobRequest
from jobs_core.model.errors import JobValidationError, PermanentJobError
from jobs_core.settings.settings import Settings
from jobs_core.webhooks.events import ProcessStripeWebhook, on_stripe

_PAID, _FAILED = 2, 1  # of two events of one second about one invoice, the paid one came last


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an event: whether it was new, and what follows."""

    applied: bool
    follow_ups: Sequence[JobRequest] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class _Event:
    """An event being applied."""

    id: str
    type: str
    at: datetime
    object: dict[str, Any]
    settings: Settings
    now: datetime

    def stamp(self, rank: int = 0) -> Stamp:
        return Stamp(self.at, rank, self.id)


Apply = Callable[[Connection, _Event], Outcome]


@on_stripe("checkout.session.completed", "checkout.session.async_payment_succeeded")
async def checkout_completed(event: ProcessStripeWebhook, job: Job) -> dict[str, Any]:
    """Record a new customer's owner and contact; welcome the subscription once it is paid."""
    return await _apply(event, job, _checkout)


@on_stripe(
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.trial_will_end",
)
async def subscription_changed(event: ProcessStripeWebhook, job: Job) -> dict[str, Any]:
    """Record a subscription's state: each of these events carries all of it."""
    return await _apply(event, job, _subscription)


@on_stripe("invoice.payment_succeeded", "invoice.payment_failed")
async def invoice_settled(event: ProcessStripeWebhook, job: Job) -> dict[str, Any]:
    """Record how the latest invoice went; mail a failure, for the customer must act."""
    return await _apply(event, job, _invoice)


async def _apply(event: ProcessStripeWebhook, job: Job, apply: Apply) -> dict[str, Any]:
    context = job.use(AppContext)
    now = context.clock.now()
    at = job.metadata.created_at or now
    if event.created is not None:
        at = datetime.fromtimestamp(event.created, UTC)
    applied = _Event(event.event_id, event.event_type, at, event.event_data, context.settings, now)

    def write(connection: Connection) -> tuple[Outcome, list[NewJob]]:
        outcome = apply(connection, applied)
        children = _prepare(context, outcome.follow_ups, job)
        ids = set(new_jobs.insert_jobs(connection, children, locked_until=now)) if children else set()
        return outcome, [child for child in children if child.job_id in ids]

    outcome, children = await context.database.write(write)
    for child in children:
        context.observer.enqueued(child.job_type)
    if children:
        context.outbox.wake()
    if not outcome.applied:
        job.log.info(
            "%s says nothing new",
            event.event_type,
            extra={"event": "stripe_event_stale", "event_id": event.event_id},
        )
    return {"applied": outcome.applied, "followUps": [child.job_id for child in children]}


def _prepare(context: AppContext, requests: Sequence[JobRequest], job: Job) -> list[NewJob]:
    """Return the jobs of the requests. A message that cannot be sent must not keep the state from being written."""
    prepared = []
    for request in requests:
        try:
            prepared.append(context.composer.prepare(replace(request, parent_job_id=job.id)))
        except JobValidationError as error:
            job.log.warning("left out a follow-up: %s", error, extra={"event": "follow_up_invalid"})
    return prepared


# --- one function for each kind of event


def _checkout(connection: Connection, event: _Event) -> Outcome:
    session = event.object
    customer_id = objects.reference(session, "customer")
    if customer_id is None:
        return Outcome(applied=False)  # a payment of someone who is no customer
    owner = objects.owner(session)
    applied = store.write_customer(
        connection,
        customer_id,
        "owner",
        event.stamp(),
        {"user_id": owner.user_id, "organization_id": owner.organization_id},
        now=event.now,
    )
    details = objects.part(session, "customer_details")
    email = objects.text(details, "email", 320) or objects.text(session, "customer_email", 320)
    _write_contact(connection, event, customer_id, email, objects.text(details, "name"))
    subscription_id = objects.reference(session, "subscription")
    # Some payment methods take days; another event reports their end.
    is_unpaid = session.get("payment_status") == "unpaid"
    if session.get("mode") != "subscription" or subscription_id is None or is_unpaid:
        return Outcome(applied)
    return Outcome(applied, _welcome(connection, event, customer_id, subscription_id))


def _welcome(
    connection: Connection, event: _Event, customer_id: str, subscription_id: str
) -> list[JobRequest]:
    subscription = store.find_subscription(connection, subscription_id)
    if subscription is not None and has_ended(subscription.status):
        return []  # it came so late that the subscription is over
    customer = store.find_customer(connection, customer_id)
    plan = (subscription.plan_name if subscription is not None else None) or _plan_of(event.object)
    price = _price(event.object, subscription)
    data = {"planName": plan, "amount": price, "dashboardUrl": event.settings.account_url}
    return [
        *_mail(event, customer, "subscriptionCreated", data),
        *_notify(event, customer, "subscription.created", "Subscription active", f"{plan}, {price}."),
    ]


def _subscription(connection: Connection, event: _Event) -> Outcome:
    subscription = event.object
    subscription_id = objects.text(subscription, "id")
    status = objects.text(subscription, "status", 32)
    if subscription_id is None or status is None:
        raise PermanentJobError(f"{event.type} {event.id} carries no subscription with an id and a status")
    if event.type == "customer.subscription.deleted":
        status = "canceled"
    before = store.find_subscription(connection, subscription_id)
    customer_id = objects.reference(subscription, "customer")
    applied = store.write_subscription(
        connection,
        subscription_id,
        "state",
        event.stamp(progress_of(status)),
        _state(subscription, status, customer_id, event),
        now=event.now,
    )
    customer = store.find_customer(connection, customer_id)
    if not applied:
        is_due = _is_trial_still_ending(event, before)
        return Outcome(False, _news_of(event, customer, was_cancelling=True) if is_due else ())
    was_cancelling = before is not None and before.cancel_at_period_end
    return Outcome(True, _news_of(event, customer, was_cancelling=was_cancelling))


def _is_trial_still_ending(event: _Event, stored: Any) -> bool:
    """Return whether an older event's notice that a trial ends soon is still true and not yet sent."""
    until = objects.instant(event.object, "trial_end")
    is_trial_ending = event.type == "customer.subscription.trial_will_end" and until is not None
    return (
        is_trial_ending and stored.status == "trialing" and stored.trial_end_at == until and until > event.now
    )


def _state(
    subscription: dict[str, Any], status: str, customer_id: str | None, event: _Event
) -> dict[str, Any]:
    plan = objects.plan(subscription)
    ended = objects.instant(subscription, "ended_at") or objects.instant(subscription, "canceled_at")
    return {
        "customer_id": customer_id,
        "status": status,
        "plan_name": plan.name,
        "amount": plan.amount,
        "currency": plan.currency,
        "interval": plan.interval,
        "interval_count": plan.interval_count,
        "cancel_at_period_end": subscription.get("cancel_at_period_end") is True,
        "started_at": objects.instant(subscription, "start_date") or objects.instant(subscription, "created"),
        "trial_end_at": objects.instant(subscription, "trial_end"),
        "period_end_at": objects.period_end(subscription),
        "ended_at": (ended or event.at) if has_ended(status) else None,
    }


def _news_of(event: _Event, customer: Any, *, was_cancelling: bool) -> list[JobRequest]:
    """Return the e-mails and notifications for a subscription's change."""
    subscription = event.object
    name = objects.plan(subscription).name or "Your subscription"
    if event.type == "customer.subscription.trial_will_end":
        until = objects.instant(subscription, "trial_end")
        when = f" on {until:%d %B %Y}" if until else " soon"
        return _notify(
            event,
            customer,
            "subscription.trial_ending",
            "Your trial ends soon",
            f"{name}: the trial ends{when}.",
        )
    if event.type == "customer.subscription.deleted":
        return _notify(
            event, customer, "subscription.cancelled", "Subscription cancelled", f"{name} has ended."
        )
    if subscription.get("cancel_at_period_end") is True and not was_cancelling:
        until = objects.period_end(subscription)
        when = f" on {until:%d %B %Y}" if until else " at the end of the period"
        return _notify(
            event, customer, "subscription.ending", "Subscription will end", f"{name} will end{when}."
        )
    return []


def _invoice(connection: Connection, event: _Event) -> Outcome:
    invoice = event.object
    is_paid = event.type == "invoice.payment_succeeded"
    subscription_id = objects.subscription_of_invoice(invoice)
    customer_id = objects.reference(invoice, "customer")
    amount = objects.number(invoice, "amount_paid" if is_paid else "amount_due")
    currency = (objects.text(invoice, "currency", 3) or "").lower()
    if amount is None or not currency:
        raise PermanentJobError(f"{event.type} {event.id} carries no amount with a currency")
    if customer_id is not None:
        email, name = objects.text(invoice, "customer_email", 320), objects.text(invoice, "customer_name")
        _write_contact(connection, event, customer_id, email, name)
    applied = True
    if subscription_id is not None:
        applied = store.write_subscription(
            connection,
            subscription_id,
            "payment",
            event.stamp(_PAID if is_paid else _FAILED),
            {
                "payment_status": "paid" if is_paid else "failed",
                "payment_amount": amount,
                "payment_currency": currency,
            },
            now=event.now,
        )
    if not applied:
        return Outcome(applied=False)
    customer = store.find_customer(connection, customer_id)
    shown = format_amount(amount, currency)
    return Outcome(True, _receipt(event, customer, shown) if is_paid else _reminder(event, customer, shown))


def _receipt(event: _Event, customer: Any, shown: str) -> list[JobRequest]:
    if event.object.get("billing_reason") == "subscription_create":
        return []  # the welcome says it
    if not objects.number(event.object, "amount_paid"):
        return []  # a trial's, or one that a credit covers: nothing was received
    return _notify(
        event, customer, "payment.succeeded", "Payment received", f"We received {shown}. Thank you."
    )


def _reminder(event: _Event, customer: Any, shown: str) -> list[JobRequest]:
    url = objects.text(event.object, "hosted_invoice_url", 2_000) or event.settings.account_url
    message = f"{shown} could not be collected. Please update your payment details."
    return [
        *_mail(event, customer, "paymentFailed", {"amountDue": shown, "paymentDetailsUrl": url}),
        *_notify(event, customer, "payment.failed", "Payment failed", message, priority="high"),
    ]


# --- helpers


def _write_contact(
    connection: Connection, event: _Event, customer_id: str, email: str | None, name: str | None
) -> None:
    if email is not None:
        store.write_customer(
            connection, customer_id, "contact", event.stamp(), {"email": email, "name": name}, now=event.now
        )


def _mail(event: _Event, customer: Any, template: str, data: dict[str, Any]) -> list[JobRequest]:
    if customer is None or customer.email is None:
        return []
    name = customer.name or customer.email.partition("@")[0]
    return [
        JobRequest(
            JobType.SEND_EMAIL,
            {"template": template, "to": customer.email, "data": {"recipientName": name[:200], **data}},
            user_id=customer.user_id,
            organization_id=customer.organization_id,
            idempotency_key=f"stripe:{event.id}:email",
        )
    ]


def _notify(
    event: _Event, customer: Any, kind: str, title: str, message: str, *, priority: str = "info"
) -> list[JobRequest]:
    if customer is None or customer.user_id is None:
        return []
    notification = {"type": kind, "title": title, "message": message, "priority": priority}
    return [
        JobRequest(
            JobType.CREATE_NOTIFICATION,
            {"userIds": [customer.user_id], "event": notification},
            user_id=customer.user_id,
            organization_id=customer.organization_id,
            idempotency_key=f"stripe:{event.id}:notification",
        )
    ]


def _plan_of(session: dict[str, Any]) -> str:
    metadata = objects.part(session, "metadata")
    return objects.text(metadata, "planName", 200) or objects.text(metadata, "plan", 200) or "Subscription"


def _price(session: dict[str, Any], subscription: Any) -> str:
    if subscription is not None and subscription.amount is not None and subscription.currency is not None:
        return format_price(
            subscription.amount, subscription.currency, subscription.interval, subscription.interval_count
        )
    amount, currency = objects.number(session, "amount_total"), objects.text(session, "currency", 3)
    return "see your account" if amount is None or currency is None else format_amount(amount, currency)
