"""Django 6's own tasks, or before those of the package ``django-tasks``: the same names from either."""

from importlib import import_module
from typing import Any

import django

PACKAGE = "django.tasks" if django.VERSION >= (6,) else "django_tasks"

_tasks: Any = import_module(PACKAGE)
_exceptions: Any = import_module(f"{PACKAGE}.exceptions")
_signals: Any = import_module(f"{PACKAGE}.signals")

TaskContext: Any = _tasks.TaskContext
TaskResultStatus: Any = _tasks.TaskResultStatus
default_task_backend: Any = _tasks.default_task_backend
task: Any = _tasks.task
task_backends: Any = _tasks.task_backends

InvalidTask: Any = getattr(_exceptions, "InvalidTask", None) or _exceptions.InvalidTaskError
TaskResultDoesNotExist: Any = _exceptions.TaskResultDoesNotExist
TaskResultMismatch: Any = _exceptions.TaskResultMismatch

task_enqueued: Any = _signals.task_enqueued
task_finished: Any = _signals.task_finished
task_started: Any = _signals.task_started
