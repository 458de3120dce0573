"""One process of the emulator in the simulated world, from its start to its end or its crash."""

import asyncio
import shutil
from collections import deque
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from emulator.broker.pending_messages import Windows
from emulator.http.app import create_app
from emulator.http.control.routes import control_routes
from emulator.runtime import Runtime
from emulator.server import Emulator
from emulator.settings import Settings
from emulator.testing.invariants import Interruption
from tests.simulation.simulator.client import Client
from tests.simulation.simulator.events import EventLog
from tests.simulation.simulator.history import History
from tests.simulation.simulator.loop import SimulationLoop
from tests.simulation.simulator.network import Network
from tests.simulation.simulator.steps import Crash, JumpClock, Restart, Step
from tests.simulation.simulator.timeline import SimulatedClock, Timeline
from tests.simulation.simulator.workflows.app import WorkflowApp

_MOMENT_SECONDS = 0.000_001
_DATABASE = "q.db"
_LOG = f"{_DATABASE}-wal"
# A torn write needs a write; if none follows within this time, the power fails without one.
_LONGEST_WAIT_FOR_WRITE_SECONDS = 0.1
_GRACE_SECONDS = 2.0
_FOR_EVER_HOURS = 1_000_000


class Life:
    """An emulator on the database in ``directory``. Objects that outlive the process are passed in."""

    def __init__(
        self,
        directory: Path,
        *,
        id_seed: int,
        lazy_fetch_bytes: int,
        windows: Windows,
        timeline: Timeline,
        network: Network,
        app: WorkflowApp,
        events: EventLog,
        history: History,
    ) -> None:
        self.loop = SimulationLoop(timeline)
        self.client: Client | None = None
        self._directory = directory
        self._timeline = timeline
        self._network = network
        self._app = app
        self._events = events
        self._history = history
        self._clock = SimulatedClock(timeline, self.loop.call_at_us)
        self._steps_running: list[asyncio.Task[None]] = []
        self._emulator = Emulator(
            Settings(
                db=str(directory / _DATABASE),
                clock="manual",
                seed=id_seed,
                workflow_lazy_fetch_bytes=lazy_fetch_bytes,
                # The log must still hold everything that is checked at the end.
                keep_messages_hours=_FOR_EVER_HOURS,
                keep_dead_letters_hours=_FOR_EVER_HOURS,
            ),
            transport=network,
            make_clock=lambda _kept_at: self._clock,
            windows=windows,
        )
        self._tear: Crash | None = None
        self._tear_into: Path | None = None
        self._size_before = 0
        self._is_torn = asyncio.Event()
        self.loop.before_work = self._note_size
        self.loop.after_work = self._tear_write

    @property
    def runtime(self) -> Runtime:
        """Return the default user's runtime."""
        return self._emulator.runtimes[0]

    def live(self, main: Coroutine[Any, Any, Any]) -> Any:
        """Run ``main`` to its end, with all other tasks, and return its result."""
        return self.loop.run_until_complete(main)

    async def start(self) -> None:
        """Start, and become ready for clients."""
        await self._emulator.start()
        app = create_app(self._emulator, extra_routes=control_routes())
        # Only a server would start the emulator through the app's lifespan, so it is started here.
        self.client = Client(
            app,
            self.runtime.tenant.token,
            timeline=self._timeline,
            events=self._events,
            history=self._history,
        )
        self._app.client = self.client
        self._events.note("ready")

    async def go_through(self, todo: deque[Step], next_directory: Path) -> Step | None:
        """Run steps from ``todo`` at their times. Return the one that ends this process, or ``None`` when
        none is left.
        """
        starting = asyncio.create_task(self.start())
        while todo:
            await self._sleep_until(todo[0].at_us)
            step = todo.popleft()
            match step:
                case Crash():
                    self._events.note(str(step))
                    await self._wait_for_tear(step, next_directory)
                    return step
                case Restart():
                    self._events.note(str(step))
                    await starting
                    await self.stop()
                    return step
                case JumpClock():
                    await self._jump(step)
                case _:
                    self._begin(step)
        await starting
        await asyncio.gather(*self._steps_running)
        return None

    async def stop(self) -> None:
        """Close as a server does on SIGTERM."""
        self._app.client = None
        await self._emulator.close(grace_seconds=_GRACE_SECONDS)

    def die(self, next_directory: Path) -> None:
        """Leave what is on disk at this instant in ``next_directory``, and end. Takes no time."""
        if not next_directory.exists():
            next_directory.mkdir()
            for name in (_DATABASE, _LOG):
                if (self._directory / name).exists():
                    shutil.copyfile(self._directory / name, next_directory / name)
        self.loop.is_dead = True
        self._network.cut_off()
        self._app.client = None
        now_us = self._timeline.now_us
        # In the order in which they began, so that clients record them in the same order each time.
        for task in self._steps_running:
            while not task.done():
                # Once for each of its calls: after a cut-off call, a client may make the next.
                task.cancel()
                self.loop.run_until_complete(asyncio.wait([task], timeout=_MOMENT_SECONDS))
        others = asyncio.all_tasks(self.loop)
        for task in others:
            task.cancel()
        if others:
            self.loop.run_until_complete(asyncio.wait(others))
        self._timeline.now_us = now_us
        self.let_go()

    def let_go(self) -> None:
        """Close the files that the operating system closes for a dead process."""
        writer = getattr(self._emulator, "writer", None)
        if writer is not None:
            writer.store.close()
        self.loop.close()

    async def wait_until_idle(self, longest_seconds: int) -> None:
        """Let time pass until nothing is left to do, at most ``longest_seconds``."""
        deadline_us = self._timeline.now_us + longest_seconds * 1_000_000
        seen, pause_seconds, quiet = -1, 0.02, 0
        while quiet < 2 and self._timeline.now_us < deadline_us:
            is_quiet = self._network.is_quiet and self.loop.is_idle and self.runtime.next_due_at() is None
            quiet = quiet + 1 if is_quiet else 0
            attempts = len(self._network.attempts)
            pause_seconds = 0.02 if is_quiet or attempts != seen else min(pause_seconds * 2, 3_600.0)
            seen = attempts
            await asyncio.sleep(pause_seconds)

    def _begin(self, step: Step) -> None:
        if self.client is None:
            self._events.note(f"nobody is there to: {step}")
            return
        self._steps_running.append(asyncio.create_task(step.run(self.client)))

    async def _sleep_until(self, at_us: int) -> None:
        await asyncio.sleep(max(0, at_us - self._timeline.now_us) / 1_000_000)

    async def _jump(self, step: JumpClock) -> None:
        before_at = self._timeline.now_at()
        self._timeline.skew_ms += step.by_ms
        self._events.note(str(step))
        self._history.went_back |= step.by_ms < 0
        self._history.interruptions.append(
            Interruption(from_at=before_at, to_at=self._timeline.now_at(), is_crash=False)
        )
        self._clock.notice_jump()

    async def _wait_for_tear(self, step: Crash, next_directory: Path) -> None:
        if step.torn is None:
            return
        self._tear, self._tear_into = step, next_directory
        waiting = asyncio.create_task(self._is_torn.wait())
        await asyncio.wait([waiting], timeout=_LONGEST_WAIT_FOR_WRITE_SECONDS)

    def _note_size(self) -> None:
        if self._tear is not None:
            self._size_before = self._log_size()

    def _tear_write(self) -> None:
        if self._tear is None or self._tear.torn is None or self._tear_into is None:
            return
        grown = self._log_size() - self._size_before
        if grown <= 0:
            return
        kept = self._size_before + int(grown * self._tear.torn)
        self._tear_into.mkdir()
        shutil.copyfile(self._directory / _DATABASE, self._tear_into / _DATABASE)
        whole = (self._directory / _LOG).read_bytes()
        rest = b"\0" * (len(whole) - kept) if self._tear.is_zeroed else b""
        (self._tear_into / _LOG).write_bytes(whole[:kept] + rest)
        self._events.note(f"the last write is torn: {kept - self._size_before} of {grown} bytes are on disk")
        self._tear = None
        self.loop.is_dead = True
        self._is_torn.set()

    def _log_size(self) -> int:
        log = self._directory / _LOG
        return log.stat().st_size if log.exists() else 0
