"""Commands about schedules."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs_core.cli.session import NOT_FOUND, JsonFlag, die, parse_payload, parse_subject, print_json, run

if TYPE_CHECKING:
    from jobs_core.engine.dispatcher import JobDispatcher
    from jobs_core.engine.schedules import Schedule

app: typer.Typer = typer.Typer(help="Jobs that repeat.", no_args_is_help=True)

ScheduleId = Annotated[str, typer.Argument(metavar="SCHEDULE_ID")]


@app.command("list")
def list_schedules(as_json: JsonFlag = False) -> None:
    """List the schedules that QStash has."""
    found = run(lambda dispatcher: dispatcher.schedules.list())
    if as_json:
        print_json({"schedules": [_to_json(each) for each in found]})
    else:
        from jobs_core.cli import display

        display.schedules(found)


@app.command()
def create(
    job_type: Annotated[str, typer.Argument(metavar="TYPE", help="Such as cleanup-old-data.")],
    cron: Annotated[str, typer.Argument(metavar="CRON", help="Five fields, such as '0 9 * * 1'.")],
    payload: Annotated[str, typer.Argument(metavar="PAYLOAD_JSON", help="Of each firing.")] = "{}",
    timezone: Annotated[str, typer.Option(help="Such as Europe/Berlin.")] = "UTC",
    schedule_id: Annotated[str | None, typer.Option("--id", help="An id that exists is replaced.")] = None,
    user_id: Annotated[str | None, typer.Option(help="A whole number is taken as one.")] = None,
    organization_id: Annotated[str | None, typer.Option(help="A whole number is taken as one.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Enqueue a job at every time that matches CRON."""
    parsed = parse_payload(payload)
    made = run(
        lambda dispatcher: dispatcher.schedule(
            job_type,
            cron,
            parsed,
            schedule_id=schedule_id,
            timezone=timezone,
            user_id=parse_subject(user_id),
            organization_id=parse_subject(organization_id),
        )
    )
    if as_json:
        print_json({"scheduleId": made})
    else:
        typer.echo(made)


@app.command()
def sync(
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Make QStash's schedules match the code's.

    Schedules that the code no longer declares are removed after a confirmation; with --json, only with --yes.
    """
    plan = run(lambda dispatcher: dispatcher.schedules.plan())
    remove = bool(plan.undeclared) and (yes or (not as_json and _confirm(plan.undeclared)))
    run(lambda dispatcher: dispatcher.schedules.carry_out(plan, remove=remove))
    removed, kept = (plan.undeclared, ()) if remove else ((), plan.undeclared)
    if as_json:
        print_json({"declared": list(plan.declared), "removed": list(removed), "undeclared": list(kept)})
        return
    kept_too = f", {len(kept)} no longer declared kept" if kept else ""
    typer.echo(f"schedules: {len(plan.declared)} in force, {len(removed)} removed{kept_too}")


@app.command()
def export(
    file: Annotated[str, typer.Argument(help="Where to write it; - is standard output.")] = "-",
    as_json: JsonFlag = False,
) -> None:
    """Write the schedules that the code declares as a qstash.yaml, for qstash-emulator account."""
    import yaml

    async def declared(dispatcher: "JobDispatcher") -> dict[str, dict[str, object]]:
        return dispatcher.schedules.export()

    form = {"schedules": run(declared)}
    if as_json:
        print_json(form)
        return
    text = yaml.safe_dump(form, sort_keys=False, allow_unicode=True, width=100)
    if file == "-":
        typer.echo(text, nl=False)
        return
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        die(f"cannot write {file}: {error.strerror}", 2)
    typer.echo(f"{file}: {len(form['schedules'])} declared")


@app.command()
def pause(schedule_id: ScheduleId, as_json: JsonFlag = False) -> None:
    """Skip firings until resumed."""
    _change(schedule_id, "pause", as_json=as_json)


@app.command()
def resume(schedule_id: ScheduleId, as_json: JsonFlag = False) -> None:
    """Fire again from the next matching time."""
    _change(schedule_id, "resume", as_json=as_json)


@app.command()
def remove(schedule_id: ScheduleId, as_json: JsonFlag = False) -> None:
    """Remove a schedule; its jobs stay."""
    _change(schedule_id, "delete", as_json=as_json)


def _confirm(undeclared: tuple[str, ...]) -> bool:
    return typer.confirm(f"no longer declared: {', '.join(undeclared)}; remove from QStash?")


def _change(schedule_id: str, action: str, *, as_json: bool) -> None:
    if not run(lambda dispatcher: dispatcher.client.change_schedule(schedule_id, action)):
        die(f"there is no schedule {schedule_id}", NOT_FOUND)
    if as_json:
        print_json({"scheduleId": schedule_id, "done": action})
    else:
        typer.echo(f"{schedule_id}: {action} done")


def _to_json(schedule: "Schedule") -> dict[str, object]:
    return {
        "scheduleId": schedule.schedule_id,
        "cron": schedule.cron,
        "destination": schedule.destination,
        "isPaused": schedule.is_paused,
        "nextAt": schedule.next_at.isoformat() if schedule.next_at else None,
    }
