"""Background jobs over QStash: every job is an HTTP delivery, recorded in your own database.

dispatcher = JobDispatcher()
job_id = await dispatcher.enqueue(JobType.SEND_EMAIL, {"template": "welcome", …})

app = create_app()  # receives the deliveries; serve it, or mount it in your own app
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs_core.app import create_app, running
    from jobs_core.blocking.dispatcher import SyncJobDispatcher
    from jobs_core.database import migrations as migrations
    from jobs_core.database.job_queries import JobFilter, JobPage
    from jobs_core.engine.dispatcher import JobDispatcher
    from jobs_core.engine.job import Job
    from jobs_core.engine.registry import (
        Cron,
        JobDefinition,
        JobType,
        Payload,
        Registry,
        default_registry,
        job,
    )
    from jobs_core.engine.requests import JobRequest
    from jobs_core.engine.resources import Resources
    from jobs_core.engine.schedules import Schedule
    from jobs_core.model.clock import Clock, ManualClock, SystemClock
    from jobs_core.model.envelope import JobEnvelope, Metadata
    from jobs_core.model.errors import (
        FieldError,
        JobError,
        JobNotFoundError,
        JobStateError,
        JobTimeoutError,
        JobValidationError,
        PermanentJobError,
        PublishError,
        PublishRefusedError,
        PublishUnavailableError,
        RegistryError,
        RetryLater,
        SettingsError,
        UnknownJobTypeError,
    )
    from jobs_core.model.options import DeliveryOptions, FlowControl
    from jobs_core.model.records import AttemptRecord, JobRecord
    from jobs_core.model.states import AttemptOutcome, JobStatus
    from jobs_core.settings.settings import Environment, Settings

__all__ = [
    "AttemptOutcome",
    "AttemptRecord",
    "Clock",
    "Cron",
    "DeliveryOptions",
    "Environment",
    "FieldError",
    "FlowControl",
    "Job",
    "JobDefinition",
    "JobDispatcher",
    "JobEnvelope",
    "JobError",
    "JobFilter",
    "JobNotFoundError",
    "JobPage",
    "JobRecord",
    "JobRequest",
    "JobStateError",
    "JobStatus",
    "JobTimeoutError",
    "JobType",
    "JobValidationError",
    "ManualClock",
    "Metadata",
    "Payload",
    "PermanentJobError",
    "PublishError",
    "PublishRefusedError",
    "PublishUnavailableError",
    "Registry",
    "RegistryError",
    "Resources",
    "RetryLater",
    "Schedule",
    "Settings",
    "SettingsError",
    "SyncJobDispatcher",
    "SystemClock",
    "UnknownJobTypeError",
    "create_app",
    "default_registry",
    "job",
    "running",
]

_MODULES = {
    "AttemptOutcome": "jobs_core.model.states",
    "AttemptRecord": "jobs_core.model.records",
    "Clock": "jobs_core.model.clock",
    "Cron": "jobs_core.engine.registry",
    "DeliveryOptions": "jobs_core.model.options",
    "Environment": "jobs_core.settings.settings",
    "FieldError": "jobs_core.model.errors",
    "FlowControl": "jobs_core.model.options",
    "Job": "jobs_core.engine.job",
    "JobDefinition": "jobs_core.engine.registry",
    "JobDispatcher": "jobs_core.engine.dispatcher",
    "JobEnvelope": "jobs_core.model.envelope",
    "JobError": "jobs_core.model.errors",
    "JobFilter": "jobs_core.database.job_queries",
    "JobNotFoundError": "jobs_core.model.errors",
    "JobPage": "jobs_core.database.job_queries",
    "JobRecord": "jobs_core.model.records",
    "JobRequest": "jobs_core.engine.requests",
    "JobStateError": "jobs_core.model.errors",
    "JobStatus": "jobs_core.model.states",
    "JobTimeoutError": "jobs_core.model.errors",
    "JobType": "jobs_core.engine.registry",
    "JobValidationError": "jobs_core.model.errors",
    "ManualClock": "jobs_core.model.clock",
    "Metadata": "jobs_core.model.envelope",
    "Payload": "jobs_core.engine.registry",
    "PermanentJobError": "jobs_core.model.errors",
    "PublishError": "jobs_core.model.errors",
    "PublishRefusedError": "jobs_core.model.errors",
    "PublishUnavailableError": "jobs_core.model.errors",
    "Registry": "jobs_core.engine.registry",
    "RegistryError": "jobs_core.model.errors",
    "Resources": "jobs_core.engine.resources",
    "RetryLater": "jobs_core.model.errors",
    "Schedule": "jobs_core.engine.schedules",
    "Settings": "jobs_core.settings.settings",
    "SettingsError": "jobs_core.model.errors",
    "SyncJobDispatcher": "jobs_core.blocking.dispatcher",
    "SystemClock": "jobs_core.model.clock",
    "UnknownJobTypeError": "jobs_core.model.errors",
    "create_app": "jobs_core.app",
    "default_registry": "jobs_core.engine.registry",
    "job": "jobs_core.engine.registry",
    "migrations": "jobs_core.database",
    "running": "jobs_core.app",
}
# What the extra brings, by the names under which it is imported.
_EXTRA = (
    "a2wsgi", "aiosmtplib", "alembic", "greenlet", "jinja2", "jwt", "reportlab", "rich", "standardwebhooks", "stripe",
    "xlsxwriter",
)  # fmt: skip


def _is_command(name: str) -> bool:
    return Path(sys.argv[0]).stem == name


if _missing := [name for name in _EXTRA if find_spec(name) is None]:
    _words = f"jobs_core needs the extra 'jobs': pip install 'qstash-emulator[jobs]' (missing: {', '.join(_missing)})"
    if _is_command("jobs-core"):
        raise SystemExit(_words)
    raise ImportError(_words)


def __getattr__(name: str) -> Any:
    """Import a public name at its first use: an application only loads what it uses."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(_MODULES[name] if name != "migrations" else "jobs_core.database.migrations")
    value = module if name == "migrations" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
