"""``django-task``: the job type that runs the tasks of ``django.tasks``."""

from datetime import timedelta
from typing import Any

from jobs_core.engine.job import Job
from jobs_core.engine.registry import Payload, job


class DjangoTask(Payload):
    """Which task to run, with which arguments."""

    task: str  # where it is imported from
    args: list[Any]
    kwargs: dict[str, Any]
    backend: str
    queue_name: str
    priority: int = 0


@job(
    "django-task",
    endpoint="/api/jobs/django-task",
    retries=0,
    timeout=timedelta(minutes=10),
    description="Run a task of django.tasks.",
)
def run_django_task(payload: DjangoTask, job: Job) -> Any:
    """Run the task and return its result."""
    from jobs_core.django.task_backend import perform

    return perform(payload, job)
