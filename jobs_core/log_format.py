"""Log lines for people: time, level, text, and the facts that came with it."""

import logging

# What every LogRecord has; the rest are facts given as ``extra``.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_IN_THE_TEXT = frozenset({"event", "error", "job_id"})


class FactsFormatter(logging.Formatter):
    """``12:00:00 INFO processed 0190… attempt=1 job_type=send-email``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- logging's name
        line = super().formatMessage(record)
        given = vars(record)
        facts = " ".join(
            f"{name}={given[name]}"
            for name in sorted(given.keys() - _OWN - _IN_THE_TEXT)
            if given[name] is not None
        )
        return f"{line}  {facts}" if facts else line


def configure(level: int = logging.INFO) -> None:
    """Send everything from ``level`` up to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(FactsFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("httpx", "alembic", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
