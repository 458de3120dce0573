"""``jobs-core``: the job system in the terminal, configured by the environment alone.

Exit codes: 0 done; 1 it could not be done, the reason is on standard error; 2 the command line is wrong;
3 there is no such job or schedule.
"""

import asyncio
import contextlib
import json
import logging
import signal
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from sqlalchemy.exc import SQLAlchemyError

from jobs_core import checks, logs, migrations
from jobs_core.dispatcher import JobDispatcher
from jobs_core.envelope import Subject
from jobs_core.errors import JobError, JobNotFoundError, RegistryError, SettingsError
from jobs_core.queries import JobFilter
from jobs_core.records import JobRecord
from jobs_core.settings import Settings
from jobs_core.states import JobStatus

T = TypeVar("T")

app = typer.Typer(
    name="jobs-core",
    help="Background jobs over QStash.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

schedules_app = typer.Typer(help="Jobs that repeat.", no_args_is_help=True)
app.add_typer(schedules_app, name="schedules")

FAILED = 1
NOT_FOUND = 3

JsonFlag = Annotated[bool, typer.Option("--json", help="Answer in JSON, for programs.")]


@app.command()
def migrate(
    revision: Annotated[str, typer.Argument(help="Where to go; 'base' removes everything.")] = "head",
) -> None:
    """Bring the database's schema up to date."""
    settings = _settings()
    try:
        before = migrations.current(settings.database_url)
        if revision == "base" or (before is not None and revision.isdigit() and revision < before):
            migrations.downgrade(settings.database_url, revision)
        else:
            migrations.upgrade(settings.database_url, revision)
    except SQLAlchemyError as error:
        _die(f"the database cannot be migrated: {error}")
    typer.echo(f"database: {before or 'empty'} -> {migrations.current(settings.database_url) or 'empty'}")


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on.")] = 8000,
) -> None:
    """Run the worker app until interrupted."""
    import uvicorn

    from jobs_core.app import create_app

    settings = _settings()
    logs.configure()
    _trace(settings)
    try:
        worker = create_app(settings)
    except RegistryError as error:
        _die(str(error))
    config = uvicorn.Config(
        worker, host=host, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=30
    )
    # uvicorn stops cleanly and then raises the signal again; being told to stop is no failure.
    for told in (signal.SIGTERM, signal.SIGINT):
        signal.signal(told, lambda *_: None)
    server = uvicorn.Server(config)
    with contextlib.suppress(SystemExit):  # uvicorn's own exit code means something else here
        server.run()
    if not server.started:
        _die(f"could not serve on {host}:{port}; is the port taken? --port changes it")


@app.command()
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
    try:
        parsed = json.loads(payload)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="PAYLOAD_JSON") from None
    if not isinstance(parsed, dict):
        raise typer.BadParameter("must be a JSON object", param_hint="PAYLOAD_JSON")

    async def go(dispatcher: JobDispatcher) -> str:
        return await dispatcher.enqueue(
            job_type,
            parsed,
            user_id=_subject(user_id),
            organization_id=_subject(organization_id),
            idempotency_key=idempotency_key,
            delay=delay,
            retries=retries,
        )

    job_id = _run(go)
    typer.echo(json.dumps({"jobId": job_id}) if as_json else job_id)


@app.command()
def show(job_id: str, as_json: JsonFlag = False) -> None:
    """Show one job with its attempts."""
    record = _run(lambda dispatcher: dispatcher.get(job_id))
    typer.echo(json.dumps(record.to_json()) if as_json else _describe(record))


