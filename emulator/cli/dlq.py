"""``qstash-emulator dlq``: the dead letter queue: list, publish again, delete."""

from typing import Annotated, Any

import typer

from emulator.cli.client import Client, fail
from emulator.cli.options import DEFAULT_URL, AsJson, Token, Url
from emulator.cli.output import moment, print_json, print_table

app: typer.Typer = typer.Typer(help="The dead letter queue: list, retry, delete.", no_args_is_help=False)

DlqIds = Annotated[
    list[str] | None, typer.Argument(metavar="[DLQ_ID]...", help="Ids of entries, as the list shows them.")
]
All = Annotated[bool, typer.Option("--all", help="Every entry.")]


@app.callback(invoke_without_command=True)
def list_entries(
    context: typer.Context,
    status: Annotated[int | None, typer.Option(help="Only those whose last answer had this status.")] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, max=100, help="Largest number of entries, newest first.")
    ] = 20,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List the entries, newest first."""
    if context.invoked_subcommand is not None:
        return
    parameters: dict[str, int] = {"count": count, "trimBody": 500}
    if status is not None:
        parameters["responseStatus"] = status
    found = Client(url, token).call("GET", "/v2/dlq", params=parameters)
    if as_json:
        print_json(found)
        return
    rows = [
        [
            one["dlqId"], moment(int(one["dlqId"].partition("-")[0])), str(one["responseStatus"] or "none"), one["url"],
            " ".join(one.get("responseBody", "").split()),
        ]
        for one in found["messages"]
    ]  # fmt: skip
    print_table(
        ["DLQ ID", "FAILED", "STATUS", "DESTINATION", "ANSWER"],
        rows,
        nothing="the dead letter queue is empty",
    )


@app.command("retry")
def retry(
    dlq_ids: DlqIds = None,
    every: All = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Publish entries again; prints the new messages' ids."""
    made: list[str] = []
    client = Client(url, token)
    for answer in _each_page(client, "POST", "/v2/dlq/retry", _wanted(dlq_ids, every)):
        made += [one["messageId"] for one in answer["responses"]]
    if as_json:
        print_json({"messageIds": made})
    else:
        typer.echo("\n".join(made) or "the dead letter queue is empty")


@app.command("delete")
def delete(
    dlq_ids: DlqIds = None,
    every: All = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Delete entries."""
    client = Client(url, token)
    deleted = sum(
        answer["deleted"] for answer in _each_page(client, "DELETE", "/v2/dlq", _wanted(dlq_ids, every))
    )
    print_json({"deleted": deleted}) if as_json else typer.echo(f"{deleted} deleted")


def _wanted(dlq_ids: list[str] | None, every: bool) -> dict[str, list[str]]:
    if bool(dlq_ids) == every:
        fail("name the entries, or say --all", 2)
    return {"dlqIds": dlq_ids} if dlq_ids else {}


def _each_page(client: Client, method: str, path: str, wanted: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Call for each page of at most a hundred entries; the cursor says that more follow."""
    answers = []
    while True:
        answer = client.call(method, path, json=wanted or None)  # no body means all
        answers.append(answer)
        if wanted or "cursor" not in answer:
            return answers
