"""Clean-up: in batches, while others work, and never what is not finished."""

import asyncio
import os
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from jobs_core import JobStatus, JobValidationError
from jobs_core.database.tables import attempts, executions, outbox
from jobs_core.model.states import FINISHED
from jobs_core.storage.files import LocalStorage

OLD = timedelta(days=40)


def fill(connection: Connection, count: int, now: datetime) -> None:
    """So many old executions with an attempt each, every tenth of them not finished."""
    statuses = [*(sorted(FINISHED) * 3), JobStatus.PENDING]
    then = now - OLD
    for start in range(0, count, 10_000):
        numbers = range(start, min(count, start + 10_000))
        rows: list[dict[str, Any]] = [
            {
                "job_id": f"old-{number}",
                "job_type": "do-work",
                "status": statuses[number % 10],
                "payload": {},
                "options": {},
                "retry_count": 0,
                "max_retries": 3,
                "attempt_count": 1,
                "run": 0,
                "completed_at": None if statuses[number % 10] is JobStatus.PENDING else then,
                "created_at": then,
                "updated_at": then,
            }
            for number in numbers
        ]
        connection.execute(executions.insert(), rows)
        connection.execute(
            attempts.insert(),
            [
                {"job_id": row["job_id"], "number": 1, "outcome": "completed", "started_at": then}
                for row in rows
            ],
        )


def counts(connection: Connection) -> dict[str, int]:
    rows = connection.execute(
        select(executions.c.status, func.count())
        .where(executions.c.job_id.like("old-%"))
        .group_by(executions.c.status)
    )
    return {str(row[0]): int(row[1]) for row in rows}


async def clean_while_enqueueing(system: Any, count: int) -> tuple[Any, int]:
    """Clean up ``count`` executions while jobs are enqueued; the record, and how many jobs were enqueued."""
    database, now = system.dispatcher.database, system.dispatcher.clock.now()
    await database.write(lambda connection: fill(connection, count, now))
    done = asyncio.Event()
    enqueued = 0

    async def keep_enqueueing() -> None:
        nonlocal enqueued
        while not done.is_set():
            await system.dispatcher.enqueue("create-notification", NOTIFICATION, delay=3600)
            enqueued += 1

    others = asyncio.create_task(keep_enqueueing())
    record = await system.run("cleanup-old-data", {"retention": 30})
    done.set()
    await others
    return record, enqueued


NOTIFICATION = {"userId": 1, "type": "a", "title": "t", "message": "m"}


@pytest.mark.parametrize("count", [1_500, pytest.param(100_000, marks=pytest.mark.slow)])
async def test_old_executions_go_in_batches_while_others_enqueue_and_nothing_unfinished_is_touched(
    system: Any, count: int
) -> None:
    record, enqueued = await clean_while_enqueueing(system, count)
    assert record.status is JobStatus.COMPLETED
    assert record.result["executions"] == count * 9 // 10
    assert record.result["isComplete"] is True
    assert enqueued > 0
    left = await system.dispatcher.database.read(counts)
    assert left == {"pending": count // 10}
    assert (
        await system.dispatcher.database.read(
            lambda connection: connection.execute(select(func.count()).select_from(attempts)).scalar_one()
        )
        == count // 10 + 1
    )  # and the clean-up's own
    assert (await system.dispatcher.stats())[0].job_type == "cleanup-old-data"


async def test_what_ended_lately_and_what_still_has_something_to_publish_stays(system: Any) -> None:
    database, now = system.dispatcher.database, system.dispatcher.clock.now()

    def prepare(connection: Connection) -> None:
        fill(connection, 3, now)
        lately = (
            executions.update()
            .where(executions.c.job_id == "old-0")
            .values(completed_at=now - timedelta(days=29))
        )
        connection.execute(lately)
        row = {
            "job_id": "old-1",
            "deduplication_id": "x",
            "destination": "https://example.com",
            "headers": {},
            "body": "",
            "locked_until": now + timedelta(days=1),
            "failures": 0,
            "created_at": now,
        }
        connection.execute(outbox.insert(), row)

    await database.write(prepare)
    record = await system.run("cleanup-old-data", {"retention": 30})
    assert record.result["executions"] == 1
    left = await database.read(
        lambda connection: (
            connection.execute(
                select(executions.c.job_id)
                .where(executions.c.job_id.like("old-%"))
                .order_by(executions.c.job_id)
            )
            .scalars()
            .all()
        )
    )
    assert left == ["old-0", "old-1"]


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_old_files_go_and_new_ones_stay(system: Any, tmp_path: Any) -> None:
    storage = LocalStorage(tmp_path / "files")
    now = system.dispatcher.clock.now()
    for name, age in (("exports/old.csv", 31), ("exports/new.csv", 29)):
        source = storage.temporary_path(".csv")
        await storage.save(name, source, now=now - timedelta(days=age))
    forgotten = storage.temporary_path(".csv")
    os.utime(forgotten, (0, 0))
    record = await system.run("cleanup-old-data", {"retention": 30})
    assert (record.result["files"], record.result["temporaryFiles"]) == (1, 1)
    assert [file.name for file in await storage.files()] == ["exports/new.csv"]


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_read_notifications_go_unread_ones_stay(system: Any) -> None:
    for user in (1, 2):
        await system.run("create-notification", NOTIFICATION | {"userId": user})
    await system.client.post("/api/notifications/read", json={"userId": 1})
    await system.harness.advance(timedelta(days=31))
    record = await system.run("cleanup-old-data", {"retention": 30})
    assert record.result["notifications"] == 1
    listed = (await system.client.get("/api/notifications", params={"userId": 2})).json()
    assert listed["unreadCount"] == 1


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_retention_of_nothing_is_refused(system: Any) -> None:
    with pytest.raises(JobValidationError, match="retention"):
        await system.dispatcher.enqueue("cleanup-old-data", {"retention": 0})
