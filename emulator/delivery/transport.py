"""The interface between the runtime and the carrier of a request: sockets, or an app in the same process."""

from typing import Protocol

from emulator.broker.message import AttemptResult
from emulator.delivery.request import OutboundRequest


class Transport(Protocol):
    """Carries one request and returns its outcome."""

    async def send(self, request: OutboundRequest) -> AttemptResult:
        """Return the outcome, also without a response; never raise for what the destination does."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
