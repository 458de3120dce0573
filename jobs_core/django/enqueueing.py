"""Enqueueing in Django's own transaction."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections, transaction
from pydantic import BaseModel

from jobs_core.blocking.dispatcher import SyncJobDispatcher
from jobs_core.django import project
from jobs_core.django.connections import DjangoConnection, is_in_memory
from jobs_core.engine.registry import JobDefinition
from jobs_core.engine.requests import JobRequest

P = TypeVar("P", bound=BaseModel)


def enqueue(job_type: str | JobDefinition[P], payload: P | Mapping[str, Any], **options: Any) -> str:
    """Write a job through Django's connection, and return its id. The options are those of
    ``JobDispatcher.enqueue``.

    Inside ``transaction.atomic()`` it is committed and rolled back with the rows beside it, to the innermost block;
    outside of one it is committed at once. It is published after the commit, by this process or, if that dies, by any
    that runs the worker.

    Raises:
        JobValidationError: the payload or an option is not valid; every error is listed.
        UnknownJobTypeError: no such job type.
        ImproperlyConfigured: JOBS_CORE or the environment is not right.
    """
    return enqueue_many([JobRequest.of(job_type, payload, **options)])[0]


def enqueue_many(requests: Sequence[JobRequest]) -> Sequence[str]:
    """Write many jobs as ``enqueue`` does. Return their ids, in order."""
    current = project.current()
    alias = project.database_alias()
    connection = connections[alias]
    # A block of its own: should a statement fail, the caller's transaction can still be used.
    with transaction.atomic(using=alias):
        job_ids = current.jobs.dispatcher.write_on(DjangoConnection(connection), requests)
        transaction.on_commit(partial(_publish, current, alias), using=alias, robust=True)
    return job_ids


async def aenqueue(job_type: str | JobDefinition[P], payload: P | Mapping[str, Any], **options: Any) -> str:
    """``enqueue`` for async views, in a transaction of its own, for Django's belong to a thread."""
    job_id: str = await sync_to_async(enqueue)(job_type, payload, **options)
    return job_id


def flush() -> None:
    """Publish everything that is committed, and wait for it. For scripts and tests."""
    project.current().jobs.flush()


def dispatcher() -> SyncJobDispatcher:
    """Return this process's dispatcher, for other calls than ``enqueue``: ``get``, ``wait``, ``list``,
    ``cancel``, ``retry``.
    """
    return project.current().jobs


def _publish(current: project.Project, alias: str) -> None:
    connection = connections[alias]
    # Within a TestCase nothing is ever committed, and a database in memory is seen by Django's connections alone.
    if connection.in_atomic_block or is_in_memory(connection):
        return
    current.wake()
