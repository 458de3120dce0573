"""One process's job system, made from Django's settings at first use.

``JOBS_CORE`` in settings.py holds what jobs_core calls its settings, by the names of their environment variables, and
three of our own: DATABASE, the alias of the database that has the jobs (default: ``default``); RESOURCES, the path of
a function that answers the ``Resources`` of handlers. What it does not name comes from the environment.
"""

import atexit
import os
import threading
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections
from django.utils.module_loading import import_string, module_has_submodule
from sqlalchemy import URL
from starlette.applications import Starlette
from starlette.routing import Match

from jobs_core.app import create_app, running
from jobs_core.blocking.dispatcher import SyncJobDispatcher
from jobs_core.django.connections import is_in_memory, with_fresh_connections
from jobs_core.engine.registry import Registry, default_registry, packages_named
from jobs_core.engine.resources import Resources
from jobs_core.model.errors import RegistryError, SettingsError
from jobs_core.settings.settings import Settings

_OWN = ("DATABASE", "RESOURCES")
# Options of DATABASES that only Django understands.
_NOT_FOR_LIBPQ = {
    "assume_role", "isolation_level", "pool", "server_side_binding", "cursor_factory", "context", "prepare_threshold",
}  # fmt: skip


def load_settings() -> Settings:
    """Return the settings of this project.

    Raises:
        ImproperlyConfigured: one line for each that is unknown, missing or contradictory.
    """
    values: dict[str, Any] = {}
    for name, value in _given().items():
        if name in _OWN:
            continue
        field = name.lower()
        if field == "database_url" or field not in Settings.model_fields:
            accepted = ", ".join(sorted([*_OWN, *(each.upper() for each in Settings.model_fields)]))
            hint = (
                "the database is the one of DATABASES that DATABASE names"
                if field == "database_url"
                else accepted
            )
            raise ImproperlyConfigured(f"JOBS_CORE has no {name!r}: {hint}")
        values[field] = value
    try:
        settings = Settings.load(**values, database_url=database_url())
    except SettingsError as error:
        raise ImproperlyConfigured(str(error)) from None
    modules = dict.fromkeys([*packages_named(settings.jobs_modules), *_modules_of_apps()])
    return settings.model_copy(update={"jobs_modules": ",".join(modules)})


def registry(settings: Settings) -> Registry:
    """Return the project's job types; their handlers leave no database connection open. Raise
    ImproperlyConfigured.
    """
    try:
        return Registry([with_fresh_connections(each) for each in default_registry(settings.jobs_modules)])
    except RegistryError as error:
        raise ImproperlyConfigured(str(error)) from None


def database_alias() -> str:
    """Return which of DATABASES has the jobs. Raise ImproperlyConfigured if there is no such one."""
    alias = str(_given().get("DATABASE", DEFAULT_DB_ALIAS))
    if alias not in connections.settings:
        known = ", ".join(sorted(connections.settings))
        raise ImproperlyConfigured(f"JOBS_CORE['DATABASE'] is {alias!r}, but DATABASES has: {known}")
    return alias


def database_url() -> str:
    """Return the URL of Django's database of the jobs; during a test, of the test's database.

    Raises:
        ImproperlyConfigured: it is neither SQLite nor PostgreSQL.
    """
    return url_of(connections[database_alias()])


def url_of(connection: Any) -> str:
    """Return the URL of one of Django's connections. Raise ImproperlyConfigured unless it is SQLite or PostgreSQL."""
    given: dict[str, Any] = connection.settings_dict
    if connection.vendor == "sqlite":
        name = str(given["NAME"])
        if is_in_memory(connection):
            joint = "&" if "?" in name else "?"
            name = name if name.startswith("file:") else "file:jobs_core?mode=memory&cache=shared"
            return f"sqlite:///{name}{joint}uri=true"
        return f"sqlite:///{Path(name).resolve()}"
    if connection.vendor != "postgresql":
        raise ImproperlyConfigured(
            f"DATABASES[{connection.alias!r}] is {connection.vendor}, and jobs are kept in sqlite or postgresql"
        )
    options = {
        name: str(value) for name, value in given.get("OPTIONS", {}).items() if name not in _NOT_FOR_LIBPQ
    }
    host = given.get("HOST") or ""
    if host.startswith("/"):
        options["host"] = host  # the folder of a socket
    url = URL.create(
        "postgresql",
        username=given.get("USER") or None,
        password=given.get("PASSWORD") or None,
        host=None if host.startswith("/") else host or None,
        port=int(given["PORT"]) if given.get("PORT") else None,
        database=given["NAME"] or None,
        query=options,
    )
    return url.render_as_string(hide_password=False)


