"""An error that a transport raises is a failed attempt: no message stays ACTIVE for ever."""

import asyncio

import pytest

from emulator.broker.message import AttemptResult
from emulator.delivery.request import OutboundRequest
from emulator.testing import Harness
from tests.answers import checked


class Raising:
    """A transport that raises, and whose destination would be there otherwise."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.asked = 0

    async def send(self, request: OutboundRequest) -> AttemptResult:
        self.asked += 1
        raise self.error

    async def close(self) -> None:
        """Nothing is open."""


class NotAnException(BaseException):
    """Error outside Exception, as when a mounted app calls ``pytest.fail``."""


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a header that is not ASCII"),
        MemoryError(),
        RecursionError("too deep"),
        UnicodeEncodeError("latin-1", "ł", 0, 1, "ordinal not in range"),
        NotAnException("a test failed in the app"),
        SystemExit(3),
        asyncio.CancelledError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_it_is_retried_and_then_in_the_dead_letter_queue(error) -> None:
    transport = Raising(error)
    async with Harness(fallback=transport) as harness:
        checked(harness)
        answer = await harness.client.post(
            "/v2/publish/https://example.com/x", headers={"Upstash-Retries": "1"}
        )
        await harness.run_until_idle()
        [entry] = (await harness.client.get("/v2/dlq")).json()["messages"]
        assert entry["messageId"] == answer.json()["messageId"]
        assert type(error).__name__ in entry["responseBody"]
        assert transport.asked == 2
