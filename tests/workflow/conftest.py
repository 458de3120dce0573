"""An emulator whose clock the test turns, on a real port too: the SDKs under test publish to it over HTTP."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn

from emulator.delivery.sockets import SocketTransport
from emulator.testing import Harness

NOW_AT = 1_780_315_200_000


@dataclass
class Served:
    """Where a client finds the emulator: what an application's environment would say."""

    url: str
    token: str
    current_key: str
    next_key: str


class _Server(uvicorn.Server):
    """On the test's own event loop, and without a hand on its signals."""

    def capture_signals(self) -> Any:
        return AsyncExitStack()


@asynccontextmanager
async def serving(qstash: Harness) -> AsyncIterator[Served]:
    """The emulator behind a port of loopback."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    server = _Server(uvicorn.Config(qstash.app, lifespan="off", log_level="warning"))
    task = asyncio.create_task(server._serve([listener]))
    keys = qstash.runtime.broker.state.keys
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    yield Served(url, qstash.token, keys.current, keys.next)
    server.should_exit = True
    await task


@pytest.fixture
async def served(qstash: Harness) -> AsyncIterator[Served]:
    """The emulator of the test on a port."""
    async with serving(qstash) as where:
        yield where


MakeServed = Callable[..., Awaitable[tuple[Harness, Served]]]


@pytest.fixture
async def make_served() -> AsyncIterator[MakeServed]:
    """Makes emulators with settings of their own, whose deliveries go to real ports."""
    async with AsyncExitStack() as stack:

        async def make(**settings: Any) -> tuple[Harness, Served]:
            transport = SocketTransport(max_response_bytes=10_000_000)
            harness = await stack.enter_async_context(Harness(now_at=NOW_AT, fallback=transport, **settings))
            return harness, await stack.enter_async_context(serving(harness))

        yield make
