"""Apply one tenant's faults between the runtime, which makes attempts, and the transport, which sends them."""

import asyncio
from collections.abc import Callable
from functools import partial

from emulator.broker.message import AttemptResult, Message
from emulator.broker.state import BrokerState
from emulator.broker.workflow.step_names import step_name_of
from emulator.clock import Clock, ManualClock, wall_now_at
from emulator.delivery.request import OutboundRequest
from emulator.delivery.transport import Transport
from emulator.faults import FaultSet, Kind
from emulator.faults.matching import Facts
from emulator.faults.signing import sign_again
from emulator.faults.transport import FaultyTransport


class Disturber:
    """Makes the attempts of a tenant with faults."""

    def __init__(
        self,
        faults: FaultSet,
        transport: Transport,
        *,
        state: BrokerState,
        clock: Clock,
        note_held: Callable[[int], None],
        crash: Callable[[], None],
    ) -> None:
        """``note_held`` is called with +1 for an attempt that waits for the clock, and -1 when it continues."""
        self._faults = faults
        self._state = state
        self._clock = clock
        self._note_held = note_held
        self._faulty = FaultyTransport(transport, hold=self._hold, resign=self._resign, crash=crash)

    async def send(self, message: Message, request: OutboundRequest) -> tuple[AttemptResult, OutboundRequest]:
        """Return the outcome of one attempt, and the request as it was sent."""
        fault = self._faults.for_delivery(
            Facts(
                url=request.url,
                headers=message.headers,
                body=request.body,
                queue=message.queue_name,
                labels=message.labels,
                step=step_name_of(message, request.body),
            )
        )
        if fault is not None and fault.kind.is_in_signature:
            request = self._resign(request, fault.kind)
        return await self._faulty.send(request, fault), request

    def _resign(self, request: OutboundRequest, kind: Kind | None = None) -> OutboundRequest:
        return sign_again(
            request,
            self._state.keys,
            kind=kind,
            jwt_id=self._state.ids.jwt_id(),
            now_at_seconds=wall_now_at() // 1000,
        )

    async def _hold(self, span_ms: int) -> None:
        """Wait ``span_ms`` of the tenant's time; a manual clock must be advanced for that."""
        until_at = self._clock.now_at() + span_ms
        while self._clock.now_at() < until_at:
            await self._woken_at(until_at)

    async def _woken_at(self, when_at: int) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Counted when the clock is advanced, not when this task runs: the caller that advances it waits for due work.
        wake = partial(self._wake, woken)
        alarm = (
            self._clock.wake_at(when_at, wake)
            if isinstance(self._clock, ManualClock)
            else self._clock.call_at(when_at, wake)
        )
        self._note_held(+1)
        try:
            await woken
        finally:
            if alarm is not None:
                alarm.cancel()
            if not woken.done() or woken.cancelled():
                self._note_held(-1)

    def _wake(self, woken: asyncio.Future[None]) -> None:
        if not woken.done():
            self._note_held(-1)
            woken.set_result(None)
