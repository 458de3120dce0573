"""Transactions that share a commit, statements that many jobs share, and connections that die."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, func, literal, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from jobs_core import JobDispatcher, JobRequest, JobStatus, ManualClock
from jobs_core.database import job_attempts, new_jobs, outbox_rows
from jobs_core.database.connections import Database
from jobs_core.database.job_attempts import Claim, Ended
from jobs_core.database.new_jobs import NewJob
from jobs_core.database.statements import ADD_MESSAGE
from jobs_core.database.tables import executions as jobs
from jobs_core.model.backoff import ANSWER_MARGIN
from jobs_core.model.outcome import Finish
from jobs_core.model.states import AttemptOutcome, Event
from tests.bounds import HANG_SECONDS

LEASE = timedelta(seconds=40)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database(database_url)
    yield made
    await made.close()


@pytest.fixture
async def job_ids(dispatcher: JobDispatcher) -> Sequence[str]:
    """Three pending jobs."""
    return await dispatcher.enqueue_many([JobRequest("do-work", {"count": count}) for count in range(3)])


def claim(job_id: str, clock: ManualClock, message_id: str = "msg_a") -> Claim:
    return Claim(job_id, message_id, clock.now(), clock.now() + LEASE)


# --- what callers do jointly


async def test_what_is_written_jointly_is_done_once_for_all_in_the_order_it_came(database: Database) -> None:
    calls: list[Sequence[int]] = []

    def double(connection: Connection, numbers: Sequence[int]) -> list[int]:
        calls.append(numbers)
        return [int(connection.execute(select(literal(number * 2))).scalar_one()) for number in numbers]

    answers = await asyncio.gather(*(database.write_jointly(double, number) for number in range(5)))
    assert answers == [0, 2, 4, 6, 8]
    assert calls == [[0, 1, 2, 3, 4]]


async def test_a_part_that_fails_fails_alone_and_the_others_of_its_group_are_committed(
    dispatcher: JobDispatcher, clock: ManualClock
) -> None:
    good, bad = (
        dispatcher.composer.prepare(JobRequest("do-work", {"note": note})) for note in ("good", "bad")
    )
    without_zone = NewJob(
        bad.job_id, bad.job_type, bad.payload, bad.options, 3, created_at=clock.now().replace(tzinfo=None)
    )
    answers = await asyncio.gather(
        *(
            dispatcher.database.write_jointly(new_jobs.insert_jointly, new_jobs.NewJobs([job], clock.now()))
            for job in (good, without_zone)
        ),
        return_exceptions=True,
    )
    assert answers[0] == [good.job_id]
    assert isinstance(answers[1], Exception)
    assert [record.job_id for record in (await dispatcher.list()).jobs] == [good.job_id]


async def test_jobs_with_one_idempotency_key_that_are_recorded_together_are_one(
    dispatcher: JobDispatcher, clock: ManualClock
) -> None:
    def prepare(note: str) -> NewJob:
        return dispatcher.composer.prepare(JobRequest("do-work", {"note": note}, idempotency_key="k"))

    wanted = [
        new_jobs.NewJobs([prepare("first")], clock.now()),
        new_jobs.NewJobs([prepare("x")], clock.now()),
    ]
    first, second = await dispatcher.database.write(
        lambda connection: new_jobs.insert_jointly(connection, wanted)
    )
    assert first == second == [wanted[0].jobs[0].job_id]
    assert len((await dispatcher.list()).jobs) == 1


async def test_of_two_deliveries_of_one_job_in_one_group_the_first_has_it(
    dispatcher: JobDispatcher, job_ids: Sequence[str], clock: ManualClock
) -> None:
    one, other, _ = job_ids
    wishes = [claim(one, clock), claim(one, clock, "msg_b"), claim(other, clock)]
    claimed = await dispatcher.database.write(lambda connection: job_attempts.claim(connection, wishes))
    assert [getattr(got, "number", None) for got in claimed] == [1, None, 1]
    record = await dispatcher.get(one)
    assert (record.status, record.lease_until) == (JobStatus.PROCESSING, clock.now() + LEASE)
    assert [attempt.message_id for attempt in record.attempts] == ["msg_a"]


async def test_an_attempt_and_its_successor_may_end_in_one_group(
    dispatcher: JobDispatcher, job_ids: Sequence[str], clock: ManualClock
) -> None:
    job_id = job_ids[0]
    await dispatcher.database.write(lambda connection: job_attempts.claim(connection, [claim(job_id, clock)]))
    clock.advance(LEASE)
    await dispatcher.database.write(lambda connection: job_attempts.claim(connection, [claim(job_id, clock)]))
    done = Finish(Event.COMPLETE, AttemptOutcome.COMPLETED, 200, result="the second's")
    broken = Finish(Event.RETRY, AttemptOutcome.RETRY, 500, error="the first's")
    ended = [Ended(job_id, 1, broken, clock.now()), Ended(job_id, 2, done, clock.now())]
    kept = await dispatcher.database.write(lambda connection: job_attempts.finish(connection, ended))
    assert kept == [False, True]
    record = await dispatcher.get(job_id)
    assert (record.status, record.result, record.error) == (JobStatus.COMPLETED, "the second's", None)
    assert [attempt.outcome for attempt in record.attempts] == [AttemptOutcome.LOST, AttemptOutcome.COMPLETED]


async def test_every_job_of_a_group_has_the_lease_that_its_own_timeout_asks_for(
    app: Any, handlers: Any, dispatcher: JobDispatcher, clock: ManualClock
) -> None:
    leases: dict[str, timedelta] = {}
    everyone = asyncio.Barrier(2)

    async def look(_: Any, job: Any) -> None:
        await everyone.wait()
        record = await dispatcher.get(job.id)
        assert record.lease_until is not None
        leases[record.payload["note"]] = record.lease_until - clock.now()

    handlers.behaviour = look
    messages = [await app.enqueue("as its type says"), await app.enqueue("its own", timeout=5)]
    answers = await asyncio.gather(*(app.deliver(message) for message in messages))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert leases == {
        "as its type says": timedelta(seconds=30) + ANSWER_MARGIN,
        "its own": timedelta(seconds=5) + ANSWER_MARGIN,
    }


# --- statements over many rows


@pytest.mark.parametrize("database_kind", ["sqlite", "postgresql", "psycopg 2"])
async def test_every_kind_of_value_comes_back_as_it_was_given(
    dispatcher: JobDispatcher, handlers: Any, app: Any
) -> None:
    odd = "äöü \\ \" ' {} [] , null NULL \n"
    results = [
        [["a list", 1], ["of lists", 2]],
        {"text": odd, "nothing": None, "list": [1, 2.5, "x"], "nul": "\0"},
        odd,
        None,
        [],
        7,
    ]
    subjects: list[int | str | None] = [7, "7", '"7"', "a,b{}\\", None, "NULL"]

    async def answer(payload: Any, _: Any) -> Any:
        return results[payload.count]

    handlers.behaviour = answer
    await dispatcher.enqueue_many(
        [
            JobRequest(
                "do-work",
                {"note": odd[:20], "count": place},
                user_id=subject,
                idempotency_key=f"NULL,{place}",
            )
            for place, subject in enumerate(subjects)
        ]
    )
    answers = await asyncio.gather(*map(app.deliver, app.qstash.messages))
    assert {answer.status_code for answer in answers} == {200}
    records = (await dispatcher.list()).jobs[::-1]
    assert [record.user_id for record in records] == subjects
    assert [record.idempotency_key for record in records] == [f"NULL,{place}" for place in range(6)]
    assert [record.payload["note"] for record in records] == [odd[:20]] * len(subjects)
    assert [record.result for record in records] == results


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_any_number_of_jobs_is_found_by_their_keys_in_statements_of_few_parameters(
    dispatcher: JobDispatcher, clock: ManualClock
) -> None:
    wanted = [JobRequest("do-work", {"count": place}, idempotency_key=str(place)) for place in range(1_500)]
    jobs = [dispatcher.composer.prepare(request) for request in [*wanted, *wanted[:1]]]

    def write(connection: Connection) -> Sequence[str]:
        # What PostgreSQL takes, and SQLite as it is often built, in small.
        limited: Any = connection.connection.dbapi_connection
        former = limited.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 2_500)
        try:
            return new_jobs.insert_jobs(connection, jobs, locked_until=clock.now())
        finally:
            limited.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, former)

    first = await dispatcher.database.write(write)
    assert first == [*(job.job_id for job in jobs[:-1]), jobs[0].job_id]
    jobs = [dispatcher.composer.prepare(request) for request in [*wanted, *wanted[:1]]]
    assert await dispatcher.database.write(write) == first


async def test_a_statements_error_is_sqlalchemys(dispatcher: JobDispatcher, clock: ManualClock) -> None:
    def write(connection: Connection) -> None:
        job = dispatcher.composer.prepare(JobRequest("do-work", {}))
        assert job.message is not None
        row = outbox_rows.outbox_row(job.message, created_at=clock.now(), locked_until=clock.now())
        new_jobs.add_job(connection, job, message_id=None)
        ADD_MESSAGE.execute(connection, [row, row])

    with pytest.raises(IntegrityError) as caught:
        await dispatcher.database.write(write)
    assert "payload" not in str(caught.value)


@pytest.mark.parametrize("database_kind", ["postgresql", "psycopg 2"])
async def test_text_longer_than_its_column_is_refused_and_not_cut_off(
    dispatcher: JobDispatcher, job_ids: Sequence[str], clock: ManualClock
) -> None:
    wish = claim(job_ids[0], clock, message_id="m" * 256)
    with pytest.raises(DBAPIError, match="too long"):
        await dispatcher.database.write(lambda connection: job_attempts.claim(connection, [wish]))


# --- connections


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_connections_that_died_while_they_waited_are_replaced_unnoticed(
    database: Database, database_url: str
) -> None:
    def pid(connection: Connection) -> int:
        return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())

    before = {await database.write(pid), *await asyncio.gather(*(database.read(pid) for _ in range(3)))}
    await _end_all(database_url)
    after = {await database.write(pid), *await asyncio.gather(*(database.read(pid) for _ in range(3)))}
    assert before.isdisjoint(after)


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_a_statement_that_finds_its_connection_dead_is_done_once_more(
    dispatcher: JobDispatcher, database_url: str
) -> None:
    first = await dispatcher.enqueue("do-work", {})
    await _end_all(database_url)
    second = await dispatcher.enqueue("do-work", {})
    assert [record.job_id for record in (await dispatcher.list()).jobs] == [second, first]


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_a_commit_of_which_nobody_knows_whether_it_happened_is_not_repeated(
    database: Database, database_url: str
) -> None:
    calls = 0

    def die_before_the_commit(connection: Connection) -> None:
        nonlocal calls
        calls += 1
        connection.execute(select(func.count()).select_from(jobs))
        _end_all_now(database_url)

    with pytest.raises(DBAPIError):
        await database.write(die_before_the_commit)
    assert calls == 1


@pytest.mark.parametrize("database_kind", ["postgresql", "psycopg 2"])
async def test_who_loses_a_deadlock_tries_again(dispatcher: JobDispatcher, job_ids: Sequence[str]) -> None:
    has_one, has_other = threading.Event(), threading.Event()

    def touch(mine: str, theirs: str, has_mine: threading.Event, has_theirs: threading.Event) -> Any:
        def work(connection: Connection) -> None:
            connection.execute(text("SET LOCAL deadlock_timeout = '20ms'"))
            for job_id in (mine, theirs):
                connection.execute(update(jobs).where(jobs.c.job_id == job_id).values(run=jobs.c.run + 1))
                has_mine.set()
                assert has_theirs.wait(HANG_SECONDS)

        return work

    one, other, _ = job_ids
    first = asyncio.create_task(dispatcher.database.write(touch(one, other, has_one, has_other)))
    await asyncio.to_thread(has_one.wait, 10)  # so that they do not share a transaction
    await dispatcher.database.write(touch(other, one, has_other, has_one))
    await first
    assert [(await dispatcher.get(job_id)).run for job_id in job_ids] == [2, 2, 0]


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_a_group_of_claims_waits_for_one_job_without_holding_a_later_one(
    dispatcher: JobDispatcher, job_ids: Sequence[str], clock: ManualClock, database_url: str
) -> None:
    """So whoever has noted the first job's message can go on to the second's: there is no deadlock."""
    one, other, _ = job_ids
    with psycopg.connect(database_url) as holder, psycopg.connect(database_url, autocommit=True) as watcher:
        lock = "SELECT FROM job_executions WHERE job_id = %s FOR UPDATE NOWAIT"
        holder.execute(lock, [one])
        wishes = [claim(other, clock), claim(one, clock)]
        claiming = asyncio.create_task(
            dispatcher.database.write(lambda connection: job_attempts.claim(connection, wishes))
        )
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while watcher.execute(waiting).fetchone() == (0,):
            await asyncio.sleep(0)
        holder.execute(lock, [other])
        holder.commit()
        assert all(await claiming)


async def _end_all(database_url: str) -> None:
    await asyncio.to_thread(_end_all_now, database_url)


def _end_all_now(database_url: str) -> None:
    """End all connections, as a restart of the server does."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
