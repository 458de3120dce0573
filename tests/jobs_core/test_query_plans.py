"""Queries over many records use an index on PostgreSQL; ``scripts/bench`` times the same ones."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

from jobs_core.database.compiled import Prepared
from jobs_core.database.connections import driver_url
from jobs_core.database.statements import (
    CLAIM_AND_ADD_FIRST_ATTEMPT,
    FINISH_AND_END_ATTEMPT,
    FORGET_AND_NOTE_MESSAGE,
)
from scripts.benchmarks.job_queries import QUESTIONS, fill, plans
from tests.postgres import Postgres

_JOBS = 20_000  # enough for the planner to choose as it does for a hundred thousand


@pytest.fixture(scope="module")
def engine(postgres: Postgres, postgres_template: str) -> Iterator[Engine]:
    """A migrated database with a week of jobs."""
    with postgres.database(template=postgres_template) as url:
        made = create_engine(driver_url(url))
        fill(made, _JOBS)
        yield made
        made.dispose()


@pytest.mark.parametrize("question", sorted(QUESTIONS.keys() - {"stats, everything"}))
def test_no_question_reads_the_whole_table(engine: Engine, question: str) -> None:
    found = plans(engine, QUESTIONS[question])
    assert found
    for plan in found:
        assert "Seq Scan on job_executions" not in plan, plan
        assert "Seq Scan on job_attempts" not in plan, plan
        assert "Index" in plan


_NOW = datetime(2026, 6, 1, tzinfo=UTC)
_CLAIM = {"of_job": "x", "delivered_as": "msg", "now": _NOW, "until": _NOW}
_END = {"of_job": "x", "of_number": 1, "ended_as": "completed", "answered": 200, "now": _NOW} | dict.fromkeys(
    ("what_failed", "where_failed", "again_at", "returned")
)
_PUBLISHED = {"key": "x", "of_job": "x", "published_as": "msg"}


@pytest.mark.parametrize(
    ("step", "row"),
    [
        pytest.param(CLAIM_AND_ADD_FIRST_ATTEMPT, _CLAIM, id="claims"),
        pytest.param(FORGET_AND_NOTE_MESSAGE, _PUBLISHED, id="publishes"),
        *(pytest.param(one, _END, id=f"ends, {event}") for event, one in FINISH_AND_END_ATTEMPT.items()),
    ],
)
def test_a_group_finds_its_jobs_by_their_ids(engine: Engine, step: Prepared, row: dict[str, Any]) -> None:
    """And does not read all that are pending, which statistics from before a burst make look like next to none."""
    compiled = step._for(engine.dialect)
    (parameters,) = compiled.parameters([row] * 50)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN {compiled.text}", parameters)
        plan = "\n".join(row[0] for row in rows)
    assert "uq_job_executions_job_id" in plan
    assert "status_created_at" not in plan
    assert "Seq Scan on job_executions" not in plan
    assert "Seq Scan on job_attempts" not in plan
