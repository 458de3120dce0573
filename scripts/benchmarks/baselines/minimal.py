"""A minimal durable queue: publish, group commit, sign, deliver with the emulator's client, mark as delivered.

It has no options, states, log, retries, order or fairness. The emulator's own work is measured against it.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from emulator.delivery.request import OutboundRequest
from emulator.delivery.sockets import SocketTransport

KEY = b"sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r"
Insert = tuple[str, str, bytes]


class Store:
    """A store whose one writer thread commits all waiting messages in one transaction."""

    def __init__(self, path: str) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._connection = sqlite3.connect(path, check_same_thread=False)
        self._connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "CREATE TABLE messages (id TEXT PRIMARY KEY, url TEXT, body BLOB, delivered INTEGER)"
        )
        self._inserts: list[tuple[Insert, asyncio.Future[None]]] = []
        self._marks: list[tuple[str]] = []
        self._task: asyncio.Task[None] | None = None

    async def insert(self, row: Insert) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._inserts.append((row, future))
        self._wake()
        await future

    def mark(self, message_id: str) -> None:
        self._marks.append((message_id,))
        self._wake()

    def _wake(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while self._inserts or self._marks:
            inserts, self._inserts = self._inserts, []
            marks, self._marks = self._marks, []
            rows = [row for row, _ in inserts]
            await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, rows, marks)
            for _, future in inserts:
                future.set_result(None)

    def _commit(self, rows: list[Insert], marks: list[tuple[str]]) -> None:
        self._connection.executemany("INSERT INTO messages VALUES (?, ?, ?, 0)", rows)
        self._connection.executemany("UPDATE messages SET delivered = 1 WHERE id = ?", marks)
        self._connection.commit()


def sign(url: str, body: bytes) -> str:
    now = int(time.time())  # noqa: TID251
    claims = {
        "iss": "Upstash", "sub": url, "exp": now + 300, "nbf": 0, "iat": now, "jti": secrets.token_hex(14),
        "body": base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode(),
    }  # fmt: skip
    head = b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
    text = head + base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
    mac = base64.urlsafe_b64encode(hmac.digest(KEY, text, "sha256")).rstrip(b"=")
    return (text + b"." + mac).decode()


store = Store(sys.argv[2])
transport = SocketTransport(max_response_bytes=10_000_000)
deliveries: set[asyncio.Task[None]] = set()


async def publish(request: Request) -> JSONResponse:
    body = await request.body()
    url = request.path_params["rest"]
    message_id = f"msg_{secrets.token_hex(20)}"
    await store.insert((message_id, url, body))
    task = asyncio.create_task(deliver(message_id, url, body))
    deliveries.add(task)
    task.add_done_callback(deliveries.discard)
    return JSONResponse({"messageId": message_id})


async def deliver(message_id: str, url: str, body: bytes) -> None:
    headers = (
        ("Upstash-Message-Id", message_id), ("Upstash-Retried", "0"), ("Upstash-Signature", sign(url, body)),
    )  # fmt: skip
    await transport.send(
        OutboundRequest(method="POST", url=url, headers=headers, body=body, timeout_ms=60_000)
    )
    store.mark(message_id)


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    yield
    await transport.close()


app = Starlette(routes=[Route("/v2/publish/{rest:path}", publish, methods=["POST"])], lifespan=lifespan)

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False)
