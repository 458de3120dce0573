"""A database for one test."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine

from jobs_core.billing import tables as billing_tables
from jobs_core.database import tables
from jobs_core.database.connections import driver_url
from jobs_core.emails import tables as email_tables
from jobs_core.notifications import tables as notification_tables
from jobs_core.webhooks import tables as webhook_tables

# A table is known once its module is imported.
_MODULES = (tables, billing_tables, email_tables, notification_tables, webhook_tables)


@contextmanager
def temporary_database() -> Iterator[str]:
    """Yield the URL of an empty SQLite database with all tables, which is removed afterwards. Takes a few
    milliseconds.

    The tables are made from the models, not by the migrations; the package's own tests compare the two.
    """
    with tempfile.TemporaryDirectory(prefix="jobs_core-") as folder:
        url = f"sqlite:///{Path(folder) / 'jobs.db'}"
        engine = create_engine(driver_url(url))
        tables.JobsModel.metadata.create_all(engine)
        engine.dispose()
        yield url
