"""Try one HTTP client on hostile answers. Arguments: its name, a URL, number of rows, number of posts. Prints JSON.

Each client gets its best settings: raw bodies in pieces, raised limits, redirects not followed. An exception after
the status is known does not count against it: the part of the body that arrived is kept.
"""

import asyncio
import base64
import json
import sys
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import uvloop

MOST = 1_000
BODY = b'{"n": 1, "text": "' + b"x" * 200 + b'"}'
HEADERS = {"Content-Type": "application/json", "Upstash-Message-Id": "msg_1", "Accept-Encoding": "gzip"}

# The status, the value of Content-Encoding, the body in pieces.
Begun = tuple[int, str, AsyncIterator[bytes]]
Send = Callable[[str], Awaitable[tuple[int, bytes]]]


async def read(begun: Begun) -> tuple[int, bytes]:
    status, encoding, pieces = begun
    body = b""
    with suppress(Exception):
        async for piece in pieces:
            body += piece
            if len(body) > 100 * MOST:
                break
    return status, gunzipped(body)[:MOST] if encoding.strip().lower() in ("gzip", "x-gzip") else body[:MOST]


def gunzipped(raw: bytes) -> bytes:
    made, rest = b"", raw
    while rest and len(made) <= MOST:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            made += unpacker.decompress(rest, MOST + 1)
        except zlib.error:
            return made or raw
        if not unpacker.eof:
            break
        rest = unpacker.unused_data
    return made


async def open_aiohttp(stack: AsyncExitStack) -> Send:
    import aiohttp

    session = await stack.enter_async_context(
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            auto_decompress=False,
            max_line_size=1_100_000,
            max_field_size=1_100_000,
            timeout=aiohttp.ClientTimeout(total=20),
        )
    )

    async def send(url: str) -> tuple[int, bytes]:
        async with session.post(url, data=BODY, headers=HEADERS, allow_redirects=False) as answer:
            encoding = answer.headers.get("Content-Encoding", "")
            return await read((answer.status, encoding, answer.content.iter_any()))

    return send


async def open_httpx(stack: AsyncExitStack) -> Send:
    import httpx

    client = await stack.enter_async_context(httpx.AsyncClient(timeout=20))

    async def send(url: str) -> tuple[int, bytes]:
        async with client.stream("POST", url, content=BODY, headers=HEADERS) as answer:
            encoding = answer.headers.get("Content-Encoding", "")
            return await read((answer.status_code, encoding, answer.aiter_raw()))

    return send


async def open_pyreqwest(stack: AsyncExitStack) -> Send:
    from pyreqwest.client import ClientBuilder

    builder = ClientBuilder().gzip(False).follow_redirects(False).http1_only()
    builder = builder.http1_ignore_invalid_headers_in_responses(True)
    builder = builder.http1_allow_obsolete_multiline_headers_in_responses(True)
    client: Any = await stack.enter_async_context(builder.build())

    async def pieces(reader: Any) -> AsyncIterator[bytes]:
        while (piece := await reader.read_chunk()) is not None:
            yield bytes(piece)

    async def send(url: str) -> tuple[int, bytes]:
        asked = client.post(url).headers(HEADERS).body_bytes(BODY)
        async with asked.build_streamed() as answer:
            encoding = answer.get_header("content-encoding") or ""
            return await read((int(answer.status), encoding, pieces(answer.body_reader)))

    return send


async def open_ours(stack: AsyncExitStack) -> Send:
    from emulator.delivery.request import OutboundRequest
    from emulator.delivery.sockets import SocketTransport

    transport = SocketTransport(max_response_bytes=MOST)
    stack.push_async_callback(transport.close)

    async def send(url: str) -> tuple[int, bytes]:
        lines = tuple(HEADERS.items())
        request = OutboundRequest(method="POST", url=url, headers=lines, body=BODY, timeout_ms=20_000)
        answer = await transport.send(request)
        return answer.status, answer.body

    return send


OPEN = {"aiohttp": open_aiohttp, "httpx": open_httpx, "pyreqwest": open_pyreqwest, "ours": open_ours}


async def main() -> None:
    name, url, rows, posts = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    answers = []
    async with AsyncExitStack() as stack:
        send = await OPEN[name](stack)
        for row in range(rows):
            # By now the connection of the row before is closed, and the client has noticed.
            await asyncio.sleep(0.05)
            try:
                status, body = await asyncio.wait_for(send(f"{url}/row/{row}"), 30)
            except Exception:  # noqa: BLE001  any exception means that the client read no answer
                status, body = 0, b""
            answers.append((status, base64.b64encode(body).decode()))
    # A new client: connections that hostile answers broke do not belong to this measurement.
    async with AsyncExitStack() as stack:
        send = await OPEN[name](stack)
        await send(f"{url}/ok")
        started, spent = time.perf_counter(), time.process_time()
        for _ in range(posts):
            assert await send(f"{url}/ok") == (200, b"ok")
        cpu_us = (time.process_time() - spent) / posts * 1e6
        rate = posts / (time.perf_counter() - started)
    print(json.dumps({"answers": answers, "cpu_us": cpu_us, "rate": rate}))


if __name__ == "__main__":
    uvloop.run(main())
