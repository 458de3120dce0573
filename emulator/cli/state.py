"""``qstash-emulator reset``, ``export`` and ``import``: a tenant's state as a whole."""

import sys
from typing import Annotated

import typer

from emulator.cli.client import Client, read_input, write_output
from emulator.cli.options import DEFAULT_URL, AsJson, Token, Url
from emulator.cli.output import print_json


def reset(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Delete all messages, queues, groups, schedules and logs; token, keys and clock stay."""
    client = Client(url, token)
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Delete everything at {client.url}?", abort=True)
    client.call("POST", "/emulator/reset")
    typer.echo("reset", err=True)


def export(
    file: Annotated[str, typer.Argument(help="Where to write it; - is standard output.")] = "-",
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Write the tenant's state as JSON."""
    import json

    text = json.dumps(Client(url, token).call("GET", "/emulator/export"), indent=2, ensure_ascii=False) + "\n"
    write_output(file, text)


def import_(
    file: Annotated[str, typer.Argument(help="A file that export wrote; - is standard input.")] = "-",
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Load a file that export wrote."""
    content = read_input(file)
    headers = {"Content-Type": "application/json"}
    answer = Client(url, token).call("POST", "/emulator/import", content=content, headers=headers)
    print_json(answer) if as_json else typer.echo("imported", err=True)
