"""Enqueue jobs as an application does: by a call, in its own transaction, or in a savepoint."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.orm import Session

from jobs_core.engine.requests import JobRequest
from jobs_core.model.errors import JobError
from tests.simulation.jobs.handlers import request_of
from tests.simulation.jobs.history import Asked
from tests.simulation.jobs.scenario import Ask, Enqueue, How

if TYPE_CHECKING:
    from tests.simulation.jobs.processes import JobsProcess
    from tests.simulation.jobs.world import World

_ORDER = "INSERT INTO orders (label) VALUES ({})"


async def enqueue(world: "World", process: "JobsProcess", step: Enqueue) -> None:
    """Enqueue the jobs of the step, in transactions beside a row of the caller's own."""
    wanted = [world.wants(spec, step.how) for spec in step.specs]
    requests = [request_of(spec) for spec in step.specs]
    try:
        job_ids = await _enqueue(world, process, step, requests)
    except Exception as error:  # noqa: BLE001 -- the caller does not know the outcome; the rules allow for both
        if process.is_alive:
            world.note(
                f"enqueue   {', '.join(one.spec.label for one in wanted)} failed: {type(error).__name__}: {error}"
            )
        return
    for one, job_id in zip(wanted, job_ids, strict=True):
        one.job_id, one.is_acknowledged = job_id, process.is_alive and not one.is_rolled_back
        world.note(f"enqueued  {one.spec.label} by {step.how}", job_id)


async def _enqueue(
    world: "World", process: "JobsProcess", step: Enqueue, requests: Sequence[JobRequest]
) -> Sequence[str]:
    match step.how:
        case How.CALL:
            return await process.dispatcher.enqueue_many(requests)
        case How.CONNECTION | How.CONNECTION_BACK:
            return await _on_connection(world, process, step, requests)
    with Session(process.dispatcher.database.engine) as session:
        return await _in_session(process, step, requests, session)


async def _in_session(
    process: "JobsProcess", step: Enqueue, requests: Sequence[JobRequest], session: Session
) -> Sequence[str]:
    """Enqueue without yielding to other tasks: SQLite has one writer, and another would block on this one."""
    is_nested = step.how in {How.SAVEPOINT, How.SAVEPOINT_BACK}
    inner = session.begin_nested() if is_nested else None
    for spec in step.specs:
        session.execute(text(_ORDER.format(":label")), {"label": spec.label})
    job_ids = await process.dispatcher.enqueue_many(requests, session=session)
    if step.how is How.SESSION_BACK:
        session.rollback()
        return job_ids
    if inner is not None and step.how is How.SAVEPOINT_BACK:
        inner.rollback()
    elif inner is not None:
        inner.commit()
    session.commit()
    return job_ids


async def _on_connection(
    world: "World", process: "JobsProcess", step: Enqueue, requests: Sequence[JobRequest]
) -> Sequence[str]:
    world.database.check()
    connection = world.database.connect(process.doom, world.database.path)
    try:
        for spec in step.specs:
            connection.cursor().execute(_ORDER.format("?"), (spec.label,))
        job_ids = await process.dispatcher.enqueue_many(requests, connection=connection)
        if step.how is How.CONNECTION_BACK:
            connection.rollback()
        else:
            connection.commit()
    finally:
        connection.close()
    return job_ids


async def ask(world: "World", process: "JobsProcess", step: Ask) -> None:
    """Cancel a job, retry it, or skip its wait."""
    job_id = world.history.enqueued[step.label].job_id
    assert job_id is not None
    asked = Asked(job_id=job_id, what=step.what)
    world.history.asked.append(asked)
    try:
        await getattr(process.dispatcher, step.what)(job_id)
        asked.is_done = True
    except JobError as error:
        asked.is_done = False
        world.note(f"{step.what} of {step.label} was refused: {error}", job_id)
    except Exception as error:  # noqa: BLE001 -- the caller does not know
        world.note(f"{step.what} of {step.label} failed: {error}", job_id)
