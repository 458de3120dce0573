"""The database's schema, step by step (Alembic). ``upgrade`` and ``downgrade`` need no alembic.ini."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from jobs_core.database import driver_url

# Our own, so that an application's Alembic history in the same database stays apart.
VERSION_TABLE = "jobs_core_alembic_version"


def upgrade(database_url: str, revision: str = "head") -> None:
    """Bring the schema up to ``revision``. Blocking."""
    command.upgrade(_config(database_url), revision)


def downgrade(database_url: str, revision: str) -> None:
    """Bring the schema down to ``revision``; ``base`` removes everything. Blocking."""
    command.downgrade(_config(database_url), revision)


def head() -> str:
    """The newest revision."""
    revision = ScriptDirectory.from_config(_config("sqlite://")).get_current_head()
    assert revision is not None
    return revision


def current(database_url: str) -> str | None:
    """The revision that the database is at, ``None`` before the first migration. Blocking."""
    engine = create_engine(driver_url(database_url))
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
            return context.get_current_revision()
    finally:
        engine.dispose()


def _config(database_url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["database_url"] = driver_url(database_url)
    return config
