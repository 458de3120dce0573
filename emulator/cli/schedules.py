"""``qstash-emulator schedules``: list, show one, run it now, pause, delete."""

from typing import Annotated

import typer

from emulator.cli.client import Client
from emulator.cli.options import DEFAULT_URL, AsJson, Token, Url
from emulator.cli.output import moment, print_facts, print_json, print_table

app: typer.Typer = typer.Typer(
    help="List schedules; show one, run it now, pause, resume or delete it.", no_args_is_help=False
)

ScheduleId = Annotated[str, typer.Argument(metavar="SCHEDULE_ID")]


@app.callback(invoke_without_command=True)
def list_schedules(
    context: typer.Context, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """List schedules, the next to fire first."""
    if context.invoked_subcommand is not None:
        return
    found = Client(url, token).call("GET", "/emulator/schedules")
    if as_json:
        print_json(found)
        return
    rows = [
        [
            one["schedule"]["scheduleId"],
            "paused" if one["schedule"]["isPaused"] else moment(one["schedule"].get("nextScheduleTime")),
            one["schedule"]["cron"], f"{one['schedule']['method']} {one['schedule']['destination']}",
        ]
        for one in found["schedules"]
    ]  # fmt: skip
    print_table(["ID", "NEXT", "CRON", "DESTINATION"], rows, nothing="no schedule")


@app.command("show")
def show(
    schedule_id: ScheduleId, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """Show one schedule: its next times in its own zone, and the messages it made."""
    one = Client(url, token).call("GET", f"/emulator/schedules/{schedule_id}")
    if as_json:
        print_json(one)
        return
    schedule = one["schedule"]
    print_facts(
        [
            ("id", schedule["scheduleId"]),
            ("cron", schedule["cron"]),
            ("zone", one["zone"]),
            ("destination", f"{schedule['method']} {schedule['destination']}"),
            ("state", "paused" if schedule["isPaused"] else None),
            ("error", schedule.get("error")),
            ("next", [text.replace("T", " ") for text in one["firingsLocal"][:5]]),
        ]
    )
    typer.echo()
    rows = [[made["state"], moment(made["createdAt"]), made["messageId"]] for made in one["history"]]
    print_table(["STATE", "FIRED", "MESSAGE"], rows, nothing="it has not fired yet")


@app.command("run")
def run(
    schedule_id: ScheduleId, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """Publish the schedule's message now; its next time is unchanged. Prints the message ids."""
    answer = Client(url, token).call("POST", f"/emulator/schedules/{schedule_id}/run-now")
    print_json(answer) if as_json else typer.echo("\n".join(answer["messageIds"]))


@app.command("pause")
def pause(schedule_id: ScheduleId, url: Url = DEFAULT_URL, token: Token = None) -> None:
    """Skip firings until it is resumed."""
    Client(url, token).call("PATCH", f"/v2/schedules/{schedule_id}/pause")
    typer.echo(f"{schedule_id} is paused")


@app.command("resume")
def resume(schedule_id: ScheduleId, url: Url = DEFAULT_URL, token: Token = None) -> None:
    """Fire again from the next matching time."""
    Client(url, token).call("PATCH", f"/v2/schedules/{schedule_id}/resume")
    typer.echo(f"{schedule_id} goes on")


@app.command("delete")
def delete(schedule_id: ScheduleId, url: Url = DEFAULT_URL, token: Token = None) -> None:
    """Delete a schedule; its messages stay."""
    Client(url, token).call("DELETE", f"/v2/schedules/{schedule_id}")
    typer.echo(f"{schedule_id} is deleted")
