"""Log lines: time, level, text, and the facts that came with it; for people, or as JSON."""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

# What every LogRecord has; the rest are facts given as ``extra``.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_IN_THE_TEXT = frozenset({"event", "error", "job_id"})

_MOST_CHARACTERS = 2_000
# Line ends, escape codes of terminals, and the other C0 and C1 controls; also Unicode's own line ends.
_CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


def one_line(text: str) -> str:
    """Return ``text`` on one line, without control characters, at most 2,000 characters: nothing can forge a
    log line.
    """
    if len(text) > _MOST_CHARACTERS:
        text = f"{text[:_MOST_CHARACTERS]} … ({len(text)} characters)"
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _indented(text: str) -> str:
    """Return a traceback indented: its exception's text may look like a log line."""
    return "\n".join(
        "  " + _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), line)
        for line in text.split("\n")
    )


class FactsFormatter(logging.Formatter):
    """``12:00:00 INFO processed 0190… attempt=1 job_type=send-email``; the lines of a traceback are indented."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- logging's name
        line = one_line(super().formatMessage(record))
        given = vars(record)
        facts = " ".join(
            f"{name}={one_line(str(given[name]))}"
            for name in sorted(given.keys() - _OWN - _IN_THE_TEXT)
            if given[name] is not None
        )
        return f"{line}  {facts}" if facts else line

    def formatException(self, ei: Any) -> str:  # noqa: N802 -- logging's name
        return _indented(super().formatException(ei))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``text``, and the facts by name."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "text": record.getMessage(),
        }
        given = vars(record)
        line |= {name: given[name] for name in sorted(given.keys() - _OWN) if given[name] is not None}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: int = logging.INFO, *, as_json: bool = False) -> None:
    """Write everything from ``level`` up to standard error, for people or as JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if as_json else FactsFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("httpx", "alembic", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
