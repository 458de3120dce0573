"""The app's configuration for Django."""

from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed


class JobsConfig(AppConfig):
    """``jobs_core.django``, under the label ``jobs_core``."""

    name = "jobs_core.django"
    label = "jobs_core"
    verbose_name: str = "Jobs"
    default_auto_field: str = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks of ``manage.py check``, and reload the settings when a test overrides them."""
        checks.register(_check_settings)
        checks.register(_check_deployment, deploy=True)
        setting_changed.connect(_forget, dispatch_uid="jobs_core")


def _check_settings(**_: Any) -> list[checks.CheckMessage]:
    from jobs_core.django.project import load_settings
    from jobs_core.engine.registry import default_registry
    from jobs_core.model.errors import RegistryError

    try:
        default_registry(load_settings().jobs_modules)
    except (ImproperlyConfigured, RegistryError) as error:
        return [checks.Error(str(error), id="jobs_core.E001")]
    return []


def _check_deployment(**_: Any) -> list[checks.CheckMessage]:
    from jobs_core.django.project import load_settings

    try:
        settings = load_settings()
    except ImproperlyConfigured:
        return []  # reported by _check_settings
    found: list[checks.CheckMessage] = [
        checks.Warning(warning, id="jobs_core.W001") for warning in settings.warnings()
    ]
    if not settings.is_production:
        words = f"ENVIRONMENT is {settings.environment}, in which the public test keys are tolerated"
        found.append(checks.Warning(words, hint="Set ENVIRONMENT=production.", id="jobs_core.W002"))
    return found


def _forget(*, setting: str, **_: Any) -> None:
    if setting in {"JOBS_CORE", "DATABASES", "INSTALLED_APPS"}:
        from jobs_core.django import project

        project.close()
