"""QStash, workers and the caller: processes with an event loop each, which are killed, frozen or stopped."""

import asyncio
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message

from emulator.http.app import create_app as create_qstash_app
from emulator.runtime import Runtime
from emulator.server import Emulator
from emulator.settings import Settings as EmulatorSettings
from jobs_core.app import create_app, intervals
from jobs_core.engine.dispatcher import JobDispatcher
from jobs_core.engine.intervals import Interval
from tests.simulation.jobs.database import Doom
from tests.simulation.jobs.handlers import make_registry
from tests.simulation.jobs.loop import Killed, ProcessLoop
from tests.simulation.jobs.network import Call, Response, ToQStash
from tests.simulation.simulator.timeline import SimulatedClock

if TYPE_CHECKING:
    from tests.simulation.jobs.world import World

BASE_URL = "https://app.example.com"
_FOR_EVER_HOURS = 1_000_000
_UNCANCELLED_SECONDS = 5.0


class Process:
    """A process of the world."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.loop = ProcessLoop(world.timeline)
        self.is_alive = True
        self.is_listening = True
        self.frozen_until_us = 0
        self._app: ASGIApp | None = None
        self._calls: dict[Call, None] = {}
        self._tasks: dict[asyncio.Task[None], None] = {}

    @property
    def has_turns(self) -> bool:
        return self.is_alive and self.frozen_until_us <= self.world.now_us

    @property
    def is_busy(self) -> bool:
        """Return whether a request is unanswered, or work on one goes on."""
        return bool(self._calls or self._tasks) or not self.loop.is_idle

    def next_us(self) -> int | None:
        """Return when it needs its next turn, or ``None``."""
        next_us = self.loop.next_us() if self.is_alive else None
        return None if next_us is None else max(next_us, self.frozen_until_us)

    def turn(self) -> None:
        """Run the ready callbacks; die where one of them raises Killed."""
        try:
            self.loop.turn()
        except Killed:
            self.kill("at its planned moment")

    def resume(self, what: Callable[[], None]) -> None:
        """Call ``what`` on its loop, if it is alive."""
        if self.is_alive:
            self.loop.call_soon(what)

    def accept(self, call: Call) -> None:
        """Accept a request. The operating system does so for a frozen process, too."""
        if not (self.is_alive and self.is_listening):
            call.answer(None)
            return
        self._calls[call] = None
        self.loop.call_soon(self._begin, call)

    def kill(self, why: str) -> None:
        """Give it no turn any more, and break the connections of those who wait for its answers."""
        if not self.is_alive:
            return
        self.world.note(f"killed    {self.name} {why}")
        self.world.trouble("killed", self.name)
        self.is_alive = self.is_listening = False
        self.loop.is_dead = True
        calls, self._calls = self._calls, {}
        for call in calls:
            call.answer(None)
        self.close_files()
        self.world.died(self)

    def close_files(self) -> None:
        """Close the files of a dead process, as the operating system does."""

    def _begin(self, call: Call) -> None:
        task = self.loop.create_task(self._serve(call))
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def _serve(self, call: Call) -> None:
        exchange = _Exchange(call.body)
        try:
            assert self._app is not None
            await self._app(call.scope(), exchange.receive, exchange.send)
        except Exception as error:  # noqa: BLE001 -- the server's outermost handler; Starlette has answered 500
            told = "".join(traceback.format_exception(error))
            self.world.fault(f"{self.name} answered {call.method} {call.target} with 500: {told}")
        finally:
            if self.is_alive:
                self._calls.pop(call, None)
                call.answer(exchange.response)


class QStash(Process):
    """The emulator."""

    def __init__(self, world: "World", directory: Path) -> None:
        super().__init__(world, "qstash")
        clock = SimulatedClock(world.timeline, self.loop.call_at_us)
        self._emulator = Emulator(
            EmulatorSettings(
                db=str(directory / "qstash.db"),
                clock="manual",
                seed=world.seed,
                keep_messages_hours=_FOR_EVER_HOURS,
                keep_dead_letters_hours=_FOR_EVER_HOURS,
            ),
            transport=world.network,
            make_clock=lambda _kept_at: clock,
        )
        self._app = create_qstash_app(self._emulator)
        self._starting = self.loop.create_task(self._emulator.start())

    @property
    def runtime(self) -> Runtime:
        self._starting.result()
        return self._emulator.runtimes[0]

    def close(self) -> asyncio.Task[None]:
        """Start to stop the emulator, and return the task."""
        return self.loop.create_task(self._emulator.close(grace_seconds=0))


class JobsProcess(Process):
    """A worker with its work at intervals or, with ``is_worker`` false, an application that only enqueues."""

    def __init__(self, world: "World", name: str, *, is_worker: bool) -> None:
        super().__init__(world, name)
        self.is_worker = is_worker
        self.doom = Doom()
        self.dispatcher = JobDispatcher(
            world.settings,
            registry=make_registry(world, self),
            clock=world.clock,
            transport=ToQStash(world.network, self),
        )
        world.database.serve(self.dispatcher.database.engine, self.doom)
        self._ticking: list[asyncio.Task[None]] = []
        if is_worker:
            self._app = app = create_app(dispatcher=self.dispatcher)
            self._ticking = [self.loop.create_task(self._tick(interval)) for interval in intervals(app)]

    @property
    def is_busy(self) -> bool:
        return bool(self._calls or self._tasks)

    def close_files(self) -> None:
        self.doom.close()

    def do(self, work: Any) -> None:
        """Run ``work`` as a task of this process."""
        task: asyncio.Task[None] = self.loop.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def terminate(self, grace_seconds: int) -> None:
        """Stop it as SIGTERM stops uvicorn; if it has not ended soon after the grace period, kill it."""
        self.is_listening = False
        self.world.trouble("stopped", self.name, seconds=grace_seconds + 2 * _UNCANCELLED_SECONDS)
        ending = self.loop.create_task(self._end(grace_seconds))
        ending.add_done_callback(lambda _: self.kill("at its end"))
        us = round((grace_seconds + 2 * _UNCANCELLED_SECONDS) * 1_000_000)
        self.world.after(us, lambda: self.kill("after the grace"))

    async def _end(self, grace_seconds: int) -> None:
        for task in self._ticking:
            task.cancel()
        await self._wait_for_requests(grace_seconds)
        for request in list(self._tasks):
            request.cancel()
        await self._wait_for_requests(_UNCANCELLED_SECONDS)
        await self.dispatcher.aclose()

    async def _wait_for_requests(self, seconds: float) -> None:
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=seconds)

    async def _tick(self, interval: Interval) -> None:
        """Run an interval's work repeatedly, as the scheduler does, by simulated time."""
        seconds = interval.seconds
        if not interval.begins_at_once:
            await asyncio.sleep(seconds * self.world.random.uniform(0.9, 1.1))
        while True:
            await interval.run()
            pause = max(seconds, self.world.least_interval_seconds)
            await asyncio.sleep(pause * self.world.random.uniform(0.9, 1.1))


class _Exchange:
    """The two halves of an ASGI call."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._status: int | None = None
        self._headers: tuple[tuple[str, str], ...] = ()
        self._parts: list[bytes] = []
        self._is_whole = False
        self._is_read = False

    async def receive(self) -> Message:
        if self._is_read:
            await asyncio.get_running_loop().create_future()
        self._is_read = True
        return {"type": "http.request", "body": self._body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = tuple((name.decode(), value.decode()) for name, value in message["headers"])
        else:
            self._parts.append(message.get("body", b""))
            self._is_whole = not message.get("more_body", False)

    @property
    def response(self) -> Response | None:
        if self._status is None or not self._is_whole:
            return None
        return Response(self._status, self._headers, b"".join(self._parts))
