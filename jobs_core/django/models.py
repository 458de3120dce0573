"""The records as Django's models, for reading and for the admin. The job system writes them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models

if TYPE_CHECKING:
    from django.db.models.fields.related_descriptors import RelatedManager

    Field = models.Field[Any, Any]
    Manager = models.Manager[Any]
else:
    Field = models.Field
    Manager = models.Manager


class InTheJobsDatabase(Manager):
    """The rows of the database that JOBS_CORE names, whatever the project's routers say."""

    def get_queryset(self) -> models.QuerySet[Any]:
        """Return the rows. Raise ImproperlyConfigured."""
        from jobs_core.django import project

        return super().get_queryset().using(project.database_alias())


class JsonValue(Field):
    """A column of type JSON, not JSONB: nothing looks inside."""

    def db_type(self, connection: Any) -> str:
        """Return the type, the same on both databases."""
        return "json"

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        """Return the value: SQLite stores text, but a lone number as a number; psycopg has parsed it already."""
        return json.loads(value) if connection.vendor == "sqlite" and isinstance(value, str) else value

    def get_prep_value(self, value: Any) -> str | None:
        """As text; loaddata writes, nothing else does."""
        return None if value is None else json.dumps(value)

    def value_to_string(self, obj: models.Model) -> str:
        """For dumpdata."""
        return json.dumps(self.value_from_object(obj))

    def to_python(self, value: Any) -> Any:
        """From what dumpdata wrote, which has numbers and nulls as they are."""
        return json.loads(value) if isinstance(value, str) else value


class Job(models.Model):
    """One job."""

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    job_id: models.CharField[str, str] = models.CharField(max_length=36, unique=True)
    job_type: models.CharField[str, str] = models.CharField(max_length=255)
    status: models.CharField[str, str] = models.CharField(max_length=16)
    payload: JsonValue = JsonValue()
    options: JsonValue = JsonValue()
    result: JsonValue = JsonValue(null=True)
    error: models.TextField[str | None, str | None] = models.TextField(null=True)
    retry_count: models.IntegerField[int, int] = models.IntegerField()
    max_retries: models.IntegerField[int, int] = models.IntegerField()
    attempt_count: models.IntegerField[int, int] = models.IntegerField()
    run: models.IntegerField[int, int] = models.IntegerField()
    user_id: models.CharField[str | None, str | None] = models.CharField(max_length=255, null=True)
    organization_id: models.CharField[str | None, str | None] = models.CharField(max_length=255, null=True)
    idempotency_key: models.CharField[str | None, str | None] = models.CharField(max_length=255, null=True)
    parent_job_id: models.CharField[str | None, str | None] = models.CharField(max_length=36, null=True)
    schedule_id: models.CharField[str | None, str | None] = models.CharField(max_length=255, null=True)
    message_id: models.CharField[str | None, str | None] = models.CharField(max_length=255, null=True)
    progress: models.FloatField[float | None, float | None] = models.FloatField(null=True)
    progress_note: models.TextField[str | None, str | None] = models.TextField(null=True)
    lease_until: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)
    next_attempt_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)
    started_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)
    completed_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)
    created_at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    updated_at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    attempts: RelatedManager[JobAttempt]
    messages: RelatedManager[OutboxMessage]

    objects: ClassVar[Manager] = InTheJobsDatabase()

    class Meta:
        db_table = "job_executions"
        ordering: tuple[str, ...] = ("-id",)

    def __str__(self) -> str:
        return f"{self.job_type} {self.job_id}"


class JobAttempt(models.Model):
    """One attempt at a job."""

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    job: models.ForeignKey[Job, Job] = models.ForeignKey(
        Job,
        models.DO_NOTHING,
        to_field="job_id",
        db_column="job_id",
        related_name="attempts",
        db_constraint=False,
    )
    number: models.IntegerField[int, int] = models.IntegerField()
    message_id: models.CharField[str | None, str | None] = models.CharField(max_length=255, null=True)
    outcome: models.CharField[str, str] = models.CharField(max_length=16)
    status_code: models.IntegerField[int | None, int | None] = models.IntegerField(null=True)
    error: models.TextField[str | None, str | None] = models.TextField(null=True)
    traceback: models.TextField[str | None, str | None] = models.TextField(null=True)
    started_at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    finished_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)

    objects: ClassVar[Manager] = InTheJobsDatabase()

    class Meta:
        db_table = "job_attempts"
        ordering: tuple[str, ...] = ("number",)

    def __str__(self) -> str:
        return f"attempt {self.number}: {self.outcome}"


class OutboxMessage(models.Model):
    """A message to publish."""

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    job: models.ForeignKey[Job, Job] = models.ForeignKey(
        Job,
        models.DO_NOTHING,
        to_field="job_id",
        db_column="job_id",
        related_name="messages",
        db_constraint=False,
    )
    deduplication_id: models.CharField[str, str] = models.CharField(max_length=255, unique=True)
    destination: models.TextField[str, str] = models.TextField()
    queue: models.CharField[str | None, str | None] = models.CharField(max_length=255, null=True)
    headers: JsonValue = JsonValue()
    body: models.TextField[str, str] = models.TextField()
    deliver_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)
    locked_until: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    failures: models.IntegerField[int, int] = models.IntegerField()
    last_error: models.TextField[str | None, str | None] = models.TextField(null=True)
    created_at: models.DateTimeField[datetime, datetime] = models.DateTimeField()

    objects: ClassVar[Manager] = InTheJobsDatabase()

    class Meta:
        db_table = "job_outbox"
        ordering: tuple[str, ...] = ("id",)

    def __str__(self) -> str:
        return f"a message for {self.destination}"
