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
        self._mounted: dict[str, httpx.ASGITransport] = {}

    def mount(self, origin: str, app: object) -> None:
        """Have ``app`` answer for ``origin``, such as ``https://example.com``."""
        self._mounted[origin_of(origin)] = httpx.ASGITransport(
            app,  # type: ignore[arg-type]  # any ASGI app
            raise_app_exceptions=False,
        )

    async def send(self, request: OutboundRequest) -> AttemptResult:
        mounted = self._mounted.get(origin_of(request.url))
        if mounted is not None:
            return await _call(mounted, request)
        if self._fallback is not None:
            return await self._fallback.send(request)
        known = ", ".join(self._mounted) or "none"
        return AttemptResult(
            status=0, error=f"no app is mounted for {origin_of(request.url)} (mounted: {known})"
        )

    async def close(self) -> None:
        if self._fallback is not None:
            await self._fallback.close()


async def _call(mounted: httpx.ASGITransport, request: OutboundRequest) -> AttemptResult:
    # Past httpx's client, which would add header lines of its own.
    outgoing = httpx.Request(request.method, request.url, headers=list(request.headers), content=request.body)
    try:
        async with asyncio.timeout(request.timeout_ms / 1000):
            response = await mounted.handle_async_request(outgoing)
            body = await response.aread()
    except TimeoutError:
        return AttemptResult(status=0, error=explain.timed_out(request.url, request.timeout_ms))
    except httpx.HTTPError as error:
        return AttemptResult(status=0, error=explain.cut_off(request.url, error))
    return AttemptResult(
        status=response.status_code, headers=tuple(response.headers.multi_items()), body=body
    )
