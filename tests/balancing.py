"""A load balancer on a real socket: each connection goes to the next target that takes it."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence


@contextlib.asynccontextmanager
async def balanced(port: int, targets: Sequence[int]) -> AsyncIterator[None]:
    """Balance connections to ``port`` over the ports ``targets``, all on loopback, while the block runs."""
    turns = itertools.cycle(targets)
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        task.add_done_callback(connections.discard)
        if (opened := await _open_one(itertools.islice(turns, len(targets)))) is None:
            writer.close()
            return
        to_reader, to_writer = opened
        try:
            with contextlib.suppress(asyncio.CancelledError):  # at the end of the block
                await asyncio.gather(_pipe(reader, to_writer), _pipe(to_reader, writer))
        finally:
            for each in (writer, to_writer):
                each.close()
            await asyncio.gather(writer.wait_closed(), to_writer.wait_closed(), return_exceptions=True)

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
        for connection in tuple(connections):
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _open_one(targets: Iterator[int]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    for target in targets:
        with contextlib.suppress(OSError):
            return await asyncio.open_connection("127.0.0.1", target)
    return None


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
