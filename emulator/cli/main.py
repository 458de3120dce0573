"""Commands. Modules that take long to import are imported where they are used, so that --help is quick."""

import sys
from typing import Annotated

import typer

app = typer.Typer(
    name="qstash-emulator",
    help="All of QStash on your own machine: same API, same signatures, same retries, same cron.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def root() -> None:
    """Keeps ``dev`` a command of its own while it is the only one."""


@app.command()
def dev(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on.", envvar="QSTASH_DEV_PORT", show_default="8080")
    ] = None,
    db: Annotated[
        str | None,
        typer.Option(help="SQLite file or SQLAlchemy URL that keeps the state.", show_default="qstash.db"),
    ] = None,
    memory: Annotated[bool, typer.Option("--memory", help="Keep nothing beyond this run.")] = False,
    clock: Annotated[
        str | None, typer.Option(help="'system', or 'manual' to turn it by hand.", show_default="system")
    ] = None,
    now: Annotated[
        int | None, typer.Option(help="Where a manual clock starts, in unix milliseconds.")
    ] = None,
    connect_to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN=ORIGIN",
            help="Send deliveries for the first origin to the second; url, signature and Host stay. Repeatable.",
        ),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(help="Another Host name under which /emulator/ may be called. Repeatable."),
    ] = None,
    quota: Annotated[
        str | None,
        typer.Option(help="Plan whose limits apply: lenient, free, payg, pro.", envvar="QSTASH_DEV_QUOTA"),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse what the real service would ignore.")
    ] = False,
    otlp_endpoint: Annotated[
        str | None, typer.Option(help="Send traces there by OTLP over HTTP; needs the extra 'otel'.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every request.")] = False,
) -> None:
    """Run the server until it is stopped."""
    from emulator.cli.serve import load_settings, serve

    given = {
        "host": host,
        "port": port,
        "db": "memory" if memory else db,
        "clock": clock,
        "now": now,
        "connect_to": _pairs(connect_to) if connect_to else None,
        "allowed_hosts": tuple(allowed_host) if allowed_host else None,
        "quota": quota,
        "strict": strict or None,
        "otlp_endpoint": otlp_endpoint,
    }
    if memory and db:
        raise typer.BadParameter("--memory and --db exclude each other")
    settings = load_settings({name: value for name, value in given.items() if value is not None})
    raise typer.Exit(serve(settings, is_verbose=verbose))


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
    app(arguments)
