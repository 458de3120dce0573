"""The package's helpers for its users' tests."""

from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import AwareDatetime, BaseModel, Field
from sqlalchemy import create_engine, inspect

from emulator.testing import Harness
from jobs_core import (
    Job,
    JobDefinition,
    JobDispatcher,
    JobFilter,
    JobStatus,
    JobValidationError,
    ManualClock,
    Payload,
    PermanentJobError,
    Registry,
    RetryLater,
    Settings,
    job,
)
from jobs_core.database.migrations import VERSION_TABLE
from jobs_core.qstash.signature import Verified, Verifier
from jobs_core.testing import (
    add_execution,
    build_envelope,
    build_payload,
    build_record,
    jobs_running,
    perform_job,
    sign_delivery,
    temporary_database,
    wait_for_job,
)


class Greet(Payload):
    """Payload: whom to greet, and the note that follows."""

    name: str = Field(min_length=2)
    then: Literal["nothing", "fail", "give up", "later", "again"] = "nothing"


@job("greet", endpoint="/api/jobs/greet", retries=2, timeout=timedelta(seconds=5), description="Greets.")
async def greet(payload: Greet, job: Job) -> dict[str, Any]:
    match payload.then:
        case "fail":
            raise ValueError("no voice")
        case "give up":
            raise PermanentJobError("nobody there")
        case "later":
            raise RetryLater(timedelta(minutes=5))
        case "again":
            await job.use(JobDispatcher).enqueue(greet, Greet(name=f"{payload.name} again"))
        case _:
            pass
    return {"said": f"hello {payload.name}", "attempt": job.attempt_number, "last": job.is_last_attempt}


async def test_a_job_is_performed_by_the_real_worker() -> None:
    done = await perform_job(greet, Greet(name="Ada"), user_id=7)
    assert done.result == {"said": "hello Ada", "attempt": 1, "last": False}
    assert (done.answer.status, done.record.user_id, len(done.record.attempts)) == (200, 7, 1)


async def test_what_a_job_enqueues_is_seen() -> None:
    done = await perform_job(greet, {"name": "Ada", "then": "again"})
    (child,) = done.enqueued
    assert (child.payload["name"], child.status, child.parent_job_id) == (
        "Ada again", JobStatus.PENDING, done.record.job_id,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("then", "retried", "status", "answered"),
    [
        ("fail", 0, JobStatus.PENDING, 500),
        ("fail", 2, JobStatus.FAILED, 500),
        ("give up", 0, JobStatus.FAILED, 489),
        ("later", 1, JobStatus.PENDING, 503),
    ],
)
async def test_failures_are_what_they_are_in_production(
    then: Any, retried: int, status: JobStatus, answered: int
) -> None:
    done = await perform_job(greet, Greet(name="Ada", then=then), retried=retried)
    assert (done.record.status, done.answer.status) == (status, answered)
    with pytest.raises(AssertionError, match="not completed"):
        done.result  # noqa: B018


async def test_a_later_attempt_knows_that_it_is_one() -> None:
    done = await perform_job(greet, Greet(name="Ada"), retried=2)
    assert done.result == {"said": "hello Ada", "attempt": 3, "last": True}


async def test_a_payload_that_does_not_fit_is_refused() -> None:
    with pytest.raises(JobValidationError, match="name: "):
        await perform_job(greet, {"name": "A"})


async def test_a_day_of_retries_passes_under_the_emulators_clock() -> None:
    async with Harness() as qstash, jobs_running(qstash, registry=Registry([greet])) as jobs:
        fine = await jobs.enqueue(greet, Greet(name="Ada"), delay=timedelta(days=1))
        broken = await jobs.enqueue(greet, Greet(name="Ada", then="fail"))
        record = await wait_for_job(jobs, fine, turn=qstash.run_until_idle)
        assert record.started_at is not None
        assert record.started_at - record.created_at == timedelta(days=1)
        await wait_for_job(jobs, broken, JobStatus.FAILED)
        with pytest.raises(
            AssertionError,
            match=r"is failed, not completed: ValueError: no voice\n  attempt 1: retry: ValueError: no voice",
        ):
            await wait_for_job(jobs, broken)
        never = await jobs.enqueue(greet, Greet(name="Ada"), delay=60)
        with pytest.raises(AssertionError, match="is pending, not completed, and was never attempted"):
            await wait_for_job(jobs, never, timeout=0.05)


