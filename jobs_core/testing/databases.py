"""A database for one test."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine

from jobs_core.database import driver_url
from jobs_core.tables import JobsModel


@contextmanager
def temporary_database() -> Iterator[str]:
    """The URL of an empty SQLite database with all tables, which is gone afterwards. Takes a few milliseconds.

    The tables are made from the models, not by the migrations; the package's own tests hold the two together.
    """
    with tempfile.TemporaryDirectory(prefix="jobs_core-") as folder:
        url = f"sqlite:///{Path(folder) / 'jobs.db'}"
        engine = create_engine(driver_url(url))
        JobsModel.metadata.create_all(engine)
        engine.dispose()
        yield url
