"""Commands about jobs."""

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from jobs_core.cli.session import (
    FAILED,
    TIMED_OUT,
    JsonFlag,
    die,
    parse_payload,
    parse_subject,
    print_json,
    run,
)
from jobs_core.model.envelope import PROBE_JOB_TYPE
from jobs_core.model.states import JobStatus

if TYPE_CHECKING:
    from jobs_core.database.job_queries import JobPage
    from jobs_core.engine.dispatcher import JobDispatcher
    from jobs_core.model.records import JobRecord

JobIdArgument = Annotated[str, typer.Argument(metavar="JOB_ID")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the root."""
    for command in (enqueue, show, wait, run_now, retry, cancel, stats, tail, types):
        app.command()(command)
    app.command("list")(list_jobs)


def enqueue(
    job_type: Annotated[str, typer.Argument(metavar="TYPE", help="Such as send-email.")],
    payload: Annotated[str, typer.Argument(metavar="PAYLOAD_JSON", help="A JSON object.")],
    user_id: Annotated[str | None, typer.Option(help="A whole number is taken as one.")] = None,
    organization_id: Annotated[str | None, typer.Option(help="A whole number is taken as one.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key makes no second job.")] = None,
    delay: Annotated[float | None, typer.Option(min=0, help="Seconds to wait.")] = None,
    retries: Annotated[int | None, typer.Option(min=0, help="How often a failure is repeated.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Enqueue a job."""
    parsed = parse_payload(payload)
    job_id = run(
        lambda dispatcher: dispatcher.enqueue(
            job_type,
            parsed,
            user_id=parse_subject(user_id),
            organization_id=parse_subject(organization_id),
            idempotency_key=idempotency_key,
            delay=delay,
            retries=retries,
        )
    )
    if as_json:
        print_json({"jobId": job_id})
    else:
        typer.echo(job_id)


def show(
    job_id: JobIdArgument,
    tracebacks: Annotated[
        bool | None,
        typer.Option(help="Where in the code it failed; shown without being asked for unless in production."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show one job with its attempts and, if it has not arrived, the reason."""

    async def go(dispatcher: "JobDispatcher") -> "tuple[JobRecord, str | None, bool]":
        from jobs_core.engine.delivery_trouble import find_troubles

        record = await dispatcher.get(job_id)
        troubles = await find_troubles(dispatcher.context, [record])
        return record, troubles.get(job_id), dispatcher.settings.is_production

    record, trouble, is_production = run(go)
    if as_json:
        print_json(record.to_json() | ({"deliveryTrouble": trouble} if trouble else {}))
    else:
        from jobs_core.cli import display

        is_told = not is_production if tracebacks is None else tracebacks
        display.job(record, trouble=trouble, with_tracebacks=is_told)


def list_jobs(
    status: Annotated[JobStatus | None, typer.Option(help="Only these.")] = None,
    job_type: Annotated[str | None, typer.Option("--type", help="Only these.")] = None,
    user_id: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    organization_id: Annotated[str | None, typer.Option(help="Only this organization's.")] = None,
    schedule_id: Annotated[str | None, typer.Option(help="Only this schedule's firings.")] = None,
    parent_id: Annotated[str | None, typer.Option(help="Only those that this job enqueued.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    before: Annotated[int | None, typer.Option(help="The next page: what the last one named.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List jobs, the newest first."""
    from jobs_core.database.job_queries import JobFilter

    async def go(dispatcher: "JobDispatcher") -> "tuple[JobPage, dict[str, str]]":
        from jobs_core.engine.delivery_trouble import find_troubles

        wanted = JobFilter(
            status=status,
            job_type=job_type,
            user_id=parse_subject(user_id),
            organization_id=parse_subject(organization_id),
            schedule_id=schedule_id,
            parent_job_id=parent_id,
            limit=limit,
            before_id=before,
        )
        page = await dispatcher.list(wanted)
        return page, await find_troubles(dispatcher.context, page.jobs)

    found, troubles = run(go)
    if as_json:
        rows = [
            record.to_json()
            | ({"deliveryTrouble": trouble} if (trouble := troubles.get(record.job_id)) else {})
            for record in found.jobs
        ]
        print_json({"jobs": rows, "nextBefore": found.next_before_id})
        return
    from jobs_core.cli import display

    display.jobs(found.jobs, troubles)
    if found.next_before_id is not None:
        typer.echo(f"more: --before {found.next_before_id}")


def wait(
    job_id: JobIdArgument,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds.")] = 30,
    as_json: JsonFlag = False,
) -> None:
    """Wait until a job is finished. Exits with 1 if it failed or was cancelled, with 4 on a timeout."""

    async def go(dispatcher: "JobDispatcher") -> "JobRecord | None":
        try:
            return await dispatcher.wait(job_id, timeout)
        except TimeoutError:
            return None

    record = run(go)
    if record is None:
        die(f"job {job_id} is not finished after {timeout:g} s", TIMED_OUT)
    _answer(record, as_json=as_json)
    if record.status is not JobStatus.COMPLETED:
        raise typer.Exit(FAILED)


def retry(job_id: JobIdArgument, as_json: JsonFlag = False) -> None:
    """Run a finished job again."""
    _answer(run(lambda dispatcher: dispatcher.retry(job_id)), as_json=as_json)


def run_now(job_id: JobIdArgument, as_json: JsonFlag = False) -> None:
    """Deliver a job now that waits for its delay or its next attempt."""
    _answer(run(lambda dispatcher: dispatcher.run_now(job_id)), as_json=as_json)


def cancel(job_id: JobIdArgument, as_json: JsonFlag = False) -> None:
    """Cancel an unfinished job."""
    _answer(run(lambda dispatcher: dispatcher.cancel(job_id)), as_json=as_json)


def stats(
    hours: Annotated[float, typer.Option(min=0, help="How far to look back.")] = 24,
    as_json: JsonFlag = False,
) -> None:
    """Count recent jobs by type and state."""
    found = run(lambda dispatcher: dispatcher.stats(timedelta(hours=hours)))
    if as_json:
        rows = [{"jobType": row.job_type, "status": row.status, "count": row.count} for row in found]
        print_json({"hours": hours, "jobs": rows})
    else:
        from jobs_core.cli import display

        display.stats(found)


def tail(
    job_type: Annotated[str | None, typer.Option("--type", help="Only these.")] = None,
    interval: Annotated[float, typer.Option(min=0.05, help="Seconds between two looks.")] = 0.5,
    as_json: JsonFlag = False,
) -> None:
    """Print changes of jobs as they happen, one line each, until interrupted."""

    from jobs_core.cli import display
    from jobs_core.engine.job_feed import Follower

    async def go(dispatcher: "JobDispatcher") -> None:
        follower = Follower(dispatcher.context, has_probes=job_type == PROBE_JOB_TYPE)
        await follower.poll()
        typer.echo("jobs-core: following what happens; Ctrl-C ends it", err=True)
        while True:
            for seen in await follower.poll():
                if job_type not in {None, seen.job_type}:
                    continue
                if as_json:
                    print_json(seen.to_json())
                else:
                    display.happening(seen)
            await asyncio.sleep(interval)

    with contextlib.suppress(KeyboardInterrupt):  # the way to end it
        run(go)


def types(as_json: JsonFlag = False) -> None:
    """List the job types of the package and of JOBS_MODULES."""

    async def go(dispatcher: "JobDispatcher") -> "JobDispatcher":
        return dispatcher

    found = sorted(run(go).registry, key=lambda definition: definition.job_type)
    if as_json:
        rows = [
            {
                "jobType": each.job_type,
                "endpoint": each.endpoint,
                "retries": each.retries,
                "timeoutSeconds": each.timeout.total_seconds(),
                "description": each.description,
                "schedule": each.schedule.expression if each.schedule else None,
            }
            for each in found
        ]
        print_json({"types": rows})
        return
    from jobs_core.cli import display

    display.print_table(
        ("type", "endpoint", "retries", "timeout", "description"),
        (
            (
                each.job_type,
                each.endpoint,
                each.retries,
                f"{each.timeout.total_seconds():g} s",
                each.description,
            )
            for each in found
        ),
        right=("retries", "timeout"),
    )


def _answer(record: "JobRecord", *, as_json: bool) -> None:
    if as_json:
        print_json(record.to_json())
    else:
        from jobs_core.cli import display

        display.jobs([record])
