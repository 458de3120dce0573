"""The models; their tables are made by the same steps that ``jobs-core migrate`` takes."""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models
from django.db.migrations.operations.base import Operation

import jobs_core.django.models
from jobs_core.django.operations import Revision


class Migration(migrations.Migration):
    initial: ClassVar[bool | None] = True

    dependencies: ClassVar[list[tuple[str, str]]] = []

    atomic = False  # the steps run on a connection of their own

    operations: ClassVar[list[Operation]] = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="Job",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        ("job_id", models.CharField(max_length=36, unique=True)),
                        ("job_type", models.CharField(max_length=255)),
                        ("status", models.CharField(max_length=16)),
                        ("payload", jobs_core.django.models.JsonValue()),
                        ("options", jobs_core.django.models.JsonValue()),
                        ("result", jobs_core.django.models.JsonValue(null=True)),
                        ("error", models.TextField(null=True)),
                        ("retry_count", models.IntegerField()),
                        ("max_retries", models.IntegerField()),
                        ("attempt_count", models.IntegerField()),
                        ("run", models.IntegerField()),
                        ("user_id", models.CharField(max_length=255, null=True)),
                        ("organization_id", models.CharField(max_length=255, null=True)),
                        ("idempotency_key", models.CharField(max_length=255, null=True)),
                        ("parent_job_id", models.CharField(max_length=36, null=True)),
                        ("schedule_id", models.CharField(max_length=255, null=True)),
                        ("message_id", models.CharField(max_length=255, null=True)),
                        ("progress", models.FloatField(null=True)),
                        ("progress_note", models.TextField(null=True)),
                        ("lease_until", models.DateTimeField(null=True)),
                        ("next_attempt_at", models.DateTimeField(null=True)),
                        ("started_at", models.DateTimeField(null=True)),
                        ("completed_at", models.DateTimeField(null=True)),
                        ("created_at", models.DateTimeField()),
                        ("updated_at", models.DateTimeField()),
                    ],
                    options={
                        "db_table": "job_executions",
                        "ordering": ("-id",),
                    },
                ),
                migrations.CreateModel(
                    name="JobAttempt",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        ("number", models.IntegerField()),
                        ("message_id", models.CharField(max_length=255, null=True)),
                        ("outcome", models.CharField(max_length=16)),
                        ("status_code", models.IntegerField(null=True)),
                        ("error", models.TextField(null=True)),
                        ("traceback", models.TextField(null=True)),
                        ("started_at", models.DateTimeField()),
                        ("finished_at", models.DateTimeField(null=True)),
                        (
                            "job",
                            models.ForeignKey(
                                db_column="job_id",
                                db_constraint=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="attempts",
                                to="jobs_core.job",
                                to_field="job_id",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "job_attempts",
                        "ordering": ("number",),
                    },
                ),
                migrations.CreateModel(
                    name="OutboxMessage",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        ("deduplication_id", models.CharField(max_length=255, unique=True)),
                        ("destination", models.TextField()),
                        ("queue", models.CharField(max_length=255, null=True)),
                        ("headers", jobs_core.django.models.JsonValue()),
                        ("body", models.TextField()),
                        ("deliver_at", models.DateTimeField(null=True)),
                        ("locked_until", models.DateTimeField()),
                        ("failures", models.IntegerField()),
                        ("last_error", models.TextField(null=True)),
                        ("created_at", models.DateTimeField()),
                        (
                            "job",
                            models.ForeignKey(
                                db_column="job_id",
                                db_constraint=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="messages",
                                to="jobs_core.job",
                                to_field="job_id",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "job_outbox",
                        "ordering": ("id",),
                    },
                ),
            ]
        ),
        Revision("0001"),
        Revision("0002"),
        Revision("0003"),
    ]
