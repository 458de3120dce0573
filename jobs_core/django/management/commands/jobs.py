"""``manage.py jobs …``: the command line of the job system, with the project's settings, database and job types."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connections

from jobs_core.cli import session
from jobs_core.cli.main import app
from jobs_core.django import project


class Command(BaseCommand):
    """Passes all arguments on: ``manage.py jobs list --json``."""

    help = "The job system in the terminal; 'manage.py jobs --help' lists the commands."
    requires_system_checks: list[str] = []  # noqa: RUF012 -- as Django declares it

    def run_from_argv(self, argv: list[str]) -> None:
        """Run from the command line; Django's own options, such as --settings, have been read by then."""
        self._run(argv[2:])

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments of ``call_command("jobs", "list")``."""
        parser.add_argument("arguments", nargs="*")

    def handle(self, *, arguments: list[str], **_: Any) -> None:
        """Run from Python. Raise SystemExit unless it succeeds."""
        self._run(arguments)

    def _run(self, arguments: list[str]) -> None:
        try:
            with session.of_project(project.load_settings, project.registry):
                app(args=arguments, prog_name="manage.py jobs")
        except SystemExit as end:
            if end.code:
                raise
        finally:
            connections.close_all()
