"""The seam between the runtime and whatever carries a request: sockets, or an app in the same process."""

from typing import Protocol

from emulator.broker.message import AttemptResult
from emulator.delivery.request import OutboundRequest


class Transport(Protocol):
    """Carries one request and says what came of it."""

    async def send(self, request: OutboundRequest) -> AttemptResult:
        """The outcome, also when there was no response; never raises for what the destination does."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...
