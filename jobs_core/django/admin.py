"""Jobs in the admin: read, not changed."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from jobs_core.django.models import Job, JobAttempt, OutboxMessage


class ReadOnly:
    """Nobody adds, changes or deletes."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class AttemptInline(ReadOnly, admin.TabularInline):
    """The attempts, below their job."""

    model = JobAttempt
    fields = ("number", "outcome", "status_code", "error", "started_at", "finished_at", "traceback")
    extra = 0


@admin.register(Job)
class JobAdmin(ReadOnly, admin.ModelAdmin):
    """Jobs, the newest first."""

    list_display = ("job_id", "job_type", "status", "attempt_count", "created_at", "completed_at", "error")
    list_filter = ("status", "job_type")
    search_fields = ("job_id__exact", "idempotency_key__exact", "user_id__exact")
    show_full_result_count = False
    inlines = (AttemptInline,)


@admin.register(OutboxMessage)
class OutboxAdmin(ReadOnly, admin.ModelAdmin):
    """What is committed and not yet published."""

    list_display = ("job_id", "destination", "failures", "last_error", "locked_until")
