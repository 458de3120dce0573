"""The hosts that the vendor's own suites publish to, answered on this machine (contract 7.0)."""

import asyncio
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

# example.com answers late enough that a message to it can be cancelled first.
_SLOW_SECONDS = 0.3

HOSTS = (
    "example.com", "example.net", "example.org", "mock.httpstatus.io", "httpstat.us", "httpbin.org", "api.openai.com",
    "one.requestcatcher.com", "two.requestcatcher.com", "three.requestcatcher.com",
)  # fmt: skip


def connect_to(url: str) -> list[str]:
    """The command's flags that send deliveries for ``HOSTS`` to the stubs at ``url``."""
    origins = [f"{scheme}://{host}" for host in HOSTS for scheme in ("http", "https")]
    return [part for origin in origins for part in ("--connect-to", f"{origin}={url}")]


async def stubs(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI app that answers for all of ``HOSTS``, by the ``Host`` line."""
    while (await receive()).get("more_body"):
        pass
    host = dict(scope["headers"])[b"host"].decode().partition(":")[0]
    path: str = scope["path"]
    if host in ("mock.httpstatus.io", "httpstat.us"):
        status = int(path.strip("/"))
        milliseconds = parse_qs(scope["query_string"].decode()).get("sleep", ["0"])[0]
        await asyncio.sleep(int(milliseconds) / 1000)
    elif host == "example.net" or (host == "example.com" and path in ("", "/")):
        status = 200
        await asyncio.sleep(_SLOW_SECONDS)
    elif host in ("example.com", "example.org"):
        status = 500
    else:
        status = 200
    body = b"404 Not Found" if status == 404 else f"{status}".encode()
    await send(
        {"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]}
    )
    await send({"type": "http.response.body", "body": body})
