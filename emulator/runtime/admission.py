"""Admission control: a bound on the memory of requests, whose bodies stay in memory until they are durable.

If the disk is slower than the publishers, or many bodies arrive slowly, memory would grow without bound. So requests
that change something reserve memory first, in the order of arrival. Without free memory they wait, and after some time
they are refused with Retry-After.
"""

import asyncio
from collections import deque

from emulator.errors import TooManyRequests

# The memory of a request beside its body: header lines, tasks, rows.
_REQUEST_BYTES = 4_096
_RETRY_AFTER_SECONDS = 1


class Intake:
    """Admits requests of up to ``most_bytes`` in all; a larger one is admitted alone."""

    def __init__(self, most_bytes: int, *, patience_seconds: float) -> None:
        """A request that is not admitted within ``patience_seconds`` is refused."""
        self._most = most_bytes
        self._patience_seconds = patience_seconds
        self._taken = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, body_bytes: int) -> int:
        """Wait for admission; return the size to give back. Raises TooManyRequests after the patience."""
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
        """Give back the size that ``take`` returned, at the end of a request."""
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
            # It was admitted at the same moment.
            self._taken -= size
        self._waiting = deque(one for one in self._waiting if one[1] is not turn)
        self._let_in()
