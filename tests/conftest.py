"""What every test may use: an emulator in the process, and receivers that record what is delivered."""

from collections.abc import AsyncIterator

import pytest

from emulator.testing import Harness, Receiver

# Monday 2026-06-01 12:00:00 UTC
NOW_AT = 1_780_315_200_000

pytest_plugins = ["pytester"]


@pytest.fixture
async def qstash() -> AsyncIterator[Harness]:
    async with Harness(now_at=NOW_AT) as harness:
        yield harness


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