class Project:
    """One process's dispatcher and worker, on one event loop in a background thread."""

    def __init__(self) -> None:
        """Build the parts without connecting. Raise ImproperlyConfigured."""
        settings = load_settings()
        self.jobs: SyncJobDispatcher = SyncJobDispatcher(settings, registry=registry(settings))
        self._lock = threading.Lock()
        self._app: Starlette | None = None
        self._running: Any = None

    @property
    def settings(self) -> Settings:
        return self.jobs.dispatcher.settings

    @property
    def worker(self) -> Starlette:
        """Return the worker, which relays and sweeps from its first use on."""
        with self._lock:
            if self._app is None:
                app = create_app(dispatcher=self.jobs.dispatcher, resources=_resources())
                self._running = running(app)
                self.jobs.background.run(self._running.__aenter__())
                self._app = app
            return self._app

    def answers(self, path: str) -> bool:
        """Return whether the worker has an endpoint at ``path``."""
        scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []}
        return any(route.matches(scope)[0] is not Match.NONE for route in self.worker.routes)

    def wake(self) -> None:
        """Publish everything that is committed, in the background."""
        self.jobs.background.loop.call_soon_threadsafe(self.jobs.dispatcher.outbox.wake)

    def close(self) -> None:
        """Finish the work under way and stop the thread."""
        with self._lock:
            app, self._app = self._app, None
        if app is not None:
            self.jobs.background.run(self._running.__aexit__(None, None, None))
        self.jobs.close()


_lock = threading.RLock()
_project: Project | None = None


def current() -> Project:
    """Return this process's project, made anew where a test has changed the database. Raise ImproperlyConfigured."""
    global _project  # noqa: PLW0603 -- one for each process
    with _lock:
        if _project is not None and _project.settings.database_url != database_url():
            close()
        if _project is None:
            _project = Project()
        return _project


def close() -> None:
    """Finish the work under way and close all connections. The next use makes another project."""
    global _project
    with _lock:
        project, _project = _project, None
    if project is not None:
        project.close()


def _forget_after_fork() -> None:
    """Drop the project in a forked child, which has neither the parent's thread nor the use of its connections."""
    global _project, _lock
    _project, _lock = None, threading.RLock()


atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


def _given() -> dict[str, Any]:
    given = getattr(django_settings, "JOBS_CORE", {})
    if not isinstance(given, dict):
        raise ImproperlyConfigured(f"JOBS_CORE must be a dict, not a {type(given).__name__}")
    return given


def _modules_of_apps() -> list[str]:
    """Return the module ``jobs`` of each installed app that has one, and the job type that runs Django's own
    tasks.
    """
    found = [
        f"{each.name}.jobs" for each in apps.get_app_configs() if module_has_submodule(each.module, "jobs")
    ]
    return [*found, "jobs_core.django.task_job"]


def _resources() -> Resources:
    path = _given().get("RESOURCES")
    if path is None:
        return Resources()
    try:
        made = import_string(path)()
    except ImportError as error:
        raise ImproperlyConfigured(f"JOBS_CORE['RESOURCES'] is {path!r}: {error}") from error
    if not isinstance(made, Resources):
        raise ImproperlyConfigured(f"JOBS_CORE['RESOURCES'] {path!r} must answer Resources, not {made!r}")
    return made
