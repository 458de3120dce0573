"""Time posts of one HTTP client. Arguments: its name, URL, concurrent posts, posts in all. Prints rate and CPU."""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import uvloop

BODY = b'{"n": 1, "text": "' + b"x" * 200 + b'"}'
HEADERS = {
    "Content-Type": "application/json", "User-Agent": "Upstash-QStash", "Upstash-Message-Id": "msg_" + "1" * 53,
    "Upstash-Retried": "0", "Upstash-Signature": "x" * 400,
}  # fmt: skip

Send = Callable[[str], Awaitable[int]]


async def open_client(name: str, stack: AsyncExitStack) -> Send:
    if name == "pyreqwest":
        from pyreqwest.client import ClientBuilder

        fast: Any = await stack.enter_async_context(ClientBuilder().build())

        async def send_fast(url: str) -> int:
            response = await fast.post(url).headers(HEADERS).body_bytes(BODY).build().send()
            await response.bytes()
            return int(response.status)

        return send_fast
    if name == "aiohttp":
        import aiohttp

        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        )

        async def send_aiohttp(url: str) -> int:
            async with session.post(url, data=BODY, headers=HEADERS) as response:
                await response.read()
                return response.status

        return send_aiohttp
    import httpx

    transport: Any = None
    if name == "httpx-aiohttp":
        from httpx_aiohttp import AiohttpTransport

        transport = AiohttpTransport()
    client = await stack.enter_async_context(httpx.AsyncClient(transport=transport, timeout=60))

    async def send_httpx(url: str) -> int:
        return (await client.post(url, content=BODY, headers=HEADERS)).status_code

    return send_httpx


async def main() -> None:
    name, url, concurrency, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    async with AsyncExitStack() as stack:
        send = await open_client(name, stack)

        async def burst(many: int) -> None:
            numbers = iter(range(many))

            async def work() -> None:
                for _ in numbers:
                    assert await send(url) == 200

            await asyncio.gather(*(work() for _ in range(concurrency)))

        await burst(concurrency * 2)
        started, spent = time.perf_counter(), time.process_time()
        await burst(count)
        seconds, cpu = time.perf_counter() - started, time.process_time() - spent
    print(json.dumps({"rate": count / seconds, "cpu_us": cpu / count * 1e6}))


if __name__ == "__main__":
    uvloop.run(main())
