"""Log lines that no request can forge: control characters are escaped, long texts are cut."""

import logging
import re
from typing import Any

_MOST_CHARACTERS = 2_000
# Line ends, escape codes of terminals, and the other C0 and C1 controls; also Unicode's own line ends.
_CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


def one_line(text: str) -> str:
    """Return ``text`` on one line, without control characters, at most 2,000 characters long."""
    if len(text) > _MOST_CHARACTERS:
        text = f"{text[:_MOST_CHARACTERS]} … ({len(text)} characters)"
    return _CONTROLS.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _indented(text: str) -> str:
    return "\n".join(f"  {_CONTROLS.sub(_escaped, line)}" for line in text.split("\n"))


class OneLineFormatter(logging.Formatter):
    """Formats ``WARNING text``. A traceback is indented, as its exception's text may look like a log line."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802  logging's name
        return _indented(super().formatException(ei))


def configure(level: int) -> None:
    """Send log records from ``level`` up to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLineFormatter())
    logging.basicConfig(level=level, handlers=[handler])
