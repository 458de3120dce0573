"""What every test may use: an emulator in the process, and receivers that record what is delivered.

The fixture ``qstash`` is the one of our own pytest plugin, as users have it.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from emulator.testing import Harness, Receiver

# Monday 2026-06-01 12:00:00 UTC
NOW_AT = 1_780_315_200_000

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def _no_log_handler_outlives_its_stream() -> Iterator[None]:
    """A command that ran in this process has set up logging, onto a stream that is closed by now."""
    yield
    root = logging.getLogger()
    for handler in tuple(root.handlers):
        if isinstance(handler, logging.StreamHandler) and getattr(handler.stream, "closed", False):
            root.removeHandler(handler)


@pytest.fixture
def qstash_options() -> Mapping[str, Any]:
    return {"now_at": NOW_AT}


@pytest.fixture
def receiver(qstash: Harness) -> Receiver:
    """Answers for https://example.com."""
    made = Receiver(now=lambda: qstash.now)
    qstash.mount("https://example.com", made)
    return made


@pytest.fixture
def callbacks(qstash: Harness) -> Receiver:
    """Answers for https://callback.com."""
    made = Receiver(now=lambda: qstash.now)
    qstash.mount("https://callback.com", made)
    return made
