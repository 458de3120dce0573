"""The messages that have ended since a read of the store began.

A candidate that was read before its message ended is outdated. For a message in memory the broker notices that; for
one that was only in the store, this record is needed.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class EndedMeanwhile:
    """The seqs of messages that ended during the reads under way; empty without such reads."""

    def __init__(self) -> None:
        self._began = 0
        # The numbers of the reads under way, and of the newest read at each message's end; both grow.
        self._under_way: dict[int, None] = {}
        self._ended: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._ended)

    def __contains__(self, seq: int) -> bool:
        return seq in self._ended

    def note(self, seq: int) -> None:
        """Record a message's end."""
        if self._under_way:
            self._ended[seq] = self._began

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Record the ends during the block. Reads in the block must see every write from before it."""
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
