"""Throwing away what has been kept long enough, by the tenant's clock: a server left on stays small."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from emulator.broker.expiry import forget
from emulator.broker.state import BrokerState
from emulator.clock import Alarm, Clock
from emulator.errors import EmulatorError
from emulator.store.retention import prune
from emulator.store.store import SqlStore
from emulator.store.writer import StoreWriter
from emulator.wire.limits import Retention

log: logging.Logger = logging.getLogger(__name__)

EVERY_MS = 10 * 60 * 1000


class Housekeeping:
    """Runs every ten minutes of one tenant's clock; under a manual clock, when it is turned past that time."""

    def __init__(
        self,
        tenant_id: int,
        retention: Retention,
        *,
        clock: Clock,
        writer: StoreWriter,
        dead_letters: asyncio.Lock,
        change: Callable[[Callable[[BrokerState, int], None]], Awaitable[None]],
    ) -> None:
        """``change`` carries an operation of the broker out; ``dead_letters`` keeps others from entries that go."""
        self._tenant_id = tenant_id
        self._retention = retention
        self._clock = clock
        self._writer = writer
        self._dead_letters = dead_letters
        self._change = change
        self._next_at = clock.now_at() + EVERY_MS
        self._alarm: Alarm | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Wait for the next time."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._clock.call_at(self._next_at, self._ring)

    def close(self) -> None:
        """Stop; what was not thrown away waits for the next start."""
        if self._alarm is not None:
            self._alarm.cancel()
        if self._task is not None:
            self._task.cancel()

    async def run_if_due(self) -> None:
        """Throw away what may go, if the time has come."""
        if self._clock.now_at() >= self._next_at:
            self._next_at = self._clock.now_at() + EVERY_MS
            await self.run()

    async def run(self) -> None:
        """Throw away what may go now, batch by batch: what others ask of the writer comes in between."""
        now_at = self._clock.now_at()
        retention = self._retention
        await self._change(lambda state, at: forget(state, at, unused_since=now_at - retention.messages_ms))
        batch: Callable[[SqlStore], bool] = partial(
            prune,
            tenant_id=self._tenant_id,
            now_at=now_at,
            messages_before=now_at - retention.messages_ms,
            dead_before=now_at - retention.dead_letters_ms,
        )
        has_more = True
        while has_more:
            async with self._dead_letters:
                has_more = await self._writer.read_after_writes(batch)

    def _ring(self) -> None:
        self._task = asyncio.create_task(self._run_and_rest(), name="housekeeping")

    async def _run_and_rest(self) -> None:
        try:
            await self.run_if_due()
        except EmulatorError as error:
            log.warning("housekeeping is put off: %s", error, extra={"event": "housekeeping_put_off"})
        self.start()
