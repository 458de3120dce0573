"""``qstash-emulator messages``: list, show one, deliver it now, cancel it."""

from typing import Annotated, Any

import typer

from emulator.cli.client import Client
from emulator.cli.options import DEFAULT_URL, AsJson, Token, Url
from emulator.cli.output import moment, print_facts, print_json, print_table, sentence

app: typer.Typer = typer.Typer(
    help="List messages; show one, deliver it now, cancel it.", no_args_is_help=False
)

MessageId = Annotated[str, typer.Argument(metavar="MESSAGE_ID", help="msg_…")]


@app.callback(invoke_without_command=True)
def list_messages(
    context: typer.Context,
    state: Annotated[
        str | None,
        typer.Option(help="CREATED, ACTIVE, RETRY, DELIVERED, FAILED, CANCELED; separate several by commas."),
    ] = None,
    destination: Annotated[
        str | None, typer.Option("--destination", help="Part of the destination's URL.")
    ] = None,
    queue: Annotated[str | None, typer.Option(help="Name of the queue.")] = None,
    label: Annotated[str | None, typer.Option(help="A label.")] = None,
    text: Annotated[str | None, typer.Option(help="Part of an id, URL, label or body.")] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, max=500, help="Largest number of messages, newest first.")
    ] = 20,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List messages, newest first."""
    if context.invoked_subcommand is not None:
        return
    wanted = {
        "state": state, "url": destination, "queueName": queue, "label": label, "text": text, "count": count,
    }  # fmt: skip
    parameters = {name: value for name, value in wanted.items() if value is not None}
    found = Client(url, token).call("GET", "/emulator/messages", params=parameters)
    if as_json:
        print_json(found)
        return
    rows = [
        [
            one["state"], f"{one['retried']}/{one['maxRetries']}", moment(one["createdAt"]), one["messageId"],
            f"{one['method']} {one['url']}", sentence(one["outcome"]),
        ]
        for one in found["messages"]
    ]  # fmt: skip
    print_table(
        ["STATE", "RETRIED", "CREATED", "ID", "DESTINATION", "WHY"], rows, nothing="no message matches"
    )
    if found["total"] > len(rows):
        typer.echo(f"{len(rows)} of {found['total']}; --count shows more", err=True)


@app.command("show")
def show(message_id: MessageId, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Show one message: its state, the reason, and the result of each attempt."""
    story = Client(url, token).call("GET", f"/emulator/messages/{message_id}")
    if as_json:
        print_json(story)
        return
    message, summary = story["message"], story["summary"]
    print_facts(
        [
            ("id", message["messageId"]),
            ("state", summary["state"]),
            ("why", sentence(story["outcome"])),
            ("waits for", story.get("waitsFor")),
            ("waits until", moment(story.get("waitsUntil"))),
            ("destination", f"{message['method']} {message['url']}"),
            ("created", moment(message["createdAt"], millis=True)),
            ("next attempt", moment(summary.get("dueAt")) if story.get("waitsFor") else None),
            ("finished", moment(summary.get("finishedAt"), millis=True)),
            ("retries", f"{summary['retried']} of {message['maxRetries']}"),
            ("queue", message.get("queueName")),
            ("schedule", message.get("scheduleId")),
            ("labels", message.get("labels")),
            ("dlq", story.get("dlqId")),
            ("body", message.get("body")),
        ]
    )
    typer.echo()
    rows = [_attempt_row(one) for one in story["attempts"]]
    print_table(["ATTEMPT", "OUTCOME", "STATUS", "STARTED", "TOOK", "WHY"], rows, nothing="no attempt yet")


def _attempt_row(one: dict[str, Any]) -> list[str]:
    response = one.get("response") or {}
    took = f"{one['endedAt'] - one['startedAt']} ms" if "endedAt" in one else ""
    following = one.get("next")
    why = [
        one.get("reason") or one.get("error") or "",
        f"next at {moment(following['at'])}, {following['rule']}" if following else "",
    ]
    return [
        str(one["number"]), one["outcome"] or "ACTIVE", str(response.get("status", "")),
        moment(one["startedAt"], millis=True), took, "; ".join(filter(None, why)),
    ]  # fmt: skip


@app.command("retry")
def retry(
    message_id: MessageId, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """Deliver a waiting message now."""
    answer = Client(url, token).call("POST", f"/emulator/messages/{message_id}/retry-now")
    print_json(answer) if as_json else typer.echo(f"{message_id} is due now")


@app.command("cancel")
def cancel(
    message_id: MessageId, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """Cancel an unfinished message."""
    answer = Client(url, token).call("DELETE", f"/v2/messages/{message_id}")
    print_json(answer) if as_json else typer.echo(f"{message_id} is cancelled")
