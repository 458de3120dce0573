"""Customers, subscriptions, notifications, webhook events and e-mail deliveries."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

big_key: sa.BigInteger = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
instant: sa.DateTime = sa.DateTime(timezone=True)


def upgrade() -> None:
    _billing()
    _notifications()
    _webhook_events()
    _email_deliveries()


def downgrade() -> None:
    for table in (
        "email_deliveries",
        "webhook_events",
        "notifications",
        "billing_subscriptions",
        "billing_customers",
    ):
        op.drop_table(table)


def _billing() -> None:
    op.create_table(
        "billing_customers",
        sa.Column("id", big_key, nullable=False),
        sa.Column("customer_id", sa.String(255), nullable=False),
        sa.Column("email", sa.String(320)),
        sa.Column("name", sa.String(255)),
        sa.Column("user_id", sa.String(255)),
        sa.Column("organization_id", sa.String(255)),
        *_stamp("contact"),
        *_stamp("owner"),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("updated_at", instant, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_billing_customers"),
        sa.UniqueConstraint("customer_id", name="uq_billing_customers_customer_id"),
    )
    op.create_index("ix_billing_customers_user_id", "billing_customers", ["user_id"])
    op.create_table(
        "billing_subscriptions",
        sa.Column("id", big_key, nullable=False),
        sa.Column("subscription_id", sa.String(255), nullable=False),
        sa.Column("customer_id", sa.String(255)),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("plan_name", sa.String(255)),
        sa.Column("amount", sa.BigInteger()),
        sa.Column("currency", sa.String(3)),
        sa.Column("interval", sa.String(16)),
        sa.Column("interval_count", sa.Integer()),
        sa.Column("cancel_at_period_end", sa.Boolean(), nullable=False),
        sa.Column("started_at", instant),
        sa.Column("trial_end_at", instant),
        sa.Column("period_end_at", instant),
        sa.Column("ended_at", instant),
        *_stamp("state"),
        sa.Column("payment_status", sa.String(16)),
        sa.Column("payment_amount", sa.BigInteger()),
        sa.Column("payment_currency", sa.String(3)),
        *_stamp("payment"),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("updated_at", instant, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_billing_subscriptions"),
        sa.UniqueConstraint("subscription_id", name="uq_billing_subscriptions_subscription_id"),
    )
    op.create_index("ix_billing_subscriptions_customer_id", "billing_subscriptions", ["customer_id"])
    op.create_index("ix_billing_subscriptions_status", "billing_subscriptions", ["status"])


def _stamp(of: str) -> list[sa.Column[object]]:
    return [
        sa.Column(f"{of}_at", instant),
        sa.Column(f"{of}_rank", sa.Integer(), nullable=False),
        sa.Column(f"{of}_event_id", sa.String(255), nullable=False),
    ]


def _notifications() -> None:
    op.create_table(
        "notifications",
        sa.Column("id", big_key, nullable=False),
        sa.Column("notification_id", sa.String(36), nullable=False),
        sa.Column("job_id", sa.String(36)),
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("organization_id", sa.String(255)),
        sa.Column("type", sa.String(100), nullable=False),
        sa.Column("category", sa.String(100), nullable=False),
        sa.Column("priority", sa.String(16), nullable=False),
        sa.Column("title", sa.String(255), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("action_url", sa.Text()),
        sa.Column("data", sa.JSON()),
        sa.Column("read_at", instant),
        sa.Column("created_at", instant, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_notifications"),
        sa.UniqueConstraint("notification_id", name="uq_notifications_notification_id"),
    )
    op.create_index("ix_notifications_user_id", "notifications", ["user_id", "id"])
    op.create_index("ix_notifications_user_id_read_at", "notifications", ["user_id", "read_at"])
    op.create_index("ix_notifications_created_at", "notifications", ["created_at"])


def _webhook_events() -> None:
    op.create_table(
        "webhook_events",
        sa.Column("id", big_key, nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("event_id", sa.String(255), nullable=False),
        sa.Column("event", sa.String(255), nullable=False),
        sa.Column("body_digest", sa.String(64), nullable=False),
        sa.Column("job_id", sa.String(36), nullable=False),
        sa.Column("received_at", instant, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_events"),
        sa.UniqueConstraint("source", "event_id", name="uq_webhook_events_source_event_id"),
    )
    op.create_index("ix_webhook_events_source_body_digest", "webhook_events", ["source", "body_digest"])
    op.create_index("ix_webhook_events_received_at", "webhook_events", ["received_at"])


def _email_deliveries() -> None:
    op.create_table(
        "email_deliveries",
        sa.Column("id", big_key, nullable=False),
        sa.Column("provider_id", sa.String(255), nullable=False),
        sa.Column("job_id", sa.String(36)),
        sa.Column("template", sa.String(64)),
        sa.Column("recipients", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("detail", sa.Text()),
        sa.Column("status_at", instant, nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_email_deliveries"),
        sa.UniqueConstraint("provider_id", name="uq_email_deliveries_provider_id"),
    )
    op.create_index("ix_email_deliveries_job_id", "email_deliveries", ["job_id"])
    op.create_index("ix_email_deliveries_created_at", "email_deliveries", ["created_at"])
