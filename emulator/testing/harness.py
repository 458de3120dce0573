"""A whole emulator inside a test, whose clock the test turns."""

from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import httpx
from starlette.types import ASGIApp

from emulator.api.app import create_app
from emulator.clock import Clock, ManualClock
from emulator.control.routes import control_routes
from emulator.dashboard.routes import dashboard_routes
from emulator.delivery.transport import Transport
from emulator.protocol.durations import parse_duration
from emulator.runtime import Runtime
from emulator.server import Emulator
from emulator.settings import Settings
from emulator.testing.apps import AppTransport

URL = "http://localhost:8080"


class Harness:
    """``async with Harness() as qstash``: publish with any client, then turn the clock.

    Apps are mounted by origin and called in-process. Times are unix milliseconds.
    """

    def __init__(
        self,
        *,
        db: str = "memory",
        now_at: int | None = None,
        seed: int | None = None,
        fallback: Transport | None = None,
        **settings: Any,
    ) -> None:
        """``fallback`` carries deliveries to origins without an app; ``settings`` are the server's."""
        self.apps = AppTransport(fallback)
        self._now_at = now_at
        self.emulator = Emulator(
            Settings(db=db, clock="manual", seed=seed, **settings),
            transport=self.apps,
            make_clock=self._make_clock,
        )
        self.app: ASGIApp = create_app(self.emulator, extra_routes=[*control_routes(), *dashboard_routes()])
        self.client = self.make_client()

    async def __aenter__(self) -> Self:
        await self.emulator.start()
        self.client.headers["Authorization"] = f"Bearer {self.token}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.client.aclose()
        await self.emulator.close(grace_seconds=0.1)

    @property
    def runtime(self) -> Runtime:
        """The default user's runtime."""
        return self.emulator.runtimes[0]

    @property
    def token(self) -> str:
        """The default user's token."""
        return self.runtime.tenant.token

    @property
    def clock(self) -> Clock:
        """The default user's clock."""
        return self.runtime.clock

    @property
    def now(self) -> int:
        """What time it is."""
        return self.runtime.clock.now_at()

    @property
    def next_due(self) -> int | None:
        """When time alone will next make something happen."""
        return self.runtime.next_due_at()

    def mount(self, origin: str, app: object) -> None:
        """Have an ASGI app answer for ``origin``."""
        self.apps.mount(origin, app)

    def make_client(self, token: str | None = None) -> httpx.AsyncClient:
        """An HTTP client that reaches this emulator without a socket."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=URL, headers=headers)

    async def advance(self, by: str | timedelta) -> None:
        """Turn the clock on; returns when all that fell due has happened."""
        span_ms = parse_duration(by, field="by") if isinstance(by, str) else by // timedelta(milliseconds=1)
        await self.runtime.advance_to(self.now + span_ms)

    async def run_until_idle(self, limit: str = "30d") -> None:
        """Turn the clock until no message waits for its time. Raises Conflict at the limit."""
        await self.runtime.run_until_idle(parse_duration(limit, field="limit"))

    async def settle(self) -> None:
        """Return when nothing that is due now is left to do."""
        await self.runtime.settle()

    def _make_clock(self) -> Clock:
        return ManualClock(self._now_at)
