"""Sample data for each template, for previews and as a start for tests."""

from collections.abc import Mapping

from jobs_core.emails.catalog import (
    Brand,
    EmailChange,
    PasswordChanged,
    PasswordReset,
    PaymentFailed,
    ReportReady,
    SubscriptionCreated,
    TeamInvitation,
    TemplateData,
    Welcome,
    find_template,
    render,
)
from jobs_core.emails.message import Email

_APP = "https://app.example.com"

SAMPLES: Mapping[str, TemplateData] = {
    "welcome": Welcome(recipient_name="Ada Lovelace", dashboard_url=f"{_APP}/dashboard"),
    "passwordReset": PasswordReset(
        recipient_name="Ada Lovelace",
        reset_url=f"{_APP}/reset?token=4f9d1c7a8e2b4f6d9c3a5b7e1d2f4a6c8b0e2d4f6a8c0e1b3d5f7a9c",
    ),
    "passwordChanged": PasswordChanged(recipient_name="Ada Lovelace"),
    "emailChange": EmailChange(
        recipient_name="Ada Lovelace",
        new_email="ada.lovelace@analytical-engine.example",
        confirmation_url=f"{_APP}/confirm?token=8b0e2d4f6a8c",
    ),
    "teamInvitation": TeamInvitation(
        recipient_name="Ada Lovelace",
        inviter_name="Charles Babbage",
        organization_name="Analytical Engines & Co.",
        invitation_url=f"{_APP}/invitations/3d5f7a9c",
    ),
    "subscriptionCreated": SubscriptionCreated(
        recipient_name="Ada Lovelace",
        plan_name="Team",
        amount="$30.00 a month",
        dashboard_url=f"{_APP}/billing",
    ),
    "paymentFailed": PaymentFailed(
        recipient_name="Ada Lovelace", amount_due="$30.00", payment_details_url=f"{_APP}/billing/payment"
    ),
    "reportReady": ReportReady(
        recipient_name="Ada Lovelace",
        report_title="Job analytics",
        period="1 to 31 May 2026",
        facts_shown=[("Jobs", "12,480"), ("Failure rate", "0.4%"), ("Median duration", "180 ms")],
        is_attached=True,
        download_url=f"{_APP}/api/files/reports/0190.pdf?expires=1780315200&signature=6c8b0e2d4f6a8c0e1b3d",
        available_until="2 June 2026, 12:00 UTC",
    ),
}


def preview(name: str, brand: Brand) -> Email:
    """Return the template with its sample data. Raise ValueError for an unknown name."""
    template = find_template(name)
    return render(template, SAMPLES[name], to=("ada@example.com",), brand=brand)
