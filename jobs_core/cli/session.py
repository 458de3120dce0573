"""Needs of every command: the settings, a dispatcher, and an exit code and one line for each error."""

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from jobs_core.engine.dispatcher import JobDispatcher
    from jobs_core.engine.registry import Registry
    from jobs_core.model.envelope import Subject
    from jobs_core.settings.settings import Settings

T = TypeVar("T")

FAILED = 1
NOT_FOUND = 3
TIMED_OUT = 4

JsonFlag = Annotated[bool, typer.Option("--json", help="Answer in JSON, for programs.")]


@dataclass(frozen=True, slots=True)
class _Project:
    """The source of settings and job types, if it is not the environment."""

    load: "Callable[[], Settings]"
    registry: "Callable[[Settings], Registry]"


_project: _Project | None = None


@contextmanager
def of_project(load: "Callable[[], Settings]", registry: "Callable[[Settings], Registry]") -> Iterator[None]:
    """Have the commands take settings and job types from a framework's project, not from the environment alone."""
    global _project  # noqa: PLW0603 -- commands take no further arguments
    before, _project = _project, _Project(load, registry)
    try:
        yield
    finally:
        _project = before


def job_types(settings: "Settings") -> "Registry | None":
    """Return the project's job types; ``None`` means those that the settings name. Raise RegistryError."""
    return None if _project is None else _project.registry(settings)


def run(go: "Callable[[JobDispatcher], Coroutine[Any, Any, T]]") -> T:
    """Run one call with a dispatcher and return its result. Raise typer.Exit with the exit code of its error."""
    from sqlalchemy.exc import SQLAlchemyError

    from jobs_core import log_format
    from jobs_core.engine.dispatcher import JobDispatcher
    from jobs_core.model.errors import JobError, JobNotFoundError, RegistryError

    settings = load_settings()
    log_format.configure(logging.WARNING)

    async def within() -> T:
        async with JobDispatcher(settings, registry=job_types(settings)) as dispatcher:
            return await go(dispatcher)

    try:
        return asyncio.run(within())
    except JobNotFoundError as error:
        die(error.message, NOT_FOUND)
    except JobError as error:
        die(error.message)
    except (RegistryError, ImportError) as error:
        die(str(error))
    except SQLAlchemyError as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        die(f"the database does not answer, or is not migrated (jobs-core migrate): {reason}")


def load_settings() -> "Settings":
    """Return the settings of the environment, or print why there are none and exit."""
    from jobs_core.model.errors import SettingsError
    from jobs_core.settings.settings import Settings

    try:
        return Settings.load() if _project is None else _project.load()
    except SettingsError as error:
        die(str(error))


def die(reason: str, code: int = FAILED) -> NoReturn:
    """Print the reason on standard error and exit."""
    typer.echo(f"jobs-core: {reason}", err=True)
    raise typer.Exit(code)


def print_json(value: object) -> None:
    """Print one JSON document on one line."""
    typer.echo(json.dumps(value))


def parse_payload(text: str) -> dict[str, Any]:
    """Return a payload from the command line. Raise typer.BadParameter."""
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="PAYLOAD_JSON") from None
    if not isinstance(parsed, dict):
        raise typer.BadParameter("must be a JSON object", param_hint="PAYLOAD_JSON")
    return parsed


def parse_subject(text: str | None) -> "Subject | None":
    """Return a user's or organization's id from the command line: an int where it is a whole number."""
    from jobs_core.model.envelope import subject_of

    return None if text is None else subject_of(text)
