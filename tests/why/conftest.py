"""An emulator behind a port, whose reasons are looked at."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import uvicorn

from emulator.testing import Harness, Receiver
from tests.why.places import Scene


@pytest.fixture
async def scene(qstash: Harness, receiver: Receiver) -> AsyncIterator[Scene]:
    server = uvicorn.Server(uvicorn.Config(qstash.app, port=0, lifespan="off", log_level="warning"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
    async with AsyncExitStack() as stack:
        yield Scene(qstash, receiver, server.servers[0].sockets[0].getsockname()[1], stack)
    server.should_exit = True
    await serving
