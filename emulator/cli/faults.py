"""``qstash-emulator faults``: what goes wrong on purpose."""

import typer

from emulator.cli.client import Client
from emulator.cli.options import DEFAULT_URL, AsJson, Token, Url
from emulator.cli.output import print_json

app = typer.Typer(help="Faults: list them, switch one on, switch them off.", no_args_is_help=False)


@app.callback(invoke_without_command=True)
def list_faults(
    context: typer.Context, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """List the faults that are switched on."""
    if context.invoked_subcommand is None:
        print_json(Client(url, token).call("GET", "/emulator/faults"))
