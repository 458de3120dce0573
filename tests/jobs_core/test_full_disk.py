"""A database whose disk is full: it reads and does not write, and is called that rather than away."""

from collections.abc import Callable
from typing import Any

import psycopg.errors
import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from jobs_core import JobStatus
from jobs_core.database.connections import is_lost, is_unavailable, why_unavailable

_LONG = "x" * 1_000_000


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


def _fill(app: Any) -> Callable[[], None]:
    """Let the file grow no more; calling the answer makes room."""
    engine = app.dispatcher.database.engine

    def stop_growing(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # SQLite takes the file's present size

    engine.dispose()
    event.listen(engine, "connect", stop_growing)

    def make_room() -> None:
        event.remove(engine, "connect", stop_growing)
        engine.dispose()

    return make_room


async def test_a_delivery_that_meets_a_full_disk_is_told_so_and_comes_again(
    app: Any, handlers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    messages = [await app.enqueue(retries=0) for _ in range(100)]
    make_room = _fill(app)
    refused = await app.deliver(messages[0])
    for message in messages[1:]:  # attempts fill the room that is left in the pages of the file
        refused = await app.deliver(message)
        assert (await app.client.get("/readyz")).status_code == 200  # it still reads
        if refused.status_code != 200:
            break
    assert (refused.status_code, refused.json()["error"]) == (503, "the database's disk is full")
    assert refused.headers["retry-after"] == "10"
    assert (await app.deliver(messages[-1])).status_code == 503
    told = [
        record.getMessage() for record in caplog.records if record.name == "jobs_core.database.connections"
    ]
    assert told == ["the database's disk is full: database or disk is full"]
    make_room()
    assert (await app.deliver(messages[-1])).json()["status"] == "completed"
    assert "the database answers again" in caplog.text


async def test_a_handlers_own_write_that_meets_a_full_disk_fails_its_attempt(app: Any, handlers: Any) -> None:
    message = await app.enqueue(retries=1)
    for sql in (f"CREATE TABLE spare AS SELECT '{_LONG[:200_000]}'", "DROP TABLE spare"):
        await app.dispatcher.database.write(lambda connection, sql=sql: connection.exec_driver_sql(sql))

    async def write_much(_: Any, job: Any) -> None:
        job.on_completion(
            lambda connection: connection.exec_driver_sql(f"CREATE TABLE much AS SELECT '{_LONG}'")
        )

    handlers.behaviour = write_much
    make_room = _fill(app)
    assert (await app.deliver(message)).status_code == 500
    make_room()
    record = await app.record(message)
    assert (record.status, record.retry_count) == (JobStatus.PENDING, 1)
    assert "full" in (record.error or "")


def test_postgresqls_full_disk_is_one_too() -> None:
    error = OperationalError("INSERT", {}, psycopg.errors.DiskFull("could not extend file"))
    assert is_unavailable(error)
    assert not is_lost(error)
    assert why_unavailable(error) == "the database's disk is full"
    away = OperationalError("INSERT", {}, psycopg.errors.AdminShutdown("terminating connection"))
    assert why_unavailable(away) == "the database does not answer"
