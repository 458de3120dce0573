"""The command ``qstash-emulator``: one module for each group. Slow imports happen where they are used, so that
``--help`` is quick.
"""

import sys
from typing import Annotated, Any

import typer

from emulator import __version__
from emulator.cli import account, clock, dlq, faults, keys, messages, runs, schedules
from emulator.cli.gc_tuning import nothing_is_garbage
from emulator.cli.mcp import mcp
from emulator.cli.options import (
    AllowedHost,
    AllowOrigin,
    ClockMode,
    ConnectTo,
    Db,
    Host,
    LikeProduction,
    LogPort,
    Memory,
    Now,
    OtlpEndpoint,
    Quota,
    StopWithStdin,
    Strict,
    Verbose,
)
from emulator.cli.parent_watch import terminate_with
from emulator.cli.publish import publish
from emulator.cli.state import export, import_, reset
from emulator.cli.tail import tail


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"qstash-emulator {__version__}")
        raise typer.Exit


app: typer.Typer = typer.Typer(
    name="qstash-emulator",
    help="All of QStash on your own machine: same API, same signatures, same retries, same cron.",
    epilog="Exit codes: 0 done; 1 refused, or a negative result; 2 invalid command line; 3 no server answers.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)

_SERVER = "Server"
_MESSAGES = "Messages"
_TIME = "Time, faults and state"
_ACCOUNT = "A real account"

_PASS_ON = {"allow_interspersed_args": False}


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit."),
    ] = False,
) -> None:
    """All of QStash on your own machine: same API, same signatures, same retries, same cron."""


@app.command(rich_help_panel=_SERVER)
def dev(
    host: Host = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on.", envvar="QSTASH_DEV_PORT", show_default="8080")
    ] = None,
    log_port: LogPort = None,
    db: Db = None,
    memory: Memory = False,
    clock: ClockMode = None,
    now: Now = None,
    connect_to: ConnectTo = None,
    allowed_host: AllowedHost = None,
    allow_origin: AllowOrigin = None,
    quota: Quota = None,
    strict: Strict = False,
    like_production: LikeProduction = False,
    otlp_endpoint: OtlpEndpoint = None,
    stop_with_stdin: StopWithStdin = False,
    verbose: Verbose = False,
) -> None:
    """Run the server until it is stopped."""
    with nothing_is_garbage():
        from emulator.cli.serve import load_settings, serve

    if memory and db:
        raise typer.BadParameter("--memory and --db exclude each other")
    given: dict[str, Any] = {
        "host": host,
        "port": port,
        "log_port": log_port,
        "db": "memory" if memory else db,
        "clock": clock,
        "now": now,
        "connect_to": _pairs(connect_to) if connect_to else None,
        "allowed_hosts": tuple(allowed_host) if allowed_host else None,
        "allowed_origins": tuple(allow_origin) if allow_origin else None,
        "quota": quota,
        "strict": strict or None,
        "like_production": like_production or None,
        "otlp_endpoint": otlp_endpoint,
    }
    settings = load_settings({name: value for name, value in given.items() if value is not None})
    raise typer.Exit(serve(settings, is_verbose=verbose, stops_with_stdin=stop_with_stdin))


@app.command(rich_help_panel=_SERVER, context_settings=_PASS_ON)
def run(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND [ARGUMENT]...", help="What to run.")],
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 0,
    db: Annotated[
        str | None,
        typer.Option(
            help="SQLite file or SQLAlchemy URL that keeps the state.", show_default="nothing is kept"
        ),
    ] = None,
    clock: ClockMode = None,
    now: Now = None,
    connect_to: ConnectTo = None,
    quota: Quota = None,
    strict: Strict = False,
    like_production: LikeProduction = False,
    stop_with_process: Annotated[
        int | None,
        typer.Option(
            metavar="PID", min=1, help="Stop, as on SIGTERM, when this process is gone; not on Windows."
        ),
    ] = None,
) -> None:
    """Run a command with a server of its own. Both end together; the exit code is the command's.

    The command finds QSTASH_URL, QSTASH_TOKEN and the two signing keys in its environment:

    qstash-emulator run -- pytest
    """
    from emulator.cli.run import run_with_server

    if stop_with_process is not None:
        if sys.platform == "win32":
            raise typer.BadParameter("--stop-with-process is not for Windows")
        terminate_with(stop_with_process)
    arguments = ["--port", str(port), *(["--db", db] if db else ["--memory"])]
    options = {"--clock": clock, "--now": now, "--quota": quota}
    arguments += [part for name, value in options.items() if value is not None for part in (name, str(value))]
    arguments += [part for pair in connect_to or [] for part in ("--connect-to", pair)]
    arguments += ["--strict"] if strict else []
    arguments += ["--like-production"] if like_production else []
    raise typer.Exit(run_with_server(command, arguments))


app.command("publish", rich_help_panel=_MESSAGES)(publish)
app.command("tail", rich_help_panel=_MESSAGES)(tail)
app.add_typer(messages.app, name="messages", rich_help_panel=_MESSAGES)
app.add_typer(dlq.app, name="dlq", rich_help_panel=_MESSAGES)
app.add_typer(runs.app, name="runs", rich_help_panel=_MESSAGES)
app.add_typer(schedules.app, name="schedules", rich_help_panel=_MESSAGES)
app.add_typer(account.app, name="account", rich_help_panel=_ACCOUNT)
app.command("mcp", rich_help_panel=_SERVER)(mcp)
app.add_typer(clock.app, name="clock", rich_help_panel=_TIME)
app.add_typer(faults.app, name="faults", rich_help_panel=_TIME)
app.add_typer(keys.app, name="keys", rich_help_panel=_TIME)
app.command("reset", rich_help_panel=_TIME)(reset)
app.command("export", rich_help_panel=_TIME)(export)
app.command("import", rich_help_panel=_TIME)(import_)


def _pairs(items: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for item in items:
        origin, equals, target = item.partition("=")
        if not equals:
            raise typer.BadParameter(f"--connect-to {item!r}: expected ORIGIN=ORIGIN")
        pairs[origin] = target
    return pairs


# The vendor's own dev server takes its flags with one dash.
_VENDOR_FLAGS = frozenset({"-port", "-quota", "-log-port"})


def main() -> None:
    """Entry point of the console script."""
    arguments = []
    for argument in sys.argv[1:]:
        name, equals, value = argument.partition("=")
        arguments.append(f"-{name}{equals}{value}" if name in _VENDOR_FLAGS else argument)
    try:
        app(arguments)
    except BrokenPipeError:
        # The reader, such as ``| head``, has closed the pipe.
        sys.stderr.close()
        raise SystemExit(0) from None
