"""Helpers for the tests of applications: run one handler, or the whole path; make records and payloads.

``perform_job`` runs one job through the real worker, without a server. ``jobs_running`` puts a worker behind
an emulator with a manual clock. Nothing here imports a test framework.
"""

from jobs_core.testing.builders import add_execution, build_envelope, build_payload, build_record
from jobs_core.testing.databases import temporary_database
from jobs_core.testing.performing import PerformedJob, perform_job
from jobs_core.testing.running import TurnedClock, TurnedQStash, jobs_running, wait_for_job
from jobs_core.testing.signing import sign_delivery

__all__ = [
    "PerformedJob",
    "TurnedClock",
    "TurnedQStash",
    "add_execution",
    "build_envelope",
    "build_payload",
    "build_record",
    "jobs_running",
    "perform_job",
    "sign_delivery",
    "temporary_database",
    "wait_for_job",
]
