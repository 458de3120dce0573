"""The destination of deliveries: raw ASGI, answers 200 and counts. ``/times`` lists when each message arrived."""

import sys
import time

import uvicorn
from starlette.types import Receive, Scope, Send

count = 0
times: dict[str, float] = {}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    body = _answer(scope)
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


def _answer(scope: Scope) -> bytes:
    global count  # noqa: PLW0603  the number that this process exists to count
    if scope["path"] == "/count":
        return str(count).encode()
    if scope["path"] == "/times":
        lines = "\n".join(f"{name} {at}" for name, at in times.items())
        times.clear()
        return lines.encode()
    count += 1
    if scope["path"] == "/timed":
        headers = dict(scope["headers"])
        times.setdefault(headers[b"upstash-message-id"].decode(), time.time_ns() / 1e6)  # noqa: TID251
    return b""


if __name__ == "__main__":
    uvicorn.run(
        app, port=int(sys.argv[1]), log_level="error", access_log=False, lifespan="off", timeout_keep_alive=60
    )
