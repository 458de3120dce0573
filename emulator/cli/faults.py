"""``qstash-emulator faults``: list, add and remove injected faults."""

from typing import Annotated, Any

import typer

from emulator.cli.client import Client, fail, read_pair
from emulator.cli.options import DEFAULT_URL, AsJson, Token, Url
from emulator.cli.output import print_json, print_table

app: typer.Typer = typer.Typer(help="List faults; add or remove them.", no_args_is_help=False)


@app.callback(invoke_without_command=True)
def list_faults(
    context: typer.Context, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """List the faults in force."""
    if context.invoked_subcommand is not None:
        return
    found = Client(url, token).call("GET", "/emulator/faults")
    if as_json:
        print_json(found)
        return
    rows = [[one["id"], one["kind"], str(one["struck"]), _conditions(one)] for one in found["faults"]]
    print_table(["ID", "KIND", "STRUCK", "WHERE AND HOW"], rows, nothing="no fault is on")


@app.command("add")
def add(
    kind: Annotated[
        str,
        typer.Argument(
            help="refuse, drop, answer, delay, time-out, crash …; an unknown kind lists them all."
        ),
    ],
    destination: Annotated[
        str | None, typer.Option(help="The URL or its beginning; * stands for any characters.")
    ] = None,
    queue: Annotated[str | None, typer.Option(help="Only this queue.")] = None,
    label: Annotated[str | None, typer.Option(help="Only messages with this label.")] = None,
    count: Annotated[
        int | None, typer.Option("--count", "-n", help="How many deliveries it affects; all by default.")
    ] = None,
    skip: Annotated[int | None, typer.Option(help="How many deliveries pass unaffected first.")] = None,
    probability: Annotated[
        float | None, typer.Option(help="Probability that a delivery is affected, up to 1.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed for the probability.")] = None,
    status: Annotated[int | None, typer.Option(help="The status of the answer.")] = None,
    response_header: Annotated[
        list[str] | None, typer.Option(metavar="NAME:VALUE", help="A header of that answer. Repeatable.")
    ] = None,
    response_body: Annotated[str | None, typer.Option(help="The body of that answer.")] = None,
    delay: Annotated[str | None, typer.Option(help="How long a delivery is delayed, such as 30s.")] = None,
    accepted: Annotated[
        bool, typer.Option("--accepted", help="The publish takes effect although it fails.")
    ] = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Add a fault; prints its id."""
    given = {
        "kind": kind,
        "destination": destination,
        "queue": queue,
        "label": label,
        "count": count,
        "skip": skip,
        "probability": probability,
        "seed": seed,
        "status": status,
        "responseHeaders": dict(map(read_pair, response_header)) if response_header else None,
        "responseBody": response_body,
        "delay": delay,
        "accepted": accepted or None,
    }
    fault = {name: value for name, value in given.items() if value is not None}
    made = Client(url, token).call("POST", "/emulator/faults", json=fault)
    print_json(made) if as_json else typer.echo(made["id"])


@app.command("remove")
def remove(
    fault_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[FAULT_ID]...", help="Ids, as the list shows them.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every fault.")] = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Remove faults."""
    if bool(fault_ids) == every:
        fail("name the faults, or say --all", 2)
    Client(url, token).call("DELETE", "/emulator/faults", params={"id": fault_ids} if fault_ids else {})
    typer.echo("off", err=True)


def _conditions(fault: dict[str, Any]) -> str:
    shown = {name: value for name, value in fault.items() if name not in ("id", "kind", "struck")}
    return ", ".join(f"{name} {value}" for name, value in shown.items()) or "everything"
