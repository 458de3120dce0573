"""The job system in a Django project: put ``jobs_core.django`` into INSTALLED_APPS.

::

    INSTALLED_APPS = [..., "jobs_core.django"]
    JOBS_CORE = {"BASE_URL": "https://app.example.com"}      # settings.py; the rest from the environment

    path("", include("jobs_core.django.urls"))               # urls.py: the worker

    with transaction.atomic():                               # anywhere
        order = Order.objects.create(...)
        enqueue(confirm_order, {"order_id": order.pk})

The job is written through Django's own connection, so it is committed and rolled back with the rows beside it, and
published after the commit. Job types are found in the module ``jobs`` of each installed app.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs_core.django.enqueueing import aenqueue, dispatcher, enqueue, enqueue_many, flush
    from jobs_core.django.task_backend import QStashBackend

__all__ = ["QStashBackend", "aenqueue", "dispatcher", "enqueue", "enqueue_many", "flush"]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use: Django imports this package before its apps are ready."""
    if name == "QStashBackend":
        from jobs_core.django.task_backend import QStashBackend

        return QStashBackend
    if name in __all__:
        from jobs_core.django import enqueueing

        return getattr(enqueueing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
