"""``qstash-emulator publish``: publishes one message, and may wait for its end."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from emulator.cli.client import REFUSED, Client, read_input, read_pair
from emulator.cli.options import DEFAULT_URL, AsJson, Token, Url
from emulator.cli.output import print_json
from emulator.cli.tail import follow, line_of
from emulator.wire.json_text import is_json


def publish(
    destination: Annotated[str, typer.Argument(help="A URL, or the name of a URL group.")],
    body: Annotated[
        str | None, typer.Option("--body", "-d", help="The body; @FILE reads a file, @- standard input.")
    ] = None,
    content_type: Annotated[
        str | None,
        typer.Option(help="Content-Type; application/json for a body that is JSON.", show_default=False),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header", "-H", metavar="NAME:VALUE", help="A header for the destination. Repeatable."
        ),
    ] = None,
    method: Annotated[
        str | None, typer.Option("--method", "-X", help="POST, GET, PUT, PATCH, DELETE.")
    ] = None,
    queue: Annotated[str | None, typer.Option(help="Enqueue, instead of publishing at once.")] = None,
    delay: Annotated[str | None, typer.Option(help="A duration, such as 10s or 1d2h.")] = None,
    retries: Annotated[
        int | None, typer.Option(min=0, help="How often a failed attempt is repeated; 3 by default.")
    ] = None,
    retry_delay: Annotated[
        str | None, typer.Option(help="An expression in milliseconds, such as 1000 * retried.")
    ] = None,
    timeout: Annotated[str | None, typer.Option(help="A duration for each attempt.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="A label. Repeatable.")] = None,
    callback: Annotated[str | None, typer.Option(help="URL called after every attempt.")] = None,
    failure_callback: Annotated[
        str | None, typer.Option(help="URL called when the last attempt has failed.")
    ] = None,
    deduplication_id: Annotated[
        str | None,
        typer.Option(help="A second message with this id within ten minutes is not accepted again."),
    ] = None,
    flow_key: Annotated[str | None, typer.Option(help="Flow-control key.")] = None,
    flow_value: Annotated[
        str | None, typer.Option(help="Limits, such as rate=10,period=1m,parallelism=2.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME:VALUE", help="Any other Upstash-… header. Repeatable.")
    ] = None,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Wait for the outcome and show it; exit with 1 unless it is delivered."),
    ] = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Publish a message; prints its id."""
    content = _content(body)
    given = {
        "Content-Type": content_type or ("application/json" if is_json(content) else None),
        "Upstash-Method": method,
        "Upstash-Delay": delay,
        "Upstash-Retries": None if retries is None else str(retries),
        "Upstash-Retry-Delay": retry_delay,
        "Upstash-Timeout": timeout,
        "Upstash-Label": ",".join(label) if label else None,
        "Upstash-Callback": callback,
        "Upstash-Failure-Callback": failure_callback,
        "Upstash-Deduplication-Id": deduplication_id,
        "Upstash-Flow-Control-Key": flow_key,
        "Upstash-Flow-Control-Value": flow_value,
    }
    lines = [(name, value) for name, value in given.items() if value is not None]
    lines += [(f"Upstash-Forward-{name}", value) for name, value in map(read_pair, header or [])]
    lines += map(read_pair, option or [])
    target = f"/v2/enqueue/{queue}/{destination}" if queue else f"/v2/publish/{destination}"
    client = Client(url, token)
    # The event stream is opened before the publish, so that no event is missed.
    events = follow(client) if wait else None
    if events is not None:
        next(events)
    # httpx takes text for ASCII; the server reads UTF-8.
    encoded = [(name.encode(), value.encode()) for name, value in lines]
    answer = client.call("POST", target, content=content, headers=encoded)
    accepted = answer if isinstance(answer, list) else [answer]
    if as_json:
        print_json(answer)
    else:
        for one in accepted:
            typer.echo(
                one["messageId"]
                + ("  (a duplicate: nothing new was published)" * bool(one.get("deduplicated")))
            )
    if events is not None:
        _wait(client, events, accepted, is_quiet=as_json)


_FINAL = ("DELIVERED", "FAILED", "CANCELED")


def _wait(
    client: Client, events: Iterator[dict[str, Any] | None], accepted: list[dict[str, Any]], *, is_quiet: bool
) -> None:
    """Wait for the ends of messages. Exit with 1 unless all are delivered."""
    waiting = {one["messageId"] for one in accepted}
    outcomes: set[str] = set()
    for message_id in [one["messageId"] for one in accepted if one.get("deduplicated")]:
        # The first message may have ended long ago, without further events.
        known = client.call("GET", f"/emulator/messages/{message_id}")["summary"]["state"]
        if known in _FINAL:
            waiting.discard(message_id)
            outcomes.add(known)
    while waiting:
        step = next(events)
        if step is None or step["messageId"] not in waiting:
            continue
        if not is_quiet:
            typer.echo(line_of(step), err=True)
        if step["state"] in _FINAL:
            waiting.discard(step["messageId"])
            outcomes.add(step["state"])
    if outcomes != {"DELIVERED"}:
        raise typer.Exit(REFUSED)


def _content(body: str | None) -> bytes:
    if body is None:
        return b""
    return read_input(body[1:]) if body.startswith("@") else body.encode()
