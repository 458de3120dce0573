"""The migrations' one operation: a revision of jobs_core's own schema, so that its DDL exists once."""

from typing import Any

from django.db import router
from django.db.migrations.operations.base import Operation

from jobs_core.database import migrations
from jobs_core.django import project


class Revision(Operation):
    """Migrates the schema of a database up to a revision, unless it is there already.

    It runs on a connection of its own, so its migration has ``atomic = False``.
    """

    reduces_to_sql = False
    reversible = True

    def __init__(self, revision: str) -> None:
        self.revision = revision

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return the operation as Django writes it into a file."""
        return type(self).__name__, [self.revision], {}

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Change nothing: the models are declared beside it."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Upgrade. Raise ImproperlyConfigured, or the database's errors."""
        url = _url(schema_editor.connection, app_label)
        if url is None:
            return
        known, at = migrations.revisions(), migrations.current(url)
        if at is None or known.index(at) < known.index(self.revision):
            migrations.upgrade(url, self.revision)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Downgrade to the revision before."""
        url = _url(schema_editor.connection, app_label)
        if url is not None:
            before = ["base", *migrations.revisions()]
            migrations.downgrade(url, before[before.index(self.revision) - 1])

    def describe(self) -> str:
        """Return the line of ``migrate --plan``."""
        return f"Bring the jobs' tables to revision {self.revision}"


def _url(connection: Any, app_label: str) -> str | None:
    """Return the database that is migrated; ``None`` if it is not to have the tables.

    As with any app, each of DATABASES has them, unless a router says no: Django's test runner reads them all.
    """
    if not router.allow_migrate(connection.alias, app_label):
        return None
    if connection.alias != project.database_alias() and connection.vendor not in {"sqlite", "postgresql"}:
        return None
    return project.url_of(connection)
