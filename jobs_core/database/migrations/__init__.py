"""The database's schema, step by step (Alembic). ``upgrade`` and ``downgrade`` need no alembic.ini.

Alembic is slow to import, and most programs never use it: it is imported by the first call.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import create_engine

from jobs_core.database.connections import driver_url

if TYPE_CHECKING:
    from alembic.config import Config

# Our own, so that an application's Alembic history in the same database stays apart.
VERSION_TABLE = "jobs_core_alembic_version"


def upgrade(database_url: str, revision: str = "head") -> None:
    """Migrate the schema up to ``revision``. Blocking."""
    from alembic import command

    command.upgrade(_config(database_url), revision)


def downgrade(database_url: str, revision: str) -> None:
    """Migrate the schema down to ``revision``; ``base`` removes everything. Blocking."""
    from alembic import command

    command.downgrade(_config(database_url), revision)


def head() -> str:
    """Return the newest revision."""
    from alembic.script import ScriptDirectory

    revision = ScriptDirectory.from_config(_config("sqlite://")).get_current_head()
    assert revision is not None
    return revision


def revisions() -> list[str]:
    """Return all revisions, the oldest first."""
    from alembic.script import ScriptDirectory

    steps = ScriptDirectory.from_config(_config("sqlite://")).walk_revisions()
    return [step.revision for step in steps][::-1]


def current(database_url: str) -> str | None:
    """Return the database's revision, ``None`` before the first migration. Blocking."""
    from alembic.runtime.migration import MigrationContext

    engine = create_engine(driver_url(database_url))
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
            return context.get_current_revision()
    finally:
        engine.dispose()


def _config(database_url: str) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["database_url"] = driver_url(database_url)
    return config
