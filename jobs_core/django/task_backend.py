"""``QStashBackend``: Django's own tasks, run through QStash.

    TASKS = {"default": {"BACKEND": "jobs_core.django.QStashBackend", "OPTIONS": {"retries": 3}}}

With Django 6 its ``django.tasks``; before, the package ``django-tasks``. A task is a job of the type ``django-task``,
written in Django's present transaction. OPTIONS are ``retries`` (default 0, as Django's tasks are tried once),
``timeout`` in seconds and ``retry_delay`` in milliseconds, as ``enqueue`` takes them. QStash knows no priorities.
"""

import json
import re
from typing import TYPE_CHECKING, Any

from django.core import checks
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.utils import timezone
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from django.tasks import TaskContext, TaskResult, TaskResultStatus
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import Task, TaskError
    from django.tasks.exceptions import TaskResultDoesNotExist
    from django.tasks.signals import task_enqueued, task_finished, task_started
    from django.utils.json import normalize_json
else:
    try:
        from django.tasks import TaskContext, TaskResult, TaskResultStatus
        from django.tasks.backends.base import BaseTaskBackend
        from django.tasks.base import Task, TaskError
        from django.tasks.exceptions import TaskResultDoesNotExist
        from django.tasks.signals import task_enqueued, task_finished, task_started
        from django.utils.json import normalize_json
    except ModuleNotFoundError:
        from django_tasks import TaskContext, TaskResult, TaskResultStatus
        from django_tasks.backends.base import BaseTaskBackend
        from django_tasks.base import Task, TaskError
        from django_tasks.exceptions import TaskResultDoesNotExist
        from django_tasks.signals import task_enqueued, task_finished, task_started
        from django_tasks.utils import normalize_json

from jobs_core.django import project
from jobs_core.django.enqueueing import enqueue
from jobs_core.django.task_job import DjangoTask, run_django_task
from jobs_core.engine.app_context import AppContext
from jobs_core.engine.job import Job
from jobs_core.model.errors import JobError, PermanentJobError
from jobs_core.model.states import JobStatus

_OPTIONS = ("retries", "timeout", "retry_delay")
_STATUS = {
    JobStatus.PENDING: TaskResultStatus.READY,
    JobStatus.PROCESSING: TaskResultStatus.RUNNING,
    JobStatus.COMPLETED: TaskResultStatus.SUCCESSFUL,
    JobStatus.FAILED: TaskResultStatus.FAILED,
    JobStatus.CANCELLED: TaskResultStatus.FAILED,
}
# The line below the frames of a traceback: the exception's class, and its text.
_RAISED = re.compile(r"^([A-Za-z_][\w.<>]*)(?::|$)", re.MULTILINE)
_DEFAULT_QUEUE = "default"


class QStashBackend(BaseTaskBackend):
    """Tasks as jobs. Those of the queue ``default`` run concurrently; any other queue is a queue of QStash."""

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = False

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        """Raise ImproperlyConfigured for an unknown option."""
        super().__init__(alias, params)
        unknown = sorted(set(self.options) - set(_OPTIONS))
        if unknown:
            accepted = ", ".join(_OPTIONS)
            raise ImproperlyConfigured(
                f"TASKS[{alias!r}]['OPTIONS'] has no {unknown[0]!r}; accepted: {accepted}"
            )

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """Write the task in the present transaction; it is published after the commit.

        Raises:
            InvalidTask (InvalidTaskError of the package): the backend cannot run it.
            TypeError: the arguments have no form in JSON.
        """
        self.validate_task(task)
        args, kwargs = _as_json(list(args)), _as_json(dict(kwargs))
        payload = DjangoTask(
            task=task.module_path,
            args=args,
            kwargs=kwargs,
            backend=self.alias,
            queue_name=task.queue_name,
            priority=task.priority,
        )
        job_id = enqueue(
            run_django_task,
            payload,
            not_before=_aware(task.run_after),
            queue=None if task.queue_name == _DEFAULT_QUEUE else task.queue_name,
            **self.options,
        )
        now = project.current().jobs.dispatcher.clock.now()
        result = _result(task, job_id, TaskResultStatus.READY, args, kwargs, enqueued_at=now)
        task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> Any:
        """Return the task's state, read through Django's connection, so that a transaction sees its own.

        Raises:
            TaskResultDoesNotExist: there is no such task.
        """
        from jobs_core.django.models import Job as JobRow

        try:
            row = JobRow.objects.using(project.database_alias()).get(
                job_id=result_id, job_type=run_django_task.job_type
            )
        except (JobRow.DoesNotExist, ValidationError, ValueError):
            raise TaskResultDoesNotExist(result_id) from None
        payload = DjangoTask.model_validate(row.payload)
        attempts = list(row.attempts.all())
        status = _STATUS[JobStatus(row.status)]
        result = _result(
            _task(payload),
            result_id,
            status,
            payload.args,
            payload.kwargs,
            enqueued_at=row.created_at,
            started_at=row.started_at,
            finished_at=row.completed_at,
            last_attempted_at=attempts[-1].started_at if attempts else None,
            worker_ids=[_worker_id(each.number) for each in attempts],
            errors=_errors(row, attempts, is_failed=status == TaskResultStatus.FAILED),
        )
        if status == TaskResultStatus.SUCCESSFUL:
            object.__setattr__(result, "_return_value", row.result)
        return result

    def check(self, **_: Any) -> list[checks.CheckMessage]:
        """Return an error unless the app is installed."""
        from django.apps import apps

        if apps.is_installed("jobs_core.django"):
            return []
        words = "jobs_core.django.QStashBackend needs 'jobs_core.django' in INSTALLED_APPS"
        return [checks.Error(words, id="jobs_core.E002")]


