"""An emulator whose clock the test turns, on a real port too: the SDKs under test publish to it over HTTP."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import uvicorn

from emulator.testing import Harness


@dataclass
class Served:
    """Where a client finds the emulator: what an application's environment would say."""

    url: str
    token: str
    current_key: str
    next_key: str


@pytest.fixture
async def served(qstash: Harness) -> AsyncIterator[Served]:
    """The emulator of the test behind a port of loopback, on the test's own event loop."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    server = uvicorn.Server(uvicorn.Config(qstash.app, lifespan="off", log_level="warning"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    with contextlib.suppress(AttributeError):
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    keys = qstash.runtime.broker.state.keys
    yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", qstash.token, keys.current, keys.next)
    server.should_exit = True
    await serving
