"""What was really sent, for a while: the header lines of the latest attempts, their signatures included.

A signature cannot be made again (its id is random, its time the wall clock's), and storing it would cost every
delivery. So the latest ones are kept in memory, for whoever looks at a message soon after.
"""

from collections import OrderedDict

from emulator.wire.headers import Headers

_KEPT = 2_000


class RecentRequests:
    """The header lines of the latest attempts, by message seq and how many retries came before."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._headers: OrderedDict[tuple[int, int], Headers] = OrderedDict()

    def keep(self, seq: int, retried: int, headers: Headers) -> None:
        """Remember one attempt; the oldest gives way."""
        self._headers[seq, retried] = headers
        if len(self._headers) > self._kept:
            self._headers.popitem(last=False)

    def find(self, seq: int, retried: int) -> Headers | None:
        """The header lines of an attempt, if it is remembered."""
        return self._headers.get((seq, retried))
