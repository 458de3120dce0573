"""``qstash-emulator clock``: show the tenant's clock, and advance a manual one."""

from typing import Annotated, Any

import typer

from emulator.cli.client import Client
from emulator.cli.options import DEFAULT_URL, AsJson, Token, Url
from emulator.cli.output import moment, print_facts, print_json

app: typer.Typer = typer.Typer(help="Show the clock; move a manual one.", no_args_is_help=False)


@app.callback(invoke_without_command=True)
def show(
    context: typer.Context, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """Show the tenant's time, and when something is due next."""
    if context.invoked_subcommand is not None:
        return
    answer = Client(url, token).call("GET", "/emulator/clock")
    if as_json:
        print_json(answer)
        return
    print_facts(
        [
            ("clock", answer["mode"]),
            ("now", moment(answer["now"], millis=True)),
            ("next due", moment(answer["nextDue"], millis=True) or "nothing"),
        ]
    )


@app.command("advance")
def advance(
    by: Annotated[str, typer.Argument(metavar="DURATION", help="A duration, such as 90s, 24h, 1d10h30m.")],
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Move the clock forward. Returns when everything that fell due has happened."""
    _say(Client(url, token).call("POST", "/emulator/clock/advance", json={"by": by}), as_json)


@app.command("to")
def to(
    at: Annotated[int, typer.Argument(metavar="MILLISECONDS", help="An instant, in unix milliseconds.")],
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Move the clock to an instant."""
    _say(Client(url, token).call("POST", "/emulator/clock/advance", json={"to": at}), as_json)


@app.command("run-until-idle")
def run_until_idle(
    limit: Annotated[str | None, typer.Option(help="Move it at most this far.", show_default="30d")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Move the clock until no message is pending."""
    body = {} if limit is None else {"limit": limit}
    _say(Client(url, token).call("POST", "/emulator/clock/run-until-idle", json=body), as_json)


def _say(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    done = f"attempts made: {answer['delivered']}, schedules fired: {answer['fired']}"
    next_due = moment(answer["nextDue"], millis=True) or "nothing"
    typer.echo(f"{moment(answer['now'], millis=True)}: {done}; next due: {next_due}")
