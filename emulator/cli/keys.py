"""``qstash-emulator keys``: the signing keys in force, and restoring the published ones."""

from typing import Any

import typer

from emulator.cli.client import Client
from emulator.cli.options import DEFAULT_URL, AsJson, Token, Url
from emulator.cli.output import print_json

app: typer.Typer = typer.Typer(
    help="Show the signing keys in force; restore the published ones.", no_args_is_help=False
)


@app.callback(invoke_without_command=True)
def show(
    context: typer.Context, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """Print the keys in force, as lines for an .env."""
    if context.invoked_subcommand is None:
        _say(Client(url, token).call("GET", "/v2/keys"), as_json=as_json)


@app.command("reset")
def reset(
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Restore a published user's own keys after a rotation; attempts from now on are signed with them."""
    _say(Client(url, token).call("POST", "/emulator/keys/reset"), as_json=as_json)


def _say(keys: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(keys)
        return
    typer.echo(f'QSTASH_CURRENT_SIGNING_KEY="{keys["current"]}"')
    typer.echo(f'QSTASH_NEXT_SIGNING_KEY="{keys["next"]}"')
