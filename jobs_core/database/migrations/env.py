"""Run by Alembic for every command."""

from alembic import context
from sqlalchemy import create_engine, pool

from jobs_core.database.migrations import VERSION_TABLE
from jobs_core.database.tables import JobsModel


def _run() -> None:
    engine = create_engine(context.config.attributes["database_url"], poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=JobsModel.metadata,
            version_table=VERSION_TABLE,
            render_as_batch=True,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


_run()
