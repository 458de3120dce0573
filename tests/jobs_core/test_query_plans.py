"""What is asked of many records on PostgreSQL is answered from an index; ``scripts/bench`` times the same."""

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Engine, create_engine

from jobs_core.database import driver_url
from scripts.benchmarks.job_queries import QUESTIONS, fill, plans

_JOBS = 20_000  # enough for the planner to choose as it does for a hundred thousand


@pytest.fixture(scope="module")
def engine(postgres: str) -> Iterator[Engine]:
    """A migrated database with a week of jobs."""
    with psycopg.connect(postgres.format(database="postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE many_jobs TEMPLATE template_jobs")
    made = create_engine(driver_url(postgres.format(database="many_jobs")))
    fill(made, _JOBS)
    yield made
    made.dispose()
    with psycopg.connect(postgres.format(database="postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE many_jobs WITH (FORCE)")


@pytest.mark.parametrize("question", sorted(QUESTIONS.keys() - {"stats, everything"}))
def test_no_question_reads_the_whole_table(engine: Engine, question: str) -> None:
    found = plans(engine, QUESTIONS[question])
    assert found
    for plan in found:
        assert "Seq Scan on job_executions" not in plan, plan
        assert "Seq Scan on job_attempts" not in plan, plan
        assert "Index" in plan
