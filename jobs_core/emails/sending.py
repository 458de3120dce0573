"""Send each kind of e-mail: now, or as a job.

``send_…_email(sender, to, …)`` renders the e-mail, hands it to the sender and answers the provider's id. It raises
TemporaryEmailError or PermanentEmailError, and JobValidationError for data that does not fit. Give it an
``idempotency_key`` that stays the same when you try again.

``send_…_email_async(dispatcher, to, …)`` enqueues a ``send-email`` job and answers its id. The job is retried for
as long as it makes sense. It takes the options of ``enqueue``: ``user_id``, ``idempotency_key``, ``delay`` and more.

``to`` is one address or several; all of them see each other.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict, Unpack

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from jobs_core.emails.addresses import check_address
from jobs_core.emails.catalog import Brand, find_template, parse_data, render
from jobs_core.emails.senders import EmailSender
from jobs_core.engine.dispatcher import JobDispatcher
from jobs_core.engine.registry import JobType
from jobs_core.engine.requests import Duration
from jobs_core.model.envelope import Subject
from jobs_core.model.errors import FieldError, JobValidationError
from jobs_core.model.options import FlowControl

Recipients = str | Sequence[str]


class SendOptions(TypedDict, total=False):
    """Options of an e-mail that is sent now."""

    idempotency_key: str
    brand: Brand


class EnqueueOptions(TypedDict, total=False):
    """Options of an e-mail that is sent by a job: those of ``JobDispatcher.enqueue``."""

    user_id: Subject | None
    organization_id: Subject | None
    idempotency_key: str | None
    delay: Duration | None
    not_before: datetime | None
    retries: int | None
    callback: str | None
    failure_callback: str | None
    headers: Mapping[str, str] | None
    queue: str | None
    flow_control: FlowControl | None
    session: AsyncSession | Session | None


async def send_welcome_email(
    sender: EmailSender,
    to: Recipients,
    *,
    recipient_name: str,
    dashboard_url: str | None = None,
    **options: Unpack[SendOptions],
) -> str:
    """Send the e-mail for someone who has signed up."""
    data = {"recipient_name": recipient_name, "dashboard_url": dashboard_url}
    return await _send(sender, "welcome", to, data, options)


async def send_welcome_email_async(
    dispatcher: JobDispatcher,
    to: Recipients,
    *,
    recipient_name: str,
    dashboard_url: str | None = None,
    **options: Unpack[EnqueueOptions],
) -> str:
    """As ``send_welcome_email``, by a job."""
    data = {"recipient_name": recipient_name, "dashboard_url": dashboard_url}
    return await _enqueue(dispatcher, "welcome", to, data, options)


async def send_password_reset_email(
    sender: EmailSender,
    to: Recipients,
    *,
    recipient_name: str,
    reset_url: str,
    **options: Unpack[SendOptions],
) -> str:
    """Send a link to choose a new password."""
    data = {"recipient_name": recipient_name, "reset_url": reset_url}
    return await _send(sender, "passwordReset", to, data, options)


async def send_password_reset_email_async(
    dispatcher: JobDispatcher,
    to: Recipients,
    *,
    recipient_name: str,
    reset_url: str,
    **options: Unpack[EnqueueOptions],
) -> str:
    """As ``send_password_reset_email``, by a job."""
    data = {"recipient_name": recipient_name, "reset_url": reset_url}
    return await _enqueue(dispatcher, "passwordReset", to, data, options)


async def send_password_changed_email(
    sender: EmailSender,
    to: Recipients,
    *,
    recipient_name: str,
    **options: Unpack[SendOptions],
) -> str:
    """Send the notice that the password was changed."""
    data = {"recipient_name": recipient_name}
    return await _send(sender, "passwordChanged", to, data, options)


async def send_password_changed_email_async(
    dispatcher: JobDispatcher,
    to: Recipients,
    *,
    recipient_name: str,
    **options: Unpack[EnqueueOptions],
) -> str:
    """As ``send_password_changed_email``, by a job."""
    data = {"recipient_name": recipient_name}
    return await _enqueue(dispatcher, "passwordChanged", to, data, options)


async def send_email_change_email(
    sender: EmailSender,
    to: Recipients,
    *,
    recipient_name: str,
    new_email: str,
    confirmation_url: str,
    **options: Unpack[SendOptions],
) -> str:
    """Send the request for a confirmation to the new address."""
    data = {"recipient_name": recipient_name, "new_email": new_email, "confirmation_url": confirmation_url}
    return await _send(sender, "emailChange", to, data, options)


async def send_email_change_email_async(
    dispatcher: JobDispatcher,
    to: Recipients,
    *,
    recipient_name: str,
    new_email: str,
    confirmation_url: str,
    **options: Unpack[EnqueueOptions],
) -> str:
    """As ``send_email_change_email``, by a job."""
    data = {"recipient_name": recipient_name, "new_email": new_email, "confirmation_url": confirmation_url}
    return await _enqueue(dispatcher, "emailChange", to, data, options)


async def send_team_invitation_email(
    sender: EmailSender,
    to: Recipients,
    *,
    recipient_name: str,
    inviter_name: str,
    organization_name: str,
    invitation_url: str,
    **options: Unpack[SendOptions],
) -> str:
    """Send an invitation into an organization."""
    data = {
        "recipient_name": recipient_name,
        "inviter_name": inviter_name,
        "organization_name": organization_name,
        "invitation_url": invitation_url,
    }
    return await _send(sender, "teamInvitation", to, data, options)


async def send_team_invitation_email_async(
    dispatcher: JobDispatcher,
    to: Recipients,
    *,
    recipient_name: str,
    inviter_name: str,
    organization_name: str,
    invitation_url: str,
    **options: Unpack[EnqueueOptions],
) -> str:
    """As ``send_team_invitation_email``, by a job."""
    data = {
        "recipient_name": recipient_name,
        "inviter_name": inviter_name,
        "organization_name": organization_name,
        "invitation_url": invitation_url,
    }
    return await _enqueue(dispatcher, "teamInvitation", to, data, options)


async def send_subscription_created_email(
    sender: EmailSender,
    to: Recipients,
    *,
    recipient_name: str,
    plan_name: str,
    amount: str,
    dashboard_url: str,
    **options: Unpack[SendOptions],
) -> str:
    """Send the e-mail for a paid subscription. ``amount`` is formatted, as by ``billing.money.format_price``."""
    data = {
        "recipient_name": recipient_name,
        "plan_name": plan_name,
        "amount": amount,
        "dashboard_url": dashboard_url,
    }
    return await _send(sender, "subscriptionCreated", to, data, options)


async def send_subscription_created_email_async(
    dispatcher: JobDispatcher,
    to: Recipients,
    *,
    recipient_name: str,
    plan_name: str,
    amount: str,
    dashboard_url: str,
    **options: Unpack[EnqueueOptions],
) -> str:
    """As ``send_subscription_created_email``, by a job."""
    data = {
        "recipient_name": recipient_name,
        "plan_name": plan_name,
        "amount": amount,
        "dashboard_url": dashboard_url,
    }
    return await _enqueue(dispatcher, "subscriptionCreated", to, data, options)


async def send_payment_failed_email(
    sender: EmailSender,
    to: Recipients,
    *,
    recipient_name: str,
    amount_due: str,
    payment_details_url: str,
    **options: Unpack[SendOptions],
) -> str:
    """Send the e-mail for a refused payment. ``amount_due`` is formatted, as by ``billing.money.format_amount``."""
    data = {
        "recipient_name": recipient_name,
        "amount_due": amount_due,
        "payment_details_url": payment_details_url,
    }
    return await _send(sender, "paymentFailed", to, data, options)


async def send_payment_failed_email_async(
    dispatcher: JobDispatcher,
    to: Recipients,
    *,
    recipient_name: str,
    amount_due: str,
    payment_details_url: str,
    **options: Unpack[EnqueueOptions],
) -> str:
    """As ``send_payment_failed_email``, by a job."""
    data = {
        "recipient_name": recipient_name,
        "amount_due": amount_due,
        "payment_details_url": payment_details_url,
    }
    return await _enqueue(dispatcher, "paymentFailed", to, data, options)


async def _send(
    sender: EmailSender, template_name: str, to: Recipients, data: dict[str, Any], options: SendOptions
) -> str:
    template = find_template(template_name)
    email = render(
        template, parse_data(template, data), to=_addresses(to), brand=options.get("brand", Brand())
    )
    return await sender.send(email, idempotency_key=options.get("idempotency_key") or str(uuid.uuid4()))


async def _enqueue(
    dispatcher: JobDispatcher,
    template_name: str,
    to: Recipients,
    data: dict[str, Any],
    options: EnqueueOptions,
) -> str:
    payload = {
        "template": template_name,
        "to": [to] if isinstance(to, str) else list(to),
        "data": {name: value for name, value in data.items() if value is not None},
    }
    return await dispatcher.enqueue(JobType.SEND_EMAIL, payload, **options)


def _addresses(to: Recipients) -> tuple[str, ...]:
    try:
        return tuple(check_address(each) for each in ([to] if isinstance(to, str) else to))
    except ValueError as error:
        raise JobValidationError(f"to: {error}", [FieldError("to", str(error), "value_error")]) from None
