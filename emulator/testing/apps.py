"""Deliveries to ASGI apps in the same process: no socket, no port, the app's real code."""

import asyncio

import httpx

from emulator.broker.message import AttemptResult
from emulator.delivery import explain
from emulator.delivery.request import OutboundRequest
from emulator.delivery.transport import Transport
from emulator.protocol.destination import origin_of


class AppTransport:
    """Calls the app that was mounted for a request's origin; everything else goes to ``fallback``, if there is one."""

    def __init__(self, fallback: Transport | None = None) -> None:
        self._fallback = fallback
        self._clients: dict[str, httpx.AsyncClient] = {}

    def mount(self, origin: str, app: object) -> None:
        """Have ``app`` answer for ``origin``, such as ``https://example.com``."""
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)  # type: ignore[arg-type]  # any ASGI app
        self._clients[origin_of(origin)] = httpx.AsyncClient(transport=transport, follow_redirects=False)

    async def send(self, request: OutboundRequest) -> AttemptResult:
        client = self._clients.get(origin_of(request.url))
        if client is not None:
            return await _call(client, request)
        if self._fallback is not None:
            return await self._fallback.send(request)
        known = ", ".join(self._clients) or "none"
        return AttemptResult(
            status=0, error=f"no app is mounted for {origin_of(request.url)} (mounted: {known})"
        )

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()
        if self._fallback is not None:
            await self._fallback.close()


async def _call(client: httpx.AsyncClient, request: OutboundRequest) -> AttemptResult:
    try:
        async with asyncio.timeout(request.timeout_ms / 1000):
            response = await client.request(
                request.method, request.url, headers=list(request.headers), content=request.body, timeout=None
            )
    except TimeoutError:
        return AttemptResult(status=0, error=explain.timed_out(request.url, request.timeout_ms))
    except httpx.HTTPError as error:
        return AttemptResult(status=0, error=explain.cut_off(request.url, error))
    return AttemptResult(
        status=response.status_code, headers=tuple(response.headers.multi_items()), body=response.content
    )
