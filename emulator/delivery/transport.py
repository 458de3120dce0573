"""The interface by which the runtime sends a request: over sockets, or to an app in the same process."""

from typing import Protocol

from emulator.broker.message import AttemptResult
from emulator.delivery.request import OutboundRequest


class Transport(Protocol):
    """Sends requests."""

    async def send(self, request: OutboundRequest) -> AttemptResult:
        """Return the outcome, even without a response. Never raises for the destination's behaviour."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
