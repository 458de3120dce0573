"""The root of the command line: the commands about the deployment, and the groups of others."""

import asyncio
import contextlib
import gc
import signal
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from jobs_core.cli import jobs, new, schedules
from jobs_core.cli.session import FAILED, JsonFlag, die, job_types, load_settings, print_json

if TYPE_CHECKING:
    from jobs_core.settings.settings import Settings


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"jobs-core {version('qstash-emulator')}")
        raise typer.Exit


app: typer.Typer = typer.Typer(
    name="jobs-core",
    help="Background jobs over QStash.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit."),
    ] = False,
) -> None:
    """Background jobs over QStash."""


@app.command()
def migrate(
    revision: Annotated[str, typer.Argument(help="Where to go; 'base' removes everything.")] = "head",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before records are removed.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Bring the database's schema up to date."""
    from sqlalchemy.exc import SQLAlchemyError

    from jobs_core.database import migrations

    known = [*migrations.revisions(), "head", "base"]
    if revision not in known:
        raise typer.BadParameter(f"there is no revision {revision!r}; known: {', '.join(known)}")
    settings = load_settings()
    try:
        before = migrations.current(settings.database_url)
        is_down = before is not None and (revision == "base" or (revision.isdigit() and revision < before))
        if is_down and not yes:
            _confirm_removal(settings, revision)
        if is_down:
            migrations.downgrade(settings.database_url, revision)
        else:
            migrations.upgrade(settings.database_url, revision)
        after = migrations.current(settings.database_url)
    except SQLAlchemyError as error:
        die(f"the database cannot be migrated: {error}")
    if as_json:
        print_json({"from": before, "to": after})
    else:
        typer.echo(f"database: {before or 'empty'} -> {after or 'empty'}")


def _confirm_removal(settings: "Settings", revision: str) -> None:
    """Ask before tables are dropped with their records. Raise typer.Exit unless the answer is yes."""
    from sqlalchemy import make_url

    from jobs_core.settings.settings import Environment

    where = make_url(settings.database_url).render_as_string(hide_password=True)
    if settings.environment is Environment.PRODUCTION:
        die(
            f"'migrate {revision}' removes tables and their records from {where}; in production it needs --yes"
        )
    if not sys.stdin.isatty():
        die(
            f"'migrate {revision}' removes tables and their records from {where}; without a terminal it needs --yes"
        )
    if not typer.confirm(f"Remove tables and their records, back to {revision}, from {where}?"):
        die("nothing was changed")


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, envvar="PORT", help="Port to listen on.")] = 8000,
) -> None:
    """Run the worker app until interrupted."""
    import uvicorn

    from jobs_core import log_format
    from jobs_core.app import create_app
    from jobs_core.http.server_protocol import RequestProtocol
    from jobs_core.model.errors import RegistryError
    from jobs_core.settings.settings import LogFormat

    settings = load_settings()
    log_format.configure(as_json=settings.log_format is LogFormat.JSON)
    _trace(settings)
    try:
        worker = create_app(settings, registry=job_types(settings))
    except (RegistryError, ImportError) as error:
        die(str(error))
    config = uvicorn.Config(
        worker,
        http=RequestProtocol,
        ws="none",
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=30,
        proxy_headers=False,  # nothing here asks where a request came from
    )
    # uvicorn stops cleanly and then raises the signal again; being told to stop is no failure.
    for told in (signal.SIGTERM, signal.SIGINT):
        signal.signal(told, lambda *_: None)
    server = uvicorn.Server(config)
    # The objects so far stay, and deliveries leave many objects but hardly a cycle.
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    with contextlib.suppress(SystemExit):  # uvicorn's own exit code means something else here
        server.run()
    if not server.started:
        die(f"could not serve on {host}:{port}; is the port taken? --port changes it")


@app.command()
def check(
    round_trip: Annotated[
        bool, typer.Option(help="Enqueue a job that does nothing, and wait until the worker has done it.")
    ] = True,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for that job.")] = 15,
    as_json: JsonFlag = False,
) -> None:
    """Check a deployment: settings, job types, database, QStash, token, signing keys, one job the whole way."""
    from jobs_core.engine import deployment_check

    settings = load_settings()
    findings = asyncio.run(deployment_check.run(settings, round_trip_seconds=timeout if round_trip else None))
    is_ok = all(each.ok for each in findings)
    if as_json:
        print_json({"ok": is_ok, "checks": [asdict(each) for each in findings]})
    else:
        for each in findings:
            typer.echo(f"{'ok  ' if each.ok else 'FAIL'} {each.name}: {each.detail}")
    if not is_ok:
        raise typer.Exit(FAILED)


def _trace(settings: "Settings") -> None:
    if settings.otel_exporter_otlp_endpoint is None:
        return
    from jobs_core import tracing

    try:
        tracing.configure(settings.otel_exporter_otlp_endpoint, service_name="jobs-core")
    except ImportError:
        die("OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: add the extra 'otel'")


jobs.add_to(app)
new.add_to(app)
app.add_typer(schedules.app, name="schedules")


def main() -> None:
    """Run the console script. As with ``python -m``, modules of the working directory can be imported."""
    sys.path.insert(0, "")
    app()
