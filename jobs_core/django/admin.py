"""Jobs in the admin, read-only."""

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest

from jobs_core.django.models import Job, JobAttempt, OutboxMessage

if TYPE_CHECKING:
    Inline = admin.TabularInline[JobAttempt, Job]
    OfJobs = admin.ModelAdmin[Job]
    OfMessages = admin.ModelAdmin[OutboxMessage]
else:  # Django's classes take no type arguments where they run
    Inline, OfJobs, OfMessages = admin.TabularInline, admin.ModelAdmin, admin.ModelAdmin


class ReadOnly:
    """Refuses adding, changing and deleting."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class AttemptInline(ReadOnly, Inline):
    """The attempts, below their job."""

    model: type[JobAttempt] = JobAttempt
    fields: ClassVar[tuple[str, ...]] = (
        "number",
        "outcome",
        "status_code",
        "error",
        "started_at",
        "finished_at",
        "traceback",
    )
    extra = 0


@admin.register(Job)
class JobAdmin(ReadOnly, OfJobs):
    """Jobs, the newest first."""

    list_display: tuple[str, ...] = (
        "job_id",
        "job_type",
        "status",
        "attempt_count",
        "created_at",
        "completed_at",
        "error",
    )
    list_filter: ClassVar[tuple[str, ...]] = ("status", "job_type")
    search_fields: ClassVar[tuple[str, ...]] = ("job_id__exact", "idempotency_key__exact", "user_id__exact")
    show_full_result_count = False
    inlines: ClassVar[tuple[type[AttemptInline], ...]] = (AttemptInline,)


@admin.register(OutboxMessage)
class OutboxAdmin(ReadOnly, OfMessages):
    """Messages that are committed and not yet published."""

    list_display: tuple[str, ...] = ("job_id", "destination", "failures", "last_error", "locked_until")
    exclude: ClassVar[tuple[str, ...]] = ("headers", "body")  # they may hold what is nobody else's
