"""Delete records after their retention time, by the tenant's clock, so that a long-running server stays small."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from emulator.broker.expiry import forget
from emulator.broker.state import BrokerState
from emulator.clock import Clock
from emulator.store.retention import prune
from emulator.store.store import SqlStore
from emulator.store.writer import StoreWriter
from emulator.wire.limits import Retention

EVERY_MS = 10 * 60 * 1000


class Housekeeping:
    """Deletes a tenant's old records every ten minutes of its clock.

    On the machine's clock the server calls ``run`` at intervals; advancing a manual clock calls ``run_if_due``.
    """

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
        """``change`` carries out an operation of the broker; ``dead_letters`` locks entries that are being deleted."""
        self._tenant_id = tenant_id
        self._retention = retention
        self._clock = clock
        self._writer = writer
        self._dead_letters = dead_letters
        self._change = change
        self._next_at = clock.now_at() + EVERY_MS

    async def run_if_due(self) -> None:
        """Delete expired records, if the time has come."""
        if self._clock.now_at() >= self._next_at:
            self._next_at = self._clock.now_at() + EVERY_MS
            await self.run()

    async def run(self) -> None:
        """Delete expired records now, in batches, so that other writes come in between. Raises StoreUnavailable."""
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
