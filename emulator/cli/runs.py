"""``qstash-emulator runs``: list workflow runs, show one with its reasons, start one again from a step."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from emulator.cli.client import Client, fail, read_input
from emulator.cli.options import DEFAULT_URL, AsJson, Token, Url
from emulator.cli.output import moment, print_facts, print_json, print_table, sentence

app: typer.Typer = typer.Typer(
    help="List workflow runs; show one, start one again from a step.", no_args_is_help=False
)


@app.callback(invoke_without_command=True)
def list_runs(
    context: typer.Context,
    state: Annotated[
        str | None,
        typer.Option(help="RUN_STARTED, RUN_SUCCESS, RUN_FAILED, RUN_CANCELED; separate several by commas."),
    ] = None,
    label: Annotated[str | None, typer.Option(help="A label.")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List workflow runs, the newest hundred."""
    if context.invoked_subcommand is not None:
        return
    wanted = {"state": state.upper() if state else None, "label": label}
    parameters = {name: value for name, value in wanted.items() if value is not None}
    found = Client(url, token).call("GET", "/emulator/runs", params=parameters)
    if as_json:
        print_json(found)
        return
    rows = [
        [one["state"], moment(one["createdAt"]), one["runId"], one["url"], sentence(one["outcome"])]
        for one in found["runs"]
    ]
    print_table(["STATE", "CREATED", "RUN", "WORKFLOW", "WHY"], rows, nothing="no workflow run matches")


@app.command("show")
def show(
    run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help="wfr_…")],
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show one run: its state, the reason, and each step with its failed attempts."""
    story = Client(url, token).call("GET", f"/emulator/runs/{run_id}")
    if as_json:
        print_json(story)
        return
    summary = story["summary"]
    print_facts(
        [
            ("id", summary["runId"]),
            ("state", summary["state"]),
            ("why", sentence(summary["outcome"])),
            ("step", summary["outcome"].get("step")),
            ("workflow", summary["url"]),
            ("created", moment(summary["createdAt"], millis=True)),
            ("ended", moment(summary["endedAt"], millis=True)),
            ("labels", summary["labels"]),
            ("invoked by", summary["invokedBy"]),
        ]
    )
    typer.echo()
    rows = [row for bar in story["bars"] for row in _rows(bar)]
    print_table(["STEP", "KIND", "STATE", "STARTED", "WHY"], rows, nothing="no step yet")


@app.command("rerun")
def rerun(
    run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help="wfr_…, of a run that has ended.")],
    from_step: Annotated[
        str,
        typer.Option(
            "--from-step", metavar="N", help="The first step to repeat: its number, from 1, or its name."
        ),
    ],
    payload: Annotated[
        str | None,
        typer.Option(
            "--input", metavar="TEXT", help="Another initial payload; @FILE reads a file, @- standard input."
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Start a run again from a step, as a new run whose id is printed; the results before it are kept."""
    asked: dict[str, Any] = {"fromStep": int(from_step) if from_step.isdecimal() else from_step}
    if payload is not None:
        asked["input"] = _text(payload)
    made = Client(url, token).call("POST", f"/emulator/runs/{quote(run_id, safe='')}/rerun", json=asked)
    print_json(made) if as_json else typer.echo(made["runId"])


def _text(given: str) -> str:
    if not given.startswith("@"):
        return given
    try:
        return read_input(given[1:]).decode()
    except UnicodeDecodeError:
        fail(f"--input {given}: it is not UTF-8", 2)


def _rows(bar: dict[str, Any]) -> list[list[str]]:
    """Return a step as one row, and one more for each failed attempt."""
    waits_for = f"waits for {bar['waitsFor']}" if bar.get("waitsFor") else ""
    first = [
        bar["name"],
        bar["kind"],
        bar["state"].removeprefix("STEP_"),
        moment(bar["startedAt"], millis=True),
        waits_for,
    ]
    failures = [["", "", "ERROR", moment(one["at"], millis=True), one["reason"]] for one in bar["failures"]]
    return [first, *failures]