@app.command("list")
def list_jobs(
    status: Annotated[JobStatus | None, typer.Option(help="Only these.")] = None,
    job_type: Annotated[str | None, typer.Option("--type", help="Only these.")] = None,
    user_id: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    before: Annotated[int | None, typer.Option(help="The next page: what the last one named.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List jobs, the newest first."""
    wanted = JobFilter(
        status=status, job_type=job_type, user_id=_subject(user_id), limit=limit, before_id=before
    )
    found = _run(lambda dispatcher: dispatcher.list(wanted))
    if as_json:
        shown = {"jobs": [record.to_json() for record in found.jobs], "nextBefore": found.next_before_id}
        typer.echo(json.dumps(shown))
        return
    for record in found.jobs:
        typer.echo(_line(record))
    if found.next_before_id is not None:
        typer.echo(f"more: --before {found.next_before_id}")


@app.command()
def retry(job_id: str, as_json: JsonFlag = False) -> None:
    """Do a finished job once more."""
    _answer(_run(lambda dispatcher: dispatcher.retry(job_id)), as_json=as_json)


@app.command()
def cancel(job_id: str, as_json: JsonFlag = False) -> None:
    """Cancel a job that is not finished."""
    _answer(_run(lambda dispatcher: dispatcher.cancel(job_id)), as_json=as_json)


@app.command()
def stats(
    hours: Annotated[float, typer.Option(min=0, help="How far to look back.")] = 24,
    as_json: JsonFlag = False,
) -> None:
    """Count recent jobs by type and state."""
    found = _run(lambda dispatcher: dispatcher.stats(timedelta(hours=hours)))
    if as_json:
        rows = [{"jobType": row.job_type, "status": row.status, "count": row.count} for row in found]
        typer.echo(json.dumps({"hours": hours, "jobs": rows}))
        return
    for row in found:
        typer.echo(f"{row.job_type:<28} {row.status:<10} {row.count:>8}")


@app.command()
def check(as_json: JsonFlag = False) -> None:
    """Check a deployment: settings, database, QStash, token, signing keys."""
    settings = _settings()
    findings = asyncio.run(checks.run(settings))
    if as_json:
        typer.echo(
            json.dumps(
                {"ok": all(each.ok for each in findings), "checks": [asdict(each) for each in findings]}
            )
        )
    else:
        for each in findings:
            typer.echo(f"{'ok  ' if each.ok else 'FAIL'} {each.name}: {each.detail}")
    if not all(each.ok for each in findings):
        raise typer.Exit(FAILED)


@schedules_app.command("list")
def schedules_list(as_json: JsonFlag = False) -> None:
    """List the schedules that QStash has."""
    found = _run(lambda dispatcher: dispatcher.schedules.list())
    if as_json:
        rows = [
            {
                "scheduleId": each.schedule_id,
                "cron": each.cron,
                "destination": each.destination,
                "isPaused": each.is_paused,
                "nextAt": each.next_at.isoformat() if each.next_at else None,
            }
            for each in found
        ]
        typer.echo(json.dumps({"schedules": rows}))
        return
    for each in found:
        state = "paused" if each.is_paused else f"next {each.next_at}"
        typer.echo(f"{each.schedule_id}  {each.cron}  {each.destination}  {state}")


@schedules_app.command("sync")
def schedules_sync(
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
) -> None:
    """Make QStash match the schedules that the code declares."""
    plan = _run(lambda dispatcher: dispatcher.schedules.plan())
    remove = bool(plan.undeclared) and (
        yes or typer.confirm(f"no longer declared: {', '.join(plan.undeclared)}; remove from QStash?")
    )
    _run(lambda dispatcher: dispatcher.schedules.carry_out(plan, remove=remove))
    removed = len(plan.undeclared) if remove else 0
    typer.echo(f"schedules: {len(plan.declared)} in force, {removed} removed")


@schedules_app.command("pause")
def schedules_pause(schedule_id: str) -> None:
    """Skip firings until resumed."""
    _change_schedule(schedule_id, "pause")


@schedules_app.command("resume")
def schedules_resume(schedule_id: str) -> None:
    """Fire again."""
    _change_schedule(schedule_id, "resume")


@schedules_app.command("remove")
def schedules_remove(schedule_id: str) -> None:
    """Remove a schedule; jobs it has made live on."""
    _change_schedule(schedule_id, "delete")


def _change_schedule(schedule_id: str, action: str) -> None:
    if not _run(lambda dispatcher: dispatcher.client.change_schedule(schedule_id, action)):
        _die(f"there is no schedule {schedule_id}", NOT_FOUND)
    typer.echo(f"{schedule_id}: {action} done")


def main() -> None:
    """The console script."""
    app()


def _run(go: Callable[[JobDispatcher], Coroutine[Any, Any, T]]) -> T:
    """Do one thing with a dispatcher, and turn its errors into a line and an exit code."""
    settings = _settings()
    logs.configure(logging.WARNING)

    async def within() -> T:
        async with JobDispatcher(settings) as dispatcher:
            return await go(dispatcher)

    try:
        return asyncio.run(within())
    except JobNotFoundError as error:
        _die(error.message, NOT_FOUND)
    except JobError as error:
        _die(error.message)
    except RegistryError as error:
        _die(str(error))
    except SQLAlchemyError as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        _die(f"the database does not answer, or is not migrated (jobs-core migrate): {reason}")


def _trace(settings: Settings) -> None:
    if settings.otel_exporter_otlp_endpoint is None:
        return
    from jobs_core import tracing

    try:
        tracing.configure(settings.otel_exporter_otlp_endpoint, service_name="jobs-core")
    except ImportError:
        _die("OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: add the extra 'otel'")


def _settings() -> Settings:
    try:
        return Settings.load()
    except SettingsError as error:
        _die(str(error))


def _die(reason: str, code: int = FAILED) -> NoReturn:
    typer.echo(f"jobs-core: {reason}", err=True)
    raise typer.Exit(code)


def _subject(text: str | None) -> Subject | None:
    if text is None:
        return None
    return int(text) if text.isascii() and text.removeprefix("-").isdigit() else text


def _answer(record: JobRecord, *, as_json: bool) -> None:
    typer.echo(json.dumps(record.to_json()) if as_json else _line(record))


def _line(record: JobRecord) -> str:
    error = f"  {record.error.splitlines()[0][:80]}" if record.error else ""
    return f"{record.job_id}  {record.created_at:%Y-%m-%d %H:%M:%S}  {record.status:<10}  {record.job_type}{error}"


def _describe(record: JobRecord) -> str:
    facts = {
        "job": record.job_id,
        "type": record.job_type,
        "status": record.status,
        "retries": f"{record.retry_count} of {record.max_retries}",
        "user": record.user_id,
        "organization": record.organization_id,
        "created": record.created_at,
        "started": record.started_at,
        "completed": record.completed_at,
        "next attempt": record.next_attempt_at,
        "message": record.message_id,
        "parent": record.parent_job_id,
        "schedule": record.schedule_id,
        "progress": record.progress,
        "result": record.result,
        "error": record.error,
    }
    lines = [f"{name:<13} {value}" for name, value in facts.items() if value is not None]
    for attempt in record.attempts:
        error = f"  {attempt.error}" if attempt.error else ""
        lines.append(f"attempt {attempt.number:<5} {attempt.started_at}  {attempt.outcome}{error}")
    return "\n".join(lines)
