"""Applies faults to deliveries, around the real transport."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from emulator.broker.message import AttemptResult
from emulator.delivery import connection_errors
from emulator.delivery.request import OutboundRequest
from emulator.delivery.transport import Transport
from emulator.faults.fault import Fault, Kind

Resign = Callable[[OutboundRequest], OutboundRequest]


class FaultyTransport:
    """Carries one tenant's deliveries that a fault strikes."""

    def __init__(
        self,
        transport: Transport,
        *,
        hold: Callable[[int], Awaitable[None]],
        resign: Resign,
        crash: Callable[[], None],
    ) -> None:
        """``hold`` waits milliseconds of the tenant's time; ``crash`` starts a crash, which ends this delivery.

        ``resign`` signs a request again, as for a separate delivery.
        """
        self._transport = transport
        self._hold = hold
        self._resign = resign
        self._crash = crash
        self._convoy = _Convoy()

    async def send(self, request: OutboundRequest, fault: Fault | None) -> AttemptResult:
        """Return the outcome of one attempt under ``fault``. Never raises for the destination's behaviour."""
        with self._convoy.joined():
            return await self._send(request, fault)

    async def _send(self, request: OutboundRequest, fault: Fault | None) -> AttemptResult:  # noqa: PLR0911  one for each kind
        send = self._transport.send
        match fault.kind if fault else None:
            case Kind.REFUSE:
                return _no_response(connection_errors.refused(request.url), fault)
            case Kind.DROP:
                await send(request)
                return _no_response(
                    connection_errors.cut_off(request.url, ConnectionResetError("reset by peer")), fault
                )
            case Kind.ANSWER:
                return _canned(fault)
            case Kind.DELAY:
                await self._wait(fault.delay_ms if fault else 0)
                return await send(request)
            case Kind.TIME_OUT:
                await send(request)
                await self._wait(request.timeout_ms)
                return _no_response(connection_errors.TIMED_OUT, fault)
            case Kind.CUT_RESPONSE:
                return _cut(request, await send(request), fault)
            case Kind.DELIVER_TWICE:
                await send(request)
                return await send(self._resign(request))
            case Kind.OUT_OF_ORDER:
                await self._convoy.let_others_pass()
                return await send(request)
            case Kind.CRASH:
                self._crash()
                return await asyncio.Future()
            case _:
                # No fault, or one that only affects the signature.
                return await send(request)

    async def _wait(self, span_ms: int) -> None:
        self._convoy.leave()
        try:
            await self._hold(span_ms)
        finally:
            self._convoy.join()


class _Convoy:
    """Concurrent attempts, and those of them that wait for the others."""

    def __init__(self) -> None:
        self._moving = 0
        self._parked: list[asyncio.Future[None]] = []

    def joined(self) -> "_Membership":
        return _Membership(self)

    def join(self) -> None:
        self._moving += 1

    def leave(self) -> None:
        self._moving -= 1
        self._release()

    async def let_others_pass(self) -> None:
        """Wait until all other attempts have ended or wait, too; of those that wait, the last goes first."""
        gate = asyncio.get_running_loop().create_future()
        self._parked.append(gate)
        self._moving -= 1
        try:
            # Attempts that were started in the same step have not all begun yet.
            await asyncio.sleep(0)
            self._release()
            await gate
        except asyncio.CancelledError:
            if gate in self._parked:
                self._parked.remove(gate)
                self._moving += 1
            raise

    def _release(self) -> None:
        while self._moving == 0 and self._parked:
            gate = self._parked.pop()
            self._moving += 1
            if not gate.done():
                gate.set_result(None)


class _Membership:
    def __init__(self, convoy: _Convoy) -> None:
        self._convoy = convoy

    def __enter__(self) -> None:
        self._convoy.join()

    def __exit__(self, *_: object) -> None:
        self._convoy.leave()


def _canned(fault: Fault | None) -> AttemptResult:
    assert fault is not None
    return AttemptResult(
        status=fault.status or 500, headers=fault.answer_headers, body=fault.response_body.encode()
    )


def _cut(request: OutboundRequest, result: AttemptResult, fault: Fault | None) -> AttemptResult:
    """Return half of the body behind the whole head; a response without a body is cut off in its head."""
    assert fault is not None
    if result.error is not None:
        return result
    if not result.body:
        return _no_response(
            connection_errors.cut_off(request.url, ConnectionError("half of the head arrived")), fault
        )
    came = len(result.body) // 2
    words = f"{came} of {len(result.body)} bytes of the body arrived (fault {fault.id})"
    return replace(result, body=result.body[:came], note=words)


def _no_response(words: str, fault: Fault | None) -> AttemptResult:
    return AttemptResult(status=0, error=f"{words} (fault {fault.id})" if fault else words)