class Colour(StrEnum):
    RED = "red"


class Address(BaseModel):
    street: str = Field(examples=["1 Main Street"])


class Everything(Payload):
    text: str = Field(min_length=3)
    count: int = Field(ge=5)
    share: float = Field(gt=0)
    colour: Colour
    size: Literal["s", "m"]
    address: Address
    tags: list[str] = Field(min_length=2)
    maybe: int | None
    at: AwareDatetime
    data: dict[str, Any]
    defaulted: int = 9


def test_a_payload_is_built_from_its_model() -> None:
    built = build_payload(Everything, count=7)
    assert (built.count, built.colour, built.address.street, built.tags, built.defaulted) == (
        7, Colour.RED, "1 Main Street", ["x", "x"], 9,
    )  # fmt: skip
    assert build_payload(greet, name="Ada") == Greet(name="Ada")


def test_what_cannot_be_guessed_is_asked_for() -> None:
    class Odd(Payload):
        when: complex

    with pytest.raises(TypeError, match=r"Odd\.when; give it"):
        build_payload(Odd)


@pytest.mark.parametrize("status", list(JobStatus))
async def test_records_are_built_as_the_worker_leaves_them(
    status: JobStatus, dispatcher: JobDispatcher
) -> None:
    record = build_record(status=status, user_id="acme")
    assert (record.is_finished, record.completed_at is not None) == (record.is_finished,) * 2
    stored = await add_execution(dispatcher, status=status, job_type="do-work", user_id=7)
    assert (stored.status, stored.user_id, stored.created_at) == (status, 7, dispatcher.clock.now())
    assert (await dispatcher.list(JobFilter(status=status))).jobs == (stored,)


def test_a_field_that_no_record_has_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="no colour"):
        build_record(colour="red")


def test_a_signature_is_one_that_verifies() -> None:
    url, body = (
        "https://app.example.com/api/jobs/greet",
        build_envelope("greet", {"name": "Ada"}).to_json().encode(),
    )
    settings = Settings()
    current, following = (
        key.get_secret_value()
        for key in (settings.qstash_current_signing_key, settings.qstash_next_signing_key)
    )
    verifier = Verifier(current, following)
    now = ManualClock().now()
    assert isinstance(
        verifier.verify(sign_delivery(url, body, key=following), body=body, url=url, now=now), Verified
    )


def test_a_temporary_database_has_the_tables_that_the_migrations_make(sqlite_template: Path) -> None:
    with temporary_database() as url:
        made, migrated = create_engine(url), create_engine(f"sqlite:///{sqlite_template}")
        names = set(inspect(migrated).get_table_names()) - {VERSION_TABLE}
        assert set(inspect(made).get_table_names()) == names
        assert "job_executions" in names
        made.dispose()
        migrated.dispose()


def test_definitions_still_carry_their_types() -> None:
    """The type checker, which reads this file too, finds the mistakes in it; an ignore without need is an error."""

    async def mistakes(dispatcher: JobDispatcher, definition: JobDefinition[Greet]) -> None:
        await dispatcher.enqueue(definition, Address(street="x"))  # type: ignore[misc]
        await dispatcher.enqueue(definition, Greet(nam="Ada"))  # type: ignore[call-arg]

    assert mistakes is not None


async def test_a_job_whose_lease_ran_out_is_told_as_such_by_a_failed_assertion() -> None:
    async with Harness() as qstash, jobs_running(qstash, registry=Registry.of(__name__)) as jobs:
        ended_at = jobs.clock.now() - timedelta(minutes=1)
        lost = await add_execution(jobs, job_type="greet", status="processing", lease_until=ended_at)
        held = await add_execution(
            jobs, job_type="greet", status="processing", lease_until=ended_at + timedelta(hours=1)
        )
        with pytest.raises(
            AssertionError, match=r"the lease of attempt 1 ran out at .* was the worker killed"
        ):
            await wait_for_job(jobs, lost.job_id, timeout=0)
        with pytest.raises(AssertionError) as still_held:
            await wait_for_job(jobs, held.job_id, timeout=0)
        assert "lease" not in str(still_held.value)
