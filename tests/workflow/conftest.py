"""An emulator whose clock the test turns, on a real port too: the SDKs under test publish to it over HTTP."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from emulator.delivery.sockets import SocketTransport
from emulator.testing import Harness
from tests.answers import checked, wrong_answers
from tests.bounds import HANG_SECONDS
from tests.node_packages import node_with_packages
from tests.workflow.node import DIRECTORY, App, NodeApp, Served

NOW_AT = 1_780_315_200_000


class _Server(uvicorn.Server):
    """Server on the test's own event loop, without signal handlers."""

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
def qstash(qstash: Harness) -> Iterator[Harness]:
    """Its answers are held to the types that the routes declare."""
    yield checked(qstash)
    assert wrong_answers(qstash) == []


@asynccontextmanager
async def on_real_ports(**settings: Any) -> AsyncIterator[Harness]:
    """An emulator whose deliveries go to real ports; the answers that SDKs get are held to their types."""
    made = Harness(now_at=NOW_AT, fallback=SocketTransport(max_response_bytes=10_000_000), **settings)
    async with checked(made) as harness:
        yield harness
    assert wrong_answers(made) == []


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
            harness = await stack.enter_async_context(on_real_ports(**settings))
            return harness, await stack.enter_async_context(serving(harness))

        yield make


@pytest.fixture(scope="session")
def node_app() -> Iterator[NodeApp]:
    """The app of ``javascript/``, in one process for all tests of a worker."""
    with NodeApp(node_with_packages(DIRECTORY)) as app:
        yield app


@pytest.fixture
async def app(node_app: NodeApp, served: Served) -> AsyncIterator[App]:
    """It, pointed at the test's emulator."""
    async with httpx.AsyncClient(timeout=HANG_SECONDS) as http:
        made = App(node_app.origin, http)
        await made.configure(served)
        yield made