def perform(payload: DjangoTask, job: Job) -> Any:
    """Run a task in the worker. Return its result in JSON form.

    Raises:
        PermanentJobError: the path does not lead to a task.
        TypeError: what it returned has no form in JSON.
        Exception: whatever the task raised.
    """
    task = _task(payload)
    now = job.use(AppContext).clock.now
    result = _result(
        task,
        job.id,
        TaskResultStatus.RUNNING,
        payload.args,
        payload.kwargs,
        enqueued_at=job.metadata.created_at,
        started_at=(began := now()),
        last_attempted_at=began,
        worker_ids=[_worker_id(number) for number in range(1, job.attempt_number + 1)],
    )
    sender = type(task.get_backend())
    task_started.send(sender, task_result=result)
    context: list[Any] = [TaskContext(task_result=result)] if task.takes_context else []
    try:
        returned = _as_json(task.call(*context, *payload.args, **payload.kwargs))
    except BaseException as error:
        if job.is_last_attempt or isinstance(error, PermanentJobError):
            _end(result, TaskResultStatus.FAILED, now())
            task_finished.send(sender, task_result=result)
        raise
    _end(result, TaskResultStatus.SUCCESSFUL, now())
    object.__setattr__(result, "_return_value", returned)
    task_finished.send(sender, task_result=result)
    return returned


def _task(payload: DjangoTask) -> Any:
    """Return the task. Only tasks are run. Raise PermanentJobError."""
    try:
        found = import_string(payload.task)
    except ImportError as error:
        raise PermanentJobError(f"there is no task {payload.task!r}: {error}") from error
    if not isinstance(found, Task):
        raise PermanentJobError(f"{payload.task!r} is no task of django.tasks")
    return found.using(backend=payload.backend, queue_name=payload.queue_name, priority=payload.priority)


def _result(task: Any, job_id: str, status: Any, args: Any, kwargs: Any, **known: Any) -> Any:
    facts: dict[str, Any] = {
        "enqueued_at": None,
        "started_at": None,
        "finished_at": None,
        "last_attempted_at": None,
        "errors": [],
        "worker_ids": [],
    }
    return TaskResult(
        task=task, id=job_id, status=status, args=args, kwargs=kwargs, backend=task.backend, **(facts | known)
    )


def _end(result: Any, status: Any, now: Any) -> None:
    object.__setattr__(result, "status", status)
    object.__setattr__(result, "finished_at", now)


def _errors(row: Any, attempts: Any, *, is_failed: bool) -> list[Any]:
    found = [
        TaskError(
            exception_class_path=_class_path(each.traceback or ""), traceback=each.traceback or each.error
        )
        for each in attempts
        if each.error is not None
    ]
    if is_failed and not found:
        found.append(
            TaskError(
                exception_class_path=_path(JobError), traceback=row.error or f"the job was {row.status}"
            )
        )
    return found


def _class_path(traceback: str) -> str:
    """Return the class of the exception that a traceback ends with."""
    last = traceback.rpartition("Traceback (most recent call last):\n")[2]
    raised = _RAISED.search(last)
    if raised is None:
        return _path(JobError)
    return raised[1] if "." in raised[1] else f"builtins.{raised[1]}"


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _worker_id(number: int) -> str:
    """Return a name for the worker of an attempt: workers have none, and Django counts attempts by them."""
    return f"attempt-{number}"


def _as_json(value: Any) -> Any:
    """Return the value as Django's own backends and then JSON have it: tuples are lists, keys text. Raise
    TypeError.
    """
    try:
        return json.loads(json.dumps(normalize_json(value), allow_nan=False))
    except ValueError as error:
        raise TypeError(f"it has no form in JSON: {error}") from error


def _aware(at: Any) -> Any:
    return timezone.make_aware(at) if at is not None and timezone.is_naive(at) else at
