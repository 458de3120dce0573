"""Options that several commands share, each declared once."""

from typing import Annotated
from urllib.parse import urlsplit

import typer

DEFAULT_URL = "http://127.0.0.1:8080"

# Which server a command talks to


def _server_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one:
        raise typer.BadParameter(f"{url!r}: expected a URL of http or https, such as {DEFAULT_URL}")
    return url


Url = Annotated[
    str,
    typer.Option(
        "--url",
        help="The server.",
        envvar="QSTASH_URL",
        show_envvar=True,
        rich_help_panel="Server",
        callback=_server_url,
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        help="Whose messages; by default the default user's.",
        envvar="QSTASH_TOKEN",
        show_envvar=True,
        show_default=False,
        rich_help_panel="Server",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the server's JSON and nothing else.")]

# How a server is run

Host = Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")]
LogPort = Annotated[
    int | None,
    typer.Option(
        help="A second port that answers the same requests, as the vendor's log server does.",
        envvar="QSTASH_DEV_LOG_PORT",
        show_default="none",
    ),
]
Db = Annotated[
    str | None,
    typer.Option(help="SQLite file or SQLAlchemy URL that keeps the state.", show_default="qstash.db"),
]
Memory = Annotated[bool, typer.Option("--memory", help="Keep the state in memory; it ends with the server.")]
ClockMode = Annotated[
    str | None,
    typer.Option(
        "--clock", help="'system', or 'manual': time moves only when told to.", show_default="system"
    ),
]
Now = Annotated[int | None, typer.Option(help="Where a manual clock starts, in unix milliseconds.")]
ConnectTo = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ORIGIN=ORIGIN",
        help="Send deliveries for the first origin to the second; url, signature and Host stay. Repeatable.",
    ),
]
AllowedHost = Annotated[
    list[str] | None,
    typer.Option(help="Another Host name under which the server may be called. Repeatable."),
]
AllowOrigin = Annotated[
    list[str] | None,
    typer.Option(metavar="ORIGIN", help="Another origin whose pages may call /v2. Repeatable."),
]
Quota = Annotated[
    str | None,
    typer.Option(help="Plan whose limits apply: lenient, free, payg, pro.", envvar="QSTASH_DEV_QUOTA"),
]
LikeProduction = Annotated[
    bool,
    typer.Option(
        "--like-production",
        help="Refuse loopback, private and unresolvable hosts and enforce a plan's limits, as the real service does.",
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse what the real service silently ignores.")]
OtlpEndpoint = Annotated[
    str | None, typer.Option(help="Send traces there by OTLP over HTTP; needs the extra 'otel'.")
]
StopWithStdin = Annotated[
    bool,
    typer.Option(
        "--stop-with-stdin",
        help="Stop when standard input closes, so that no server outlives the program that started it.",
    ),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Log every request, not only failed deliveries.")
]
