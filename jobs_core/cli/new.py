"""The command that starts a new job type."""

from pathlib import Path
from typing import Annotated

import typer

from jobs_core.cli.session import JsonFlag, die, load_settings, print_json


def add_to(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command()(new)


def new(
    job_type: Annotated[str, typer.Argument(metavar="TYPE", help="Such as send-sms.")],
    package: Annotated[
        str | None,
        typer.Option(help="Where its module goes; default: the first of JOBS_MODULES, or else 'jobs'."),
    ] = None,
    tests: Annotated[Path, typer.Option(help="The folder for its test.")] = Path("tests"),
    as_json: JsonFlag = False,
) -> None:
    """Write the module of a new job type, and its test."""
    from jobs_core.cli import job_template
    from jobs_core.engine.registry import default_registry
    from jobs_core.model.errors import RegistryError

    settings = load_settings()
    named = [name.strip() for name in settings.jobs_modules.split(",") if name.strip()]
    package = package or (named[0] if named else "jobs")
    try:
        if job_type in default_registry(settings.jobs_modules):
            die(f"there is a job type {job_type!r} already: jobs-core types")
    except (RegistryError, ImportError) as error:
        die(str(error))
    try:
        written = job_template.write(job_type, package, tests)
    except (RegistryError, FileExistsError) as error:
        die(str(error))
    if as_json:
        print_json({"written": [str(path) for path in written]})
        return
    for path in written:
        typer.echo(f"wrote {path}")
    if package not in named:
        typer.echo(f"add it to your environment, or to .env: JOBS_MODULES={','.join([*named, package])}")
