"""The worker in a project's urls: ``path("", include("jobs_core.django.urls"))``, after the project's own.

Under a prefix, BASE_URL includes it: deliveries go to BASE_URL and the endpoint.
"""

from django.urls import URLPattern, path, register_converter

from jobs_core.django import project
from jobs_core.django.views import worker


class WorkerPath:
    """A path of the worker. Any other is left to the project's further urls."""

    regex = ".+"

    def to_python(self, value: str) -> str:
        """Return the path. Raise ValueError if it is not the worker's: Django then tries the next pattern."""
        if not project.current().answers(f"/{value}"):
            raise ValueError(value)
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(WorkerPath, "jobs_core_path")

urlpatterns: list[URLPattern] = [path("<jobs_core_path:endpoint>", worker, name="jobs-core")]
