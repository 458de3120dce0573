"""Output of commands: tables that fit the terminal, coloured states, times of day."""

import json
import shutil
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import typer

COLORS = {
    "CREATED": "white", "ACTIVE": "blue", "RETRY": "yellow", "ERROR": "red", "DELIVERED": "green", "FAILED": "red",
    "CANCELED": "bright_black", "CANCEL_REQUESTED": "bright_black", "SUCCESS": "green", "FAIL": "red",
    "IN_PROGRESS": "blue", "paused": "yellow",
}  # fmt: skip

_UNDERSTANDABLE = 48
"""The shortest useful width of a reason, in characters."""


def print_json(value: Any) -> None:
    """Print the value alone, for programs."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, nothing: str) -> None:
    """Print columns as wide as needed; the last one is cut off where the terminal ends.

    If that left fewer characters than _UNDERSTANDABLE, each row's last cell is printed below its row, in full.
    """
    if not rows:
        typer.echo(nothing)
        return
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    columns = shutil.get_terminal_size((200, 24)).columns
    room = columns - sum(widths[:-1]) - 2 * (len(head) - 1)
    is_below = room < min(_UNDERSTANDABLE, widths[-1])
    shown = widths[:-1] if is_below else widths
    typer.secho(
        "  ".join(name.ljust(width) for name, width in zip(head, shown, strict=False)).rstrip(), bold=True
    )
    for row in rows:
        cells = row[:-1] if is_below else [*row[:-1], _cut(row[-1], room)]
        typer.echo(
            "  ".join(_coloured(cell, width) for cell, width in zip(cells, shown, strict=True)).rstrip()
        )
        if is_below and row[-1]:
            typer.echo(
                textwrap.fill(row[-1], max(columns, 40), initial_indent="    ", subsequent_indent="    ")
            )


def print_facts(facts: Sequence[tuple[str, Any]]) -> None:
    """Print names and values; those without a value are left out."""
    shown = [(name, value) for name, value in facts if value not in (None, "", [], {})]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        typer.echo(f"{typer.style(name.ljust(width), dim=True)}  {_coloured(text, 0)}")


def sentence(outcome: dict[str, Any]) -> str:
    """Return what happened, why and what to do, with the time of the next attempt in this machine's zone."""
    next_at = outcome.get("nextAt")
    words: str = outcome["sentence"]
    return words + (f"; next at {moment(next_at)}" if next_at is not None else "")


def state(name: str, width: int = 0) -> str:
    """Return a state in its colour."""
    return typer.style(name.ljust(width), fg=COLORS.get(name))


def moment(at: int | None, *, millis: bool = False) -> str:
    """Return an instant (unix ms) in this machine's zone; empty for none."""
    if at is None:
        return ""
    local = datetime.fromtimestamp(at / 1000, UTC).astimezone()
    return local.strftime("%Y-%m-%d %H:%M:%S") + (f".{at % 1000:03d}" if millis else "")


def time_of_day(at: int) -> str:
    """Return an instant's time of day, to the millisecond."""
    return datetime.fromtimestamp(at / 1000, UTC).astimezone().strftime("%H:%M:%S") + f".{at % 1000:03d}"


def _coloured(cell: str, width: int) -> str:
    return state(cell, width) if cell in COLORS else cell.ljust(width)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
