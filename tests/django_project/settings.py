"""The settings of the Django example, and a second database."""

from typing import Any

from tea_shop import settings as shop

from tests.django_project.either import PACKAGE

globals().update({name: value for name, value in vars(shop).items() if name.isupper()})

_default: dict[str, Any] = shop.DATABASES["default"]
_archive = {**_default, "NAME": f"{_default['NAME']}_archive"}
if "TEST" in _archive:
    _archive["TEST"] = {"NAME": f"{_default['TEST']['NAME']}_archive"}
DATABASES = {"default": _default, "archive": _archive}

TASKS = {
    **shop.TASKS,
    "any queue": {"BACKEND": "jobs_core.django.QStashBackend", "QUEUES": []},
    "immediate": {"BACKEND": f"{PACKAGE}.backends.immediate.ImmediateBackend"},
}
