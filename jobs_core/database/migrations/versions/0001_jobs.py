"""Jobs, their attempts, and the outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Models change and migrations must not, so the types are spelled out here.
big_key: sa.BigInteger = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
json_value: sa.JSON = sa.JSON()
instant: sa.DateTime = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "job_executions",
        sa.Column("id", big_key, nullable=False),
        sa.Column("job_id", sa.String(36), nullable=False),
        sa.Column("job_type", sa.String(255), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("payload", json_value, nullable=False),
        sa.Column("options", json_value, nullable=False),
        sa.Column("result", json_value),
        sa.Column("error", sa.Text()),
        sa.Column("retry_count", sa.Integer(), nullable=False),
        sa.Column("max_retries", sa.Integer(), nullable=False),
        sa.Column("attempt_count", sa.Integer(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.String(255)),
        sa.Column("organization_id", sa.String(255)),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("parent_job_id", sa.String(36)),
        sa.Column("schedule_id", sa.String(255)),
        sa.Column("message_id", sa.String(255)),
        sa.Column("progress", sa.Float()),
        sa.Column("progress_note", sa.Text()),
        sa.Column("lease_until", instant),
        sa.Column("next_attempt_at", instant),
        sa.Column("started_at", instant),
        sa.Column("completed_at", instant),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("updated_at", instant, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_job_executions"),
        sa.UniqueConstraint("job_id", name="uq_job_executions_job_id"),
        sa.UniqueConstraint("job_type", "idempotency_key", name="uq_job_executions_job_type_idempotency_key"),
    )
    op.create_index("ix_job_executions_job_type", "job_executions", ["job_type", "id"])
    op.create_index("ix_job_executions_user_id", "job_executions", ["user_id", "id"])
    op.create_index("ix_job_executions_organization_id", "job_executions", ["organization_id", "id"])
    op.create_index("ix_job_executions_created_at", "job_executions", ["created_at"])
    op.create_index("ix_job_executions_status_created_at", "job_executions", ["status", "created_at"])
    op.create_index("ix_job_executions_parent_job_id", "job_executions", ["parent_job_id"])

    op.create_table(
        "job_attempts",
        sa.Column("id", big_key, nullable=False),
        sa.Column("job_id", sa.String(36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("message_id", sa.String(255)),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("status_code", sa.Integer()),
        sa.Column("error", sa.Text()),
        sa.Column("traceback", sa.Text()),
        sa.Column("started_at", instant, nullable=False),
        sa.Column("finished_at", instant),
        sa.PrimaryKeyConstraint("id", name="pk_job_attempts"),
        sa.UniqueConstraint("job_id", "number", name="uq_job_attempts_job_id_number"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["job_executions.job_id"], name="fk_job_attempts_job_id", ondelete="CASCADE"
        ),
    )

    op.create_table(
        "job_outbox",
        sa.Column("id", big_key, nullable=False),
        sa.Column("job_id", sa.String(36), nullable=False),
        sa.Column("deduplication_id", sa.String(255), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("queue", sa.String(255)),
        sa.Column("headers", json_value, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("deliver_at", instant),
        sa.Column("locked_until", instant, nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.Text()),
        sa.Column("created_at", instant, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_job_outbox"),
        sa.UniqueConstraint("deduplication_id", name="uq_job_outbox_deduplication_id"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["job_executions.job_id"], name="fk_job_outbox_job_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_job_outbox_due", "job_outbox", ["locked_until", "id"])
    op.create_index("ix_job_outbox_job_id", "job_outbox", ["job_id"])


def downgrade() -> None:
    op.drop_table("job_outbox")
    op.drop_table("job_attempts")
    op.drop_table("job_executions")
