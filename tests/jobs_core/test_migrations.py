"""The schema: the migrations make what the models say, and lead back."""

import sys
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from jobs_core import Settings
from jobs_core.database import migrations
from jobs_core.database.connections import driver_url
from jobs_core.database.tables import JobsModel


def test_models_and_migrations_agree(database_url: str) -> None:
    engine = create_engine(driver_url(database_url))
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "version_table": migrations.VERSION_TABLE,
                "include_name": lambda name, kind, _: kind != "table" or name in JobsModel.metadata.tables,
            },
        )
        assert compare_metadata(context, JobsModel.metadata) == []
    engine.dispose()


def test_migrations_go_up_and_down_with_rows_in_the_tables(new_database: str) -> None:
    assert migrations.current(new_database) is None
    migrations.upgrade(new_database)
    assert migrations.current(new_database) == migrations.head()
    engine = create_engine(driver_url(new_database))
    with engine.begin() as connection:
        for statement in _ROWS:
            connection.execute(text(statement))
    migrations.upgrade(new_database)  # nothing to do, nothing lost
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM job_attempts")).scalar() == 1
    migrations.downgrade(new_database, "base")
    assert set(inspect(engine).get_table_names()) <= {migrations.VERSION_TABLE}
    migrations.upgrade(new_database)
    assert migrations.current(new_database) == migrations.head()
    engine.dispose()


def test_an_applications_tables_in_the_same_database_are_left_alone(new_database: str) -> None:
    engine = create_engine(driver_url(new_database))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('theirs')"))
    migrations.upgrade(new_database)
    migrations.downgrade(new_database, "base")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "theirs"
    engine.dispose()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://u:p@h/d", "postgresql+psycopg://u:***@h/d"),
        ("postgres://u:p@h/d?sslmode=require", "postgresql+psycopg://u:***@h/d?sslmode=require"),
        ("postgresql+asyncpg://h/d", "postgresql+psycopg://h/d"),
        ("postgresql+psycopg2://h/d", "postgresql+psycopg2://h/d"),
        ("sqlite:///jobs.db", "sqlite:///jobs.db"),
        ("sqlite+aiosqlite:////a/b.db", "sqlite:////a/b.db"),
    ],
)
def test_database_urls_get_the_driver_we_use(given: str, expected: str) -> None:
    assert str(driver_url(given)) == expected


def test_psycopg_2_is_used_where_psycopg_3_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert driver_url("postgresql://h/d").drivername == "postgresql+psycopg2"
    assert Settings(database_url="postgresql://h/d").database_url == "postgresql://h/d"
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(ValueError, match="PostgreSQL needs the extra 'postgres'"):
        Settings(database_url="postgresql://h/d")


_ROWS: tuple[Any, ...] = (
    """INSERT INTO job_executions (id, job_id, job_type, status, payload, options, retry_count, max_retries,
       attempt_count, run, created_at, updated_at)
       VALUES (1, 'j', 't', 'pending', '{}', '{}', 0, 3, 1, 0, '2026-01-01 00:00:00', '2026-01-01 00:00:00')""",
    """INSERT INTO job_attempts (id, job_id, number, outcome, started_at)
       VALUES (1, 'j', 1, 'running', '2026-01-01 00:00:00')""",
    """INSERT INTO job_outbox (id, job_id, deduplication_id, destination, headers, body, locked_until, failures,
       created_at) VALUES (1, 'j', 'j', 'http://x', '{}', '', '2026-01-01 00:00:00', 0, '2026-01-01 00:00:00')""",
    """INSERT INTO billing_customers (id, customer_id, contact_rank, contact_event_id, owner_rank, owner_event_id,
       created_at, updated_at) VALUES (1, 'c', 0, '', 0, '', '2026-01-01 00:00:00', '2026-01-01 00:00:00')""",
    """INSERT INTO billing_subscriptions (id, subscription_id, status, cancel_at_period_end, state_rank,
       state_event_id, payment_rank, payment_event_id, created_at, updated_at)
       VALUES (1, 's', 'active', false, 0, '', 0, '', '2026-01-01 00:00:00', '2026-01-01 00:00:00')""",
    """INSERT INTO notifications (id, notification_id, user_id, type, category, priority, title, message, created_at)
       VALUES (1, 'n', '7', 't', 't', 'info', 'T', 'M', '2026-01-01 00:00:00')""",
    """INSERT INTO webhook_events (id, source, event_id, event, body_digest, job_id, received_at)
       VALUES (1, 'stripe', 'e', 't', 'd', 'j', '2026-01-01 00:00:00')""",
    """INSERT INTO email_deliveries (id, provider_id, recipients, status, status_at, created_at)
       VALUES (1, 'p', '[]', 'sent', '2026-01-01 00:00:00', '2026-01-01 00:00:00')""",
)
