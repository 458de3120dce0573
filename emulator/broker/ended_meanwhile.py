"""Which messages have ended since somebody began to read about them in the store.

A candidate that was read before its message ended still tells of it. What the broker holds in memory it knows better;
of a message that only the store remembered, nothing else would.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class EndedMeanwhile:
    """The seqs of messages that ended while the readings under way went on; nothing while there are none."""

    def __init__(self) -> None:
        self._began = 0
        # The numbers of the readings under way, and of the newest reading at each message's end; both grow.
        self._under_way: dict[int, None] = {}
        self._ended: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._ended)

    def __contains__(self, seq: int) -> bool:
        return seq in self._ended

    def note(self, seq: int) -> None:
        """Take note of a message's end."""
        if self._under_way:
            self._ended[seq] = self._began

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Know in this block what has ended since it began. What is read in it must have every write of before it."""
        self._began += 1
        number = self._began
        self._under_way[number] = None
        try:
            yield
        finally:
            del self._under_way[number]
            self._forget()

    def _forget(self) -> None:
        oldest = next(iter(self._under_way), self._began + 1)
        while self._ended and self._ended[seq := next(iter(self._ended))] < oldest:
            del self._ended[seq]
