"""``qstash-emulator tail``: events as they happen, one line each."""

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from emulator.cli.client import Client
from emulator.cli.options import DEFAULT_URL, AsJson, Token, Url
from emulator.cli.output import state as coloured
from emulator.cli.output import time_of_day

_RETRY_SECONDS = 1.0


def tail(
    state: Annotated[
        str | None, typer.Option(help="Only these states, separated by commas: CREATED, ERROR, DELIVERED …")
    ] = None,
    destination: Annotated[
        str | None, typer.Option("--destination", help="Only URLs that contain this.")
    ] = None,
    message: Annotated[str | None, typer.Option(metavar="MESSAGE_ID", help="Only this message.")] = None,
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="Stop after this number of events.")
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show events live, one line each, until Ctrl-C. With --json one object a line."""
    states = {name.strip().upper() for name in state.split(",")} if state else None
    left = count
    for step in follow(Client(url, token)):
        if (
            step is None
            or (states is not None and step["state"] not in states)
            or (destination is not None and destination not in step["url"])
            or (message is not None and message != step["messageId"])
        ):
            continue
        typer.echo(json.dumps(step, ensure_ascii=False) if as_json else line_of(step))
        if left is not None:
            left -= 1
            if left == 0:
                return


def line_of(step: dict[str, Any]) -> str:
    """Return one event as one line."""
    details = (
        [f"attempt {step['retried'] + 1}/{step['maxRetries'] + 1}"] if step["state"] != "CREATED" else []
    )
    if step.get("status") and step["state"] != "ERROR":
        details.append(str(step["status"]))
    if step["state"] == "ERROR" and (why := step.get("reason") or step.get("error")):
        details.append(why)
    if step["state"] == "FAILED":
        details.append("no attempt is left; see: qstash-emulator dlq")
    if step["state"] in ("CREATED", "RETRY") and step.get("nextDeliveryTime"):
        details.append(f"due {time_of_day(step['nextDeliveryTime'])}")
    details += [f"queue {step['queueName']}"] if step.get("queueName") else []
    details += [f"schedule {step['scheduleId']}"] if step.get("scheduleId") else []
    words = typer.style("  ".join(details), dim=True)
    return (
        f"{time_of_day(step['time'])}  {coloured(step['state'], 16)}  {step['messageId'][:16]}…  "
        f"{step['method']} {step['url']}  {words}".rstrip()
    )


def follow(client: Client) -> Iterator[dict[str, Any] | None]:
    """Yield ``None`` once connected, then every event; reconnects and continues after the server was restarted."""
    import httpx

    last_id: str | None = None
    is_listening = False
    while True:
        try:
            with client.stream("/emulator/events", {"Last-Event-ID": last_id} if last_id else {}) as lines:
                for name, data, event_id in _events(lines):
                    last_id = event_id or last_id
                    if name == "hello":
                        is_listening = True
                        yield None
                    elif name == "step":
                        yield json.loads(data)
        except httpx.TransportError:
            if not is_listening:
                client.not_running()
        typer.echo("qstash-emulator: the connection was lost; trying again", err=True)
        _pause()


def _pause() -> None:
    import time

    time.sleep(_RETRY_SECONDS)


def _events(lines: Iterator[str]) -> Iterator[tuple[str, str, str]]:
    """Yield ``(event, data, id)`` of each block (WHATWG HTML, 9.2)."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield fields.get("event", ""), fields.get("data", ""), fields.get("id", "")
            fields = {}
