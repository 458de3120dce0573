"""One delivery: claimed once, run once, recorded, and answered as QStash understands it."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from jobs_core import (
    AttemptOutcome,
    Job,
    JobDispatcher,
    JobFilter,
    JobStatus,
    PermanentJobError,
    RetryLater,
)
from jobs_core.model.outcome import NON_RETRYABLE_STATUS


async def test_a_delivered_job_runs_and_is_completed(app: Any, handlers: Any, clock: Any) -> None:
    message = await app.enqueue("hello", user_id=7)
    clock.advance(timedelta(seconds=1))
    answer = await app.deliver(message)

    assert answer.status_code == 200
    ((payload, job),) = handlers.calls
    assert (payload.note, job.attempt_number, job.is_last_attempt) == ("hello", 1, False)
    assert job.metadata.user_id == 7
    record = await app.record(message)
    assert (record.status, record.result, record.error) == (JobStatus.COMPLETED, {"done": "hello"}, None)
    assert record.started_at == record.completed_at == clock.now()
    (attempt,) = record.attempts
    assert (attempt.number, attempt.outcome, attempt.status_code) == (1, AttemptOutcome.COMPLETED, 200)
    assert attempt.message_id == message.id


async def test_a_sync_handler_runs_in_a_thread(app: Any) -> None:
    message = await app.enqueue("b", job_type="block")
    assert (await app.deliver(message)).status_code == 200
    assert (await app.record(message)).result == {"blocked": "b"}


async def test_a_redelivered_finished_job_is_answered_200_and_does_not_run_again(
    app: Any, handlers: Any
) -> None:
    message = await app.enqueue()
    await app.deliver(message)
    assert (await app.deliver(message, retried=1)).status_code == 200
    assert len(handlers.calls) == 1
    assert len((await app.record(message)).attempts) == 1


async def test_the_first_failed_attempt_leaves_the_job_pending_with_its_error_and_next_attempt(
    app: Any, handlers: Any, clock: Any
) -> None:
    async def fail(*_: Any) -> None:
        raise ValueError("no luck")

    handlers.behaviour = fail
    message = await app.enqueue()
    assert (await app.deliver(message)).status_code == 500
    record = await app.record(message)
    assert (record.status, record.retry_count, record.error) == (JobStatus.PENDING, 1, "ValueError: no luck")
    assert record.next_attempt_at is not None
    assert (record.next_attempt_at - clock.now()).total_seconds() == pytest.approx(12.18, abs=0.01)
    (attempt,) = record.attempts
    assert attempt.outcome is AttemptOutcome.RETRY
    assert "in fail" in (attempt.traceback or "")


async def test_a_job_that_fails_twice_and_then_succeeds_is_completed_with_three_attempts(
    app: Any, handlers: Any
) -> None:
    async def third_time(_: Any, job: Job) -> str:
        if job.attempt_number < 3:
            raise ConnectionError("down")
        return "up"

    handlers.behaviour = third_time
    message = await app.enqueue()
    answers = [(await app.deliver(message, retried=n)).status_code for n in range(3)]
    assert answers == [500, 500, 200]
    record = await app.record(message)
    assert (record.status, record.retry_count, record.error) == (JobStatus.COMPLETED, 2, None)
    assert [attempt.outcome for attempt in record.attempts] == ["retry", "retry", "completed"]


async def test_the_last_failed_attempt_fails_the_job(app: Any, handlers: Any) -> None:
    async def fail(_: Any, job: Job) -> None:
        assert job.is_last_attempt
        raise ValueError("never")

    handlers.behaviour = fail
    message = await app.enqueue(retries=0)
    assert (await app.deliver(message)).status_code == 500
    record = await app.record(message)
    assert (record.status, record.retry_count) == (JobStatus.FAILED, 0)
    assert record.completed_at is not None


async def test_a_permanent_error_is_answered_so_that_qstash_does_not_retry(app: Any, handlers: Any) -> None:
    async def refuse(*_: Any) -> None:
        raise PermanentJobError("bad address")

    handlers.behaviour = refuse
    message = await app.enqueue()
    answer = await app.deliver(message)
    assert (answer.status_code, answer.headers["upstash-nonretryable-error"]) == (489, "true")
    record = await app.record(message)
    assert (record.status, record.error) == (JobStatus.FAILED, "bad address")


async def test_retry_later_is_answered_with_retry_after(app: Any, handlers: Any, clock: Any) -> None:
    async def later(*_: Any) -> None:
        raise RetryLater(timedelta(minutes=2))

    handlers.behaviour = later
    message = await app.enqueue()
    answer = await app.deliver(message)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "120")
    record = await app.record(message)
    assert record.status is JobStatus.PENDING
    assert record.next_attempt_at == clock.now() + timedelta(minutes=2)
    assert record.attempts[0].outcome is AttemptOutcome.LATER


async def test_the_configured_timeout_is_applied_and_cancels_the_handler(app: Any, handlers: Any) -> None:
    cancelled = []

    async def hang(*_: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    handlers.behaviour = hang
    message = await app.enqueue(timeout=0.05)
    assert (await app.deliver(message)).status_code == 504
    assert cancelled == [True]
    record = await app.record(message)
    assert record.error == "do-work ran longer than its timeout of 0.05 s"
    assert record.status is JobStatus.PENDING


async def test_a_handlers_own_timeout_error_is_not_mistaken_for_ours(app: Any, handlers: Any) -> None:
    async def fail(*_: Any) -> None:
        raise TimeoutError("the database's")

    handlers.behaviour = fail
    message = await app.enqueue()
    assert (await app.deliver(message)).status_code == 500
    assert (await app.record(message)).error == "TimeoutError: the database's"


class _Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("job_type", ["do-work", "block"])
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt: "),
        (asyncio.CancelledError("why"), "CancelledError: why"),
        (GeneratorExit(), "GeneratorExit: "),
        (StopIteration(7), "StopIteration"),
        (_Speechless(), "_Speechless: (its text cannot be read: RuntimeError)"),
        (ValueError("nul \0 and \ud800"), "ValueError: nul \ufffd and ?"),
    ],
)
async def test_whatever_a_handler_raises_is_a_failed_attempt(
    app: Any, handlers: Any, job_type: str, error: BaseException, told: str
) -> None:
    async def leave(*_: Any) -> None:
        raise error

    def leave_thread(*_: Any) -> None:
        raise error

    handlers.behaviour, handlers.blocking = leave, leave_thread
    message = await app.enqueue(job_type=job_type, retries=1)
    assert (await app.deliver(message)).status_code == 500
    record = await app.record(message)
    assert record.status is JobStatus.PENDING
    assert told in (record.error or "")
    assert [attempt.outcome for attempt in record.attempts] == ["retry"]


async def test_a_handler_that_cancels_its_own_task_has_failed_and_comes_to_an_end(
    app: Any, handlers: Any
) -> None:
    """Taken for one that the server cut off, it would be delivered again for ever."""

    async def leave(*_: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel("enough")
        await asyncio.sleep(0)

    handlers.behaviour = leave
    message = await app.enqueue(retries=1)
    assert [(await app.deliver(message, retried=n)).status_code for n in range(2)] == [500, 500]
    record = await app.record(message)
    assert (record.status, record.error) == (JobStatus.FAILED, "CancelledError: enough")
    assert [attempt.outcome for attempt in record.attempts] == ["retry", "failed"]


def _circle() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


class _Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("result", "recorded"),
    [
        ([float("nan"), float("inf"), float("-inf")], ["NaN", "Infinity", "-Infinity"]),
        (b"text", "text"),
        ({"raw": b"\xff\x00"}, {"raw": "_wA="}),
        ("half \ud83d", "half ?"),
        (_circle(), {"type": "list"}),
        (_deep(5_000), {"type": "list"}),
        (10**5_000, {"type": "int"}),
        (2**70, str(2**70)),
        ([2**70, -(2**63), 1e22], [2**70, -(2**63), 1e22]),
        (_Unspeakable(), {"type": "_Unspeakable"}),
    ],
    ids=[
        "nan",
        "bytes",
        "binary",
        "surrogate",
        "circle",
        "deep",
        "huge",
        "more than 64 bits",
        "numbers",
        "no repr",
    ],
)
async def test_whatever_a_handler_returns_its_job_is_completed(
    app: Any, handlers: Any, result: Any, recorded: Any
) -> None:
    async def answer(*_: Any) -> Any:
        return result

    handlers.behaviour = answer
    message = await app.enqueue()
    assert (await app.deliver(message)).status_code == 200
    record = await app.record(message)
    assert record.status is JobStatus.COMPLETED
    if isinstance(recorded, dict) and "type" in recorded:
        assert record.result.pop("notRecorded")
    assert record.result == recorded
    assert (await app.client.get(f"/jobs/{record.job_id}")).status_code == 200


async def test_an_invalid_payload_is_permanent_and_recorded(app: Any, handlers: Any) -> None:
    message = await app.enqueue()
    body = json.loads(message.body) | {"payload": {"note": "x" * 100}}
    message.body = json.dumps(body).encode()
    assert (await app.deliver(message)).status_code == NON_RETRYABLE_STATUS
    record = await app.record(message)
    assert record.status is JobStatus.FAILED
    assert "note: String should have at most 20 characters" in (record.error or "")
    assert handlers.calls == []


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"{}", b'{"jobId": "x", "type": "do-work", "payload": {}}', b"\xff"]
)
async def test_what_is_no_job_is_not_retried(app: Any, body: bytes) -> None:
    answer = await app.post("https://app.example.com/api/jobs/work", body)
    assert answer.status_code == NON_RETRYABLE_STATUS
    assert answer.headers["upstash-nonretryable-error"] == "true"


async def test_a_job_for_another_endpoint_is_turned_away(app: Any, handlers: Any) -> None:
    message = await app.enqueue()
    assert (await app.post("https://app.example.com/api/jobs/block", message.body)).status_code == 489
    assert handlers.calls == []


async def test_a_job_published_by_another_service_gets_its_record_with_its_first_delivery(app: Any) -> None:
    body = {
        "jobId": "6c1b7c3e-6ab3-4ea8-9f1e-1f8f6f8b0c11",
        "type": "do-work",
        "payload": {"note": "from afar"},
        "metadata": {"userId": "u1", "createdAt": "2026-01-01T00:00:00.000Z"},
    }
    answer = await app.post(
        "https://app.example.com/api/jobs/work", json.dumps(body).encode(), **{"upstash-message-id": "msg_ts"}
    )
    assert answer.status_code == 200
    record = await app.dispatcher.get(body["jobId"])
    assert (record.status, record.user_id, record.message_id) == (JobStatus.COMPLETED, "u1", "msg_ts")


async def test_every_firing_of_a_schedule_has_a_record_of_its_own(app: Any, handlers: Any) -> None:
    body = json.dumps({"type": "do-work", "payload": {"note": "tick"}}).encode()
    url = "https://app.example.com/api/jobs/work"
    for message_id in ("msg_a", "msg_b", "msg_b"):
        headers = {"upstash-message-id": message_id, "upstash-schedule-id": "scd_1"}
        assert (await app.post(url, body, **headers)).status_code == 200
    assert len(handlers.calls) == 2
    records = (await app.dispatcher.list(JobFilter(schedule_id="scd_1"))).jobs
    assert {record.message_id for record in records} == {"msg_a", "msg_b"}


async def test_a_cancelled_job_is_not_run(app: Any, handlers: Any) -> None:
    message = await app.enqueue()
    await app.dispatcher.cancel(json.loads(message.body)["jobId"])
    assert (await app.deliver(message)).status_code == 200
    assert handlers.calls == []


async def test_a_job_cancelled_while_it_runs_stays_cancelled(app: Any, handlers: Any) -> None:
    async def cancel_itself(_: Any, job: Job) -> None:
        await job.use(JobDispatcher).cancel(job.id)

    handlers.behaviour = cancel_itself
    message = await app.enqueue()
    assert (await app.deliver(message)).status_code == 200
    record = await app.record(message)
    assert record.status is JobStatus.CANCELLED
    assert record.attempts[0].outcome is AttemptOutcome.CANCELLED


async def test_a_job_retried_by_hand_keeps_its_history(app: Any, handlers: Any) -> None:
    async def fail(*_: Any) -> None:
        raise PermanentJobError("not yet")

    handlers.behaviour = fail
    message = await app.enqueue()
    await app.deliver(message)
    job_id = json.loads(message.body)["jobId"]
    await app.dispatcher.retry(job_id)
    handlers.behaviour = None
    await app.deliver(app.qstash.of(job_id)[1])
    record = await app.record(message)
    assert record.status is JobStatus.COMPLETED
    assert [attempt.outcome for attempt in record.attempts] == ["failed", "completed"]


async def test_progress_is_stored_while_the_job_runs(app: Any, handlers: Any) -> None:
    seen = []

    async def halfway(_: Any, job: Job) -> None:
        await job.progress(0.5, "half")
        record = await job.use(JobDispatcher).get(job.id)
        seen.append((record.progress, record.progress_note))

    handlers.behaviour = halfway
    await app.deliver(await app.enqueue())
    assert seen == [(0.5, "half")]


async def test_a_job_enqueued_by_a_handler_knows_its_parent(app: Any, handlers: Any) -> None:
    async def spawn(_: Any, job: Job) -> None:
        await job.use(JobDispatcher).enqueue("block", {})

    handlers.behaviour = spawn
    message = await app.enqueue()
    await app.deliver(message)
    job_id = json.loads(message.body)["jobId"]
    (child,) = (await app.dispatcher.list(JobFilter(parent_job_id=job_id))).jobs
    assert child.job_type == "block"


async def test_a_handlers_writes_are_committed_with_the_completion_or_not_at_all(
    app: Any, handlers: Any
) -> None:
    with app.dispatcher.database.engine.begin() as connection:
        connection.execute(text("CREATE TABLE effects (note TEXT)"))

    def write(connection: Connection) -> None:
        connection.execute(text("INSERT INTO effects VALUES ('once')"))

    async def first_fails(_: Any, job: Job) -> None:
        job.on_completion(write)
        if job.attempt_number == 1:
            raise ValueError("after asking for the write")

    handlers.behaviour = first_fails
    message = await app.enqueue()
    await app.deliver(message)
    await app.deliver(message, retried=1)
    await app.deliver(message, retried=2)
    effects = await app.dispatcher.database.read(
        lambda connection: connection.execute(text("SELECT * FROM effects")).all()
    )
    assert len(effects) == 1


async def test_a_write_that_fails_fails_the_attempt(app: Any, handlers: Any) -> None:
    def write(connection: Connection) -> None:
        connection.execute(text("INSERT INTO no_such_table VALUES (1)"))

    async def ask(_: Any, job: Job) -> None:
        job.on_completion(write)

    handlers.behaviour = ask
    message = await app.enqueue()
    assert (await app.deliver(message)).status_code == 500
    record = await app.record(message)
    assert record.status is JobStatus.PENDING
    assert "no_such_table" in (record.error or "")


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError("why")])
async def test_a_write_that_exits_fails_the_attempt_and_the_next_job_runs(
    app: Any, handlers: Any, error: BaseException
) -> None:
    def leave(_: Connection) -> None:
        raise error

    async def ask(_: Any, job: Job) -> None:
        job.on_completion(leave)

    handlers.behaviour = ask
    message = await app.enqueue()
    assert (await app.deliver(message)).status_code == 500
    record = await app.record(message)
    assert record.status is JobStatus.PENDING
    assert type(error).__name__ in (record.error or "")
    handlers.behaviour = None
    assert (await app.deliver(await app.enqueue())).status_code == 200


@pytest.mark.parametrize("database_kind", ["postgresql", "psycopg 2"])
@pytest.mark.parametrize("limit", ["lock_timeout", "statement_timeout"])
async def test_a_write_that_meets_a_limit_fails_the_attempt_with_that_reason(
    app: Any, handlers: Any, limit: str
) -> None:
    """The drivers call it an operational error, as they do a server that is away."""
    engine = app.dispatcher.database.engine

    def write(connection: Connection) -> None:
        connection.execute(text(f"SET LOCAL {limit} = '10ms'"))
        connection.execute(text("LOCK TABLE effects"))

    async def ask(_: Any, job: Job) -> None:
        job.on_completion(write)

    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE effects (note TEXT)"))
    handlers.behaviour = ask
    message = await app.enqueue()
    with engine.begin() as another:
        another.execute(text("LOCK TABLE effects"))
        answer = await app.deliver(message)
    assert (answer.status_code, answer.json()["status"]) == (500, "pending")
    record = await app.record(message)
    assert (record.status, record.retry_count) == (JobStatus.PENDING, 1)
    assert f"canceling statement due to {limit.replace('_', ' ')}" in (record.error or "")


async def test_an_error_that_no_database_would_keep_is_recorded_all_the_same(app: Any, handlers: Any) -> None:
    async def fail(*_: Any) -> None:
        raise ValueError("nul \0 and half a pair \ud800")

    handlers.behaviour = fail
    message = await app.enqueue("a\0b")
    assert (await app.deliver(message)).status_code == 500
    record = await app.record(message)
    assert record.payload["note"] == "a\0b"
    assert record.error == "ValueError: nul \ufffd and half a pair ?"


async def test_what_a_handler_returns_need_not_be_json(app: Any, handlers: Any) -> None:
    async def odd(*_: Any) -> Any:
        return {"when": timedelta(minutes=1), "what": object}

    handlers.behaviour = odd
    message = await app.enqueue()
    assert (await app.deliver(message)).status_code == 200
    assert (await app.record(message)).result["when"] == "PT1M"
