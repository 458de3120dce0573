"""Tables and lines for people. On a terminal they fit its width and have colours; in a pipe nothing is cut off."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobs_core.database.job_queries import TypeStats
from jobs_core.engine.job_feed import Happening
from jobs_core.engine.schedules import Schedule
from jobs_core.model.records import JobRecord
from jobs_core.model.states import JobStatus

# Wide enough for any line: output to a pipe must not be wrapped.
_PIPE_WIDTH = 1000
_LONGEST_ERROR = 80
_COLOURS = {
    "pending": "yellow",
    "processing": "cyan",
    "completed": "green",
    "failed": "red",
    "cancelled": "bright_black",
    "lost": "red",
    "retry": "yellow",
    "later": "yellow",
    "enqueued": "blue",
    "paused": "bright_black",
}


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()
) -> None:
    """Print a table without borders; the columns named in ``right`` are aligned right."""
    aligned = frozenset(right)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in aligned else "left", no_wrap=column != "error")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    _console().print(table)


def jobs(records: Iterable[JobRecord], troubles: Mapping[str, str] | None = None) -> None:
    """Print one row for each job. ``troubles`` are, by job id, the reasons why jobs do not go on."""
    known = troubles or {}
    print_table(
        ("job", "created", "status", "type", "attempts", "error"),
        (
            (
                record.job_id,
                record.created_at,
                record.status,
                record.job_type,
                record.attempt_count,
                known.get(record.job_id) or _first_line(record.error),
            )
            for record in records
        ),
        right=("attempts",),
    )


def job(record: JobRecord, *, trouble: str | None = None, with_tracebacks: bool) -> None:
    """Print everything about one job but its payload, and a table of its attempts.

    ``trouble`` is the reason why it does not go on.
    """
    facts = {
        "job": record.job_id,
        "type": record.job_type,
        "status": record.status,
        "why": trouble,
        "retries": f"{record.retry_count} of {record.max_retries}",
        "user": record.user_id,
        "organization": record.organization_id,
        "key": record.idempotency_key,
        "created": record.created_at,
        "started": record.started_at,
        "completed": record.completed_at,
        "next attempt": record.next_attempt_at,
        "message": record.message_id,
        "parent": record.parent_job_id,
        "schedule": record.schedule_id,
        "progress": _progress(record),
        "result": record.result,
        "error": record.error,
    }
    facts_table = Table(box=None, pad_edge=False, show_header=False)
    facts_table.add_column(style="bold")
    facts_table.add_column(overflow="fold")
    for name, value in facts.items():
        if value is not None:
            facts_table.add_row(name, _cell(value))
    _console().print(facts_table)
    if not record.attempts:
        return
    _console().print()
    print_table(
        ("attempt", "started", "took", "outcome", "answered", "error"),
        (
            (
                attempt.number,
                attempt.started_at,
                _span(attempt.started_at, attempt.finished_at),
                attempt.outcome,
                attempt.status_code,
                _first_line(attempt.error),
            )
            for attempt in record.attempts
        ),
        right=("attempt", "took"),
    )
    for attempt in record.attempts if with_tracebacks else ():
        if attempt.traceback:
            _console().print(
                f"\nattempt {attempt.number}\n{attempt.traceback}", markup=False, highlight=False
            )


def stats(found: Sequence[TypeStats]) -> None:
    """Print job types as rows and states as columns."""
    counts = {(row.job_type, row.status): row.count for row in found}
    types = sorted({row.job_type for row in found})
    rows = [[name, *(counts.get((name, status), 0) for status in JobStatus)] for name in types]
    totals = [sum(counts.get((name, status), 0) for name in types) for status in JobStatus]
    print_table(("type", *JobStatus), [*rows, ["total", *totals]], right=tuple(JobStatus))


def schedules(found: Iterable[Schedule]) -> None:
    """Print one row for each schedule."""
    print_table(
        ("schedule", "cron", "state", "next", "destination"),
        (
            (
                each.schedule_id,
                each.cron,
                "paused" if each.is_paused else "active",
                each.next_at,
                each.destination,
            )
            for each in found
        ),
    )


def happening(seen: Happening) -> None:
    """Print one line of ``tail``."""
    line = Text()
    line.append(f"{seen.at:%H:%M:%S}  ", "bright_black")
    line.append(f"{seen.event:<10}  ", _COLOURS.get(seen.event, ""))
    line.append(f"{seen.job_type:<24} {seen.job_id}")
    if seen.attempt:
        line.append(f"  attempt {seen.attempt}")
    if seen.error:
        line.append(f"  {_first_line(seen.error)}", "red")
    _console().print(line, soft_wrap=True)


def _console() -> Console:
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)


def _cell(value: object) -> Text:
    text = (
        "" if value is None else f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else str(value)
    )
    return Text(text, _COLOURS.get(text, ""))


def _first_line(error: str | None) -> str | None:
    return error.splitlines()[0][:_LONGEST_ERROR] if error else None


def _progress(record: JobRecord) -> str | None:
    if record.progress is None:
        return None
    return f"{record.progress:.0%} {record.progress_note or ''}".strip()


def _span(started_at: datetime, finished_at: datetime | None) -> str | None:
    if finished_at is None:
        return None
    return f"{(finished_at - started_at) / timedelta(seconds=1):.3f} s"
