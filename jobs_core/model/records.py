"""A job and its attempts, as the rest of the package, the API and the terminal see them."""

from datetime import datetime
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from jobs_core.model.envelope import Subject
from jobs_core.model.options import DeliveryOptions
from jobs_core.model.states import FINISHED, AttemptOutcome, JobStatus


class _View(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, from_attributes=True, extra="ignore"
    )


class AttemptRecord(_View):
    """One attempt at a job."""

    number: int
    outcome: AttemptOutcome
    status_code: int | None
    error: str | None
    traceback: str | None
    message_id: str | None
    started_at: datetime
    finished_at: datetime | None


class JobRecord(_View):
    """One job. ``attempts`` is filled only where a single job is read."""

    job_id: str
    job_type: str
    status: JobStatus
    payload: dict[str, Any]
    options: DeliveryOptions
    result: Any
    error: str | None
    retry_count: int
    max_retries: int
    attempt_count: int
    run: int
    user_id: Subject | None
    organization_id: Subject | None
    idempotency_key: str | None
    parent_job_id: str | None
    schedule_id: str | None
    message_id: str | None
    progress: float | None
    progress_note: str | None
    lease_until: datetime | None
    next_attempt_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime
    attempts: tuple[AttemptRecord, ...] = ()

    @property
    def is_finished(self) -> bool:
        return self.status in FINISHED

    def to_json(self) -> dict[str, Any]:
        """Return it in camelCase, with times as ISO 8601 in UTC."""
        return self.model_dump(mode="json", by_alias=True)
