"""A whole emulator inside a test, with a manual clock."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from emulator.broker.wait_reason import waiting_reason
from emulator.broker.writes import Cleared, Write
from emulator.clock import Clock, ManualClock, wall_now_at
from emulator.delivery.reachability import Resolve, resolve
from emulator.delivery.transport import Transport
from emulator.faults import FaultSet
from emulator.http.app import create_app
from emulator.http.control.routes import control_routes
from emulator.http.control.snapshots import exported, import_into
from emulator.http.dashboard.routes import dashboard_routes
from emulator.mcp.route import mcp_routes
from emulator.runtime import Runtime
from emulator.server import Emulator
from emulator.settings import Settings
from emulator.store.filters import Filter
from emulator.store.queries import select_pending
from emulator.store.store import SqlStore
from emulator.tenants import PUBLISHED_USERS
from emulator.testing import client_interception
from emulator.testing.app_transport import AppTransport, Interface
from emulator.testing.asgi import AppResponse, call_asgi
from emulator.testing.event_loops import BackgroundHome, Home, running_loop
from emulator.testing.invariants import Record
from emulator.testing.observations import Observations
from emulator.testing.recorded_run import RecordedRun, RecordingTransport
from emulator.testing.sync_or_async import Call, NotAwaited
from emulator.testing.workflow import WorkflowRun, read_run
from emulator.wire.durations import parse_duration

T = TypeVar("T")

URL = "http://localhost:8080"
_MILLISECOND = timedelta(milliseconds=1)
_HOURS_OF_A_CENTURY = 876_600


@dataclass(frozen=True, slots=True)
class Turned:
    """The result of advancing the clock. Times are unix milliseconds.

    ``delivered`` counts the attempts made, ``fired`` the schedules that fired; ``next_due`` is when something
    is due next, ``None`` if never.
    """

    now: int
    next_due: int | None
    delivered: int
    fired: int


class Harness(Observations):
    """The fixture ``qstash``, also for use outside pytest: publish with any client, then advance the clock.

    ``async with Harness() as qstash`` lives in the running event loop, ``with Harness() as qstash`` beside a
    plain test. A method that takes time returns a ``Call``: await it in an async test; in a plain one the work is
    done already. Apps are mounted by origin and called in-process. Times are unix milliseconds.
    """

    def __init__(
        self,
        *,
        db: str = "memory",
        now_at: int | datetime | None = None,
        seed: int | None = None,
        fallback: Transport | None = None,
        is_reachable: bool = False,
        resolve: Resolve = resolve,
        **settings: Any,
    ) -> None:
        """Make a harness; it starts at its first use, or with ``start``.

        ``now_at`` is where the clock starts: by default where it was left in ``db``, else the real time.
        ``settings`` are the server's.
        ``fallback`` carries deliveries to origins without an app (by default only those to this machine are
        made). ``is_reachable`` has clients anywhere in the process find this emulator: the environment's
        variables name it, and clients made for the real service are answered by it too. With the setting
        ``like_production``, ``resolve`` finds a host's addresses; origins with an app are not looked up.
        """
        self._given_at: int | None = None if now_at is None else _instant(now_at)
        self._start_at: int = wall_now_at() if self._given_at is None else self._given_at
        # A test's messages are kept, however far it turns the clock.
        settings.setdefault("keep_messages_hours", _HOURS_OF_A_CENTURY)
        chosen = Settings(db=db, clock="manual", seed=seed, **settings)
        self.apps: AppTransport = AppTransport(
            fallback, run_blocking=self._run_blocking, max_response_bytes=chosen.limits.max_body_bytes
        )
        self._run = RecordedRun(self._start_at)
        self._emulator = Emulator(
            chosen,
            transport=RecordingTransport(self.apps, self._run),
            make_clock=self._make_clock,
            resolve=resolve,
            is_known_origin=self.apps.is_mounted,
        )
        self.app: ASGIApp = _StartingApp(
            self,
            create_app(self._emulator, extra_routes=[*control_routes(), *dashboard_routes(), *mcp_routes()]),
        )
        self._is_reachable = is_reachable
        self._exits = contextlib.ExitStack()
        self._home: Home | None = None
        self._thread = threading.get_ident()
        self._is_started = False
        self._starting = asyncio.Lock()
        self._lifetime: AsyncIterator[None] | None = None
        self._calls: list[Call[Any]] = []
        self.client: httpx.AsyncClient = self.make_client(self.token)

    # Lifetime

    def open(self, *, is_async: bool = False) -> Self:
        """Open the harness for clients; it starts at its first use.

        With ``is_async`` the emulator runs in the event loop that first uses it in this thread, and ends with
        that loop.
        """
        if self._is_reachable:
            self._exits.enter_context(client_interception.reachable(self))
        if not is_async:
            self._home = BackgroundHome()
        return self

    def close(self) -> None:
        """Close the emulator. Raise NotAwaited for calls that were never awaited."""
        self._exits.close()
        home = self._home
        if self._is_started and home is not None and not home.loop.is_closed():
            home.perform(self._stop())
        self._check_awaited()

    def __enter__(self) -> Self:
        self.open()
        self._start_now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        self.open(is_async=True)
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()
        await self._stop()
        if error is None:
            self._check_awaited()

    async def start(self) -> None:
        """Start the emulator, unless it runs. It lives in the first event loop that calls this."""
        self._home_here()
        async with self._starting:
            if self._is_started:
                return
            await self._emulator.start()
            self._run.begin(self._emulator)
            self._emulator.runtimes[0].observers.append(self._note_writes)
            self._lifetime = self._live()
            await anext(self._lifetime)
            self._is_started = True

    async def _live(self) -> AsyncIterator[None]:
        # A loop that ends closes its async generators while it still runs: the one moment at which an emulator
        # that lives in a test's own loop can be closed, whoever made that loop.
        try:
            yield
        finally:
            await self.client.aclose()
            await self._emulator.close(grace_seconds=0)

    async def _stop(self) -> None:
        lifetime, self._lifetime = self._lifetime, None
        if lifetime is not None:
            await lifetime.aclose()  # type: ignore[attr-defined]  # an async generator

    def _start_now(self) -> None:
        if not self._is_started:
            self._home_here().perform(self.start())

    def _home_here(self) -> Home:
        """Return the emulator's home, which the first use decides."""
        if self._home is None:
            loop = running_loop() if threading.get_ident() == self._thread else None
            self._home = BackgroundHome() if loop is None else Home(loop)
        return self._home

    def _note_writes(self, writes: Sequence[Write]) -> None:
        if any(isinstance(write, Cleared) for write in writes):
            self._run.begin(self._emulator)

    def _check_awaited(self) -> None:
        forgotten = [call.complaint() for call in self._calls if not call.is_begun]
        self._calls.clear()
        if forgotten:
            raise NotAwaited("\n".join(forgotten))

    # Address, token and clock

    @property
    def url(self) -> str:
        """Return the URL for clients: the value of QSTASH_URL."""
        return client_interception.loopback_url() if self._is_reachable else URL

    @property
    def environment(self) -> dict[str, str]:
        """Return the four variables that every QStash client and receiver reads."""
        user = PUBLISHED_USERS[0]
        return {
            "QSTASH_URL": self.url,
            "QSTASH_TOKEN": user.token,
            "QSTASH_CURRENT_SIGNING_KEY": user.keys.current,
            "QSTASH_NEXT_SIGNING_KEY": user.keys.next,
        }

    @property
    def emulator(self) -> Emulator:
        """Return the whole server; ``add_tenant`` makes further tenants."""
        self._start_now()
        return self._emulator

    @property
    def runtime(self) -> Runtime:
        """Return the default user's runtime."""
        return self.emulator.runtimes[0]

    @property
    def token(self) -> str:
        """Return the default user's token."""
        return PUBLISHED_USERS[0].token

    @property
    def clock(self) -> Clock:
        """Return the default user's clock."""
        return self.runtime.clock

    @property
    def now(self) -> int:
        """Return the present time in unix milliseconds."""
        return self._emulator.runtimes[0].clock.now_at() if self._is_started else self._start_at

    def utc_now(self) -> datetime:
        """Return the present time as an aware datetime, for code that takes a clock."""
        return datetime.fromtimestamp(self.now / 1000, UTC)

    @property
    def next_due(self) -> int | None:
        """Return when something is due next, schedules included, in unix milliseconds; ``None`` if never."""
        return self._look(self.runtime.next_due_at)

    # Destinations and clients

    def mount(self, origin: str, app: object, interface: Interface | None = None) -> None:
        """Have ``app`` answer requests to ``origin``: an ASGI app, a WSGI app, or the URL of a server."""
        self.apps.mount(origin, app, interface)

    def make_client(self, token: str | None = None) -> httpx.AsyncClient:
        """Return an HTTP client that reaches this emulator without a socket."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(
            transport=client_interception.InProcessTransport(self), base_url=URL, headers=headers
        )

    async def answer(self, scope: Scope, body: bytes) -> AppResponse:
        """Return the emulator's response to one request, from any event loop."""
        return await self._home_here().join(self._call_app(scope, body))

    def answer_blocking(self, scope: Scope, body: bytes) -> AppResponse:
        """Return the emulator's response to one request of a blocking client."""
        return self._home_here().perform(self._call_app(scope, body))

    async def _call_app(self, scope: Scope, body: bytes) -> AppResponse:
        await self.start()
        sent_at = self.now
        answer: AppResponse | None = None
        try:
            answer = await call_asgi(self.app, scope, body, is_patient=False)
        finally:
            self._run.note_call(scope, body, answer, token=self.token, sent_at=sent_at, done_at=self.now)
        return answer

    # Time

    def advance(self, by: str | timedelta) -> Call[Turned]:
        """Advance the clock by ``"24h"`` or a timedelta. Everything that falls due meanwhile happens, in order."""
        span_ms = _span_ms(by, "by")
        return self._call(f"advance({by!r})", lambda: self._turn_to(self.now + span_ms))

    def advance_to(self, when: datetime | int) -> Call[Turned]:
        """Advance the clock to an aware datetime or unix milliseconds. Raise Conflict if that is in the past."""
        when_at = _instant(when)
        return self._call(f"advance_to({when!r})", lambda: self._turn_to(when_at))

    def run_until_idle(self, limit: str | timedelta = "30d") -> Call[Turned]:
        """Advance the clock until no message waits for its time; schedules fire on the way.

        Raise Conflict when that takes more than ``limit``, naming the destinations that are called again and
        again.
        """
        limit_ms = _span_ms(limit, "limit")
        return self._call(
            "run_until_idle()", lambda: self._turned(lambda: self.runtime.run_until_idle(limit_ms))
        )

    def settle(self) -> Call[None]:
        """Run everything that is due now, without advancing the clock."""
        return self._call("settle()", self._settle)

    async def _settle(self) -> None:
        await self.runtime.settle()

    async def _turn_to(self, when_at: int) -> Turned:
        return await self._turned(lambda: self.runtime.advance_to(when_at))

    async def _turned(self, turn: Callable[[], Coroutine[Any, Any, None]]) -> Turned:
        runtime = self.runtime
        attempts, fired = runtime.deliveries.made, runtime.schedules_fired
        await turn()
        return Turned(
            now=runtime.clock.now_at(),
            next_due=runtime.next_due_at(),
            delivered=runtime.deliveries.made - attempts,
            fired=runtime.schedules_fired - fired,
        )

    # Faults, and the whole state

    @property
    def faults(self) -> FaultSet:
        """Return the faults in force; ``qstash.faults.add("refuse", destination="https://app.example.com",
        count=2)``.
        """
        return self.runtime.faults

    def workflow(self, run_id: str) -> Call[WorkflowRun]:
        """Return a workflow run, after everything that is due now has happened. Raise NotFound."""
        return self._call(f"workflow({run_id!r})", lambda: read_run(self.runtime, run_id, self._call))

    def crash(self) -> Call[None]:
        """Discard everything that is not durable, as ``kill -9`` does, and restart from the store."""
        return self._call("crash()", self._crash)

    async def _crash(self) -> None:
        await self.runtime.crash()

    def snapshot(self) -> Call[dict[str, Any]]:
        """Return the whole state as JSON values, as ``GET /emulator/export`` does."""
        return self._call("snapshot()", lambda: exported(self.runtime))

    def restore(self, state: dict[str, Any] | str | Path) -> Call[None]:
        """Load a state from ``snapshot()``, or from a file of one, and set the clock to its time."""

        fields = state if isinstance(state, dict) else json.loads(Path(state).read_text())

        async def restored() -> None:
            await import_into(self._emulator, self.runtime, fields)
            # Imported messages were not recorded.
            self._run.begin(self._emulator)

        return self._call("restore(...)", restored)

    # From here to the emulator's loop

    def _call(self, name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> Call[T]:
        home = self._home_here()
        call = Call(name, partial(self._do, home, work))
        if running_loop() is None:
            return call.finish_with(self._perform)
        self._calls.append(call)
        return call

    async def _do(self, home: Home, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def started() -> T:
            await self.start()
            return await work()

        return await home.join(started()) if running_loop() is not None else await started()

    def _perform(self, work: Coroutine[Any, Any, T]) -> T:
        home = self._home_here()
        if isinstance(home, BackgroundHome):
            return home.perform_with_errands(work)
        return home.perform(work)

    def _look_into(self, read: Callable[[SqlStore, int], T]) -> T:
        return self._look(lambda: read(self.emulator.writer.store, self.runtime.tenant.id))

    def waits_for(self, message_id: str) -> str | None:
        """Return what an unfinished message waits for, in words; ``None`` for a finished one."""
        wanted = Filter(message_ids=(message_id,))
        pending = self._look_into(lambda store, tenant_id: select_pending(store, tenant_id, wanted, 1))
        return waiting_reason(self.runtime.broker.state, pending[0], self.now) if pending else None

    def _recorded(self) -> Record:
        return self._look(lambda: self._run.record(self._emulator))

    def _look(self, read: Callable[[], T]) -> T:
        """Read the emulator's state. In a plain test, what is due now happens first, as nobody can await it."""
        self._check_awaited()
        if running_loop() is not None:
            self._start_now()
            return read()

        async def settled() -> T:
            await self.start()
            await self._settle()
            return read()

        return self._perform(settled())

    async def _run_blocking(self, call: Callable[[], T]) -> T:
        return await self._home_here().call_blocking(call)

    def _make_clock(self, kept_at: int | None) -> Clock:
        return ManualClock(kept_at if kept_at is not None and self._given_at is None else self._start_at)


class _StartingApp:
    """The emulator as an ASGI app, which the first request starts."""

    def __init__(self, harness: Harness, app: ASGIApp) -> None:
        self._harness = harness
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._harness.start()
        await self._app(scope, receive, send)


def _span_ms(span: str | timedelta, field: str) -> int:
    return parse_duration(span, field=field) if isinstance(span, str) else span // _MILLISECOND


def _instant(when: datetime | int) -> int:
    if isinstance(when, int):
        return when
    if when.tzinfo is None:
        raise ValueError(f"{when!r} has no time zone; say which: datetime(..., tzinfo=UTC)")
    return round(when.timestamp() * 1000)
