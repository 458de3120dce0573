"""Room for what is being accepted: bodies stay in memory from their first byte until they are durable.

When the disk is slower than the publishers, or many bodies come in slowly, the server would grow without bound. So
requests that change something take room first, in the order they came: they wait when there is none, and after a
while they are told to come back.
"""

import asyncio
from collections import deque

from emulator.errors import TooManyRequests

# What a request costs beside its body: header lines, tasks, rows.
_REQUEST_BYTES = 4_096
_RETRY_AFTER_SECONDS = 1


class Intake:
    """Room for ``most_bytes`` of requests under way; one that is larger than all of it is let in alone."""

    def __init__(self, most_bytes: int, *, patience_seconds: float) -> None:
        """Who finds no room within ``patience_seconds`` is refused."""
        self._most = most_bytes
        self._patience_seconds = patience_seconds
        self._taken = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, body_bytes: int) -> int:
        """Wait for room; return what is to be given back. Raise TooManyRequests when there is none for too long."""
        size = body_bytes + _REQUEST_BYTES
        if not self._waiting and self._has_room(size):
            self._taken += size
            return size
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            async with asyncio.timeout(self._patience_seconds):
                await turn
        except BaseException as error:
            self._withdraw(size, turn)
            if isinstance(error, TimeoutError):
                raise TooManyRequests(
                    f"the server holds {self._taken} bytes of requests that are not stored yet, and may hold "
                    f"{self._most}; try again",
                    retry_after_seconds=_RETRY_AFTER_SECONDS,
                ) from None
            raise
        return size

    def give_back(self, size: int) -> None:
        """Give back what ``take`` returned: a request is over."""
        self._taken -= size
        self._let_in()

    def _has_room(self, size: int) -> bool:
        return not self._taken or self._taken + size <= self._most

    def _let_in(self) -> None:
        while self._waiting and self._has_room(self._waiting[0][0]):
            size, turn = self._waiting.popleft()
            if not turn.done():
                self._taken += size
                turn.set_result(None)

    def _withdraw(self, size: int, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            # Its turn had come in the same moment.
            self._taken -= size
        self._waiting = deque(one for one in self._waiting if one[1] is not turn)
        self._let_in()
