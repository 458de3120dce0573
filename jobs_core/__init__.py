"""Background jobs over QStash: every job is an HTTP delivery, recorded in your own database.

dispatcher = JobDispatcher()
job_id = await dispatcher.enqueue(JobType.SEND_EMAIL, {"template": "welcome", …})

app = create_app()  # receives the deliveries; serve it, or mount it in your own app
"""

from jobs_core.app import create_app, running
from jobs_core.blocking.dispatcher import SyncJobDispatcher
from jobs_core.database import migrations as migrations
from jobs_core.database.job_queries import JobFilter, JobPage
from jobs_core.engine.dispatcher import JobDispatcher
from jobs_core.engine.job import Job
from jobs_core.engine.registry import Cron, JobDefinition, JobType, Payload, Registry, default_registry, job
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
