"""The export of the package's own tables. Payloads and results of jobs are left out."""

from typing import Any

from sqlalchemy import Row

from jobs_core.billing.money import to_major
from jobs_core.billing.tables import customers, subscriptions
from jobs_core.database.tables import executions
from jobs_core.emails.tables import email_deliveries
from jobs_core.exports.entities import ExportColumn, ExportEntity
from jobs_core.notifications.tables import notifications
from jobs_core.webhooks.tables import webhook_events


def _major(row: Row[Any]) -> Any:
    """Return the amount in the currency's major unit."""
    return None if row.amount is None or row.currency is None else to_major(row.amount, row.currency)


jobs: ExportEntity = ExportEntity(
    "jobs",
    executions,
    created=executions.c.created_at,
    filters={
        "status": executions.c.status,
        "jobType": executions.c.job_type,
        "userId": executions.c.user_id,
        "organizationId": executions.c.organization_id,
        "scheduleId": executions.c.schedule_id,
    },
    columns=(
        ExportColumn("Job", executions.c.job_id),
        ExportColumn("Type", executions.c.job_type),
        ExportColumn("Status", executions.c.status),
        ExportColumn("Error", executions.c.error),
        ExportColumn("Retries", executions.c.retry_count),
        ExportColumn("User", executions.c.user_id),
        ExportColumn("Organization", executions.c.organization_id),
        ExportColumn("Created (UTC)", executions.c.created_at),
        ExportColumn("Started (UTC)", executions.c.started_at),
        ExportColumn("Completed (UTC)", executions.c.completed_at),
    ),
)

customers_entity: ExportEntity = ExportEntity(
    "customers",
    customers,
    created=customers.c.created_at,
    filters={"userId": customers.c.user_id, "organizationId": customers.c.organization_id},
    columns=(
        ExportColumn("Customer", customers.c.customer_id),
        ExportColumn("Name", customers.c.name),
        ExportColumn("E-mail", customers.c.email),
        ExportColumn("User", customers.c.user_id),
        ExportColumn("Organization", customers.c.organization_id),
        ExportColumn("Since (UTC)", customers.c.created_at),
    ),
)

subscriptions_entity: ExportEntity = ExportEntity(
    "subscriptions",
    subscriptions,
    created=subscriptions.c.started_at,
    filters={"status": subscriptions.c.status, "currency": subscriptions.c.currency},
    columns=(
        ExportColumn("Subscription", subscriptions.c.subscription_id),
        ExportColumn("Customer", subscriptions.c.customer_id),
        ExportColumn("Status", subscriptions.c.status),
        ExportColumn("Plan", subscriptions.c.plan_name),
        ExportColumn("Amount", subscriptions.c.amount, _major),
        ExportColumn("Currency", subscriptions.c.currency),
        ExportColumn("Interval", subscriptions.c.interval),
        ExportColumn("Payment", subscriptions.c.payment_status),
        ExportColumn("Started (UTC)", subscriptions.c.started_at),
        ExportColumn("Ended (UTC)", subscriptions.c.ended_at),
    ),
)

notifications_entity: ExportEntity = ExportEntity(
    "notifications",
    notifications,
    created=notifications.c.created_at,
    filters={
        "userId": notifications.c.user_id,
        "category": notifications.c.category,
        "priority": notifications.c.priority,
    },
    columns=(
        ExportColumn("User", notifications.c.user_id),
        ExportColumn("Type", notifications.c.type),
        ExportColumn("Priority", notifications.c.priority),
        ExportColumn("Title", notifications.c.title),
        ExportColumn("Message", notifications.c.message),
        ExportColumn("Created (UTC)", notifications.c.created_at),
        ExportColumn("Read (UTC)", notifications.c.read_at),
    ),
)

webhook_events_entity: ExportEntity = ExportEntity(
    "webhook-events",
    webhook_events,
    created=webhook_events.c.received_at,
    filters={"source": webhook_events.c.source, "event": webhook_events.c.event},
    columns=(
        ExportColumn("Source", webhook_events.c.source),
        ExportColumn("Event", webhook_events.c.event),
        ExportColumn("Id", webhook_events.c.event_id),
        ExportColumn("Job", webhook_events.c.job_id),
        ExportColumn("Received (UTC)", webhook_events.c.received_at),
    ),
)

email_deliveries_entity: ExportEntity = ExportEntity(
    "email-deliveries",
    email_deliveries,
    created=email_deliveries.c.created_at,
    filters={"status": email_deliveries.c.status, "template": email_deliveries.c.template},
    columns=(
        ExportColumn("Provider's id", email_deliveries.c.provider_id),
        ExportColumn("Job", email_deliveries.c.job_id),
        ExportColumn("Template", email_deliveries.c.template),
        ExportColumn("Recipients", email_deliveries.c.recipients),
        ExportColumn("Status", email_deliveries.c.status),
        ExportColumn("Detail", email_deliveries.c.detail),
        ExportColumn("Status of (UTC)", email_deliveries.c.status_at),
    ),
)
