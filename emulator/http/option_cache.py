"""Publishers that came before: one sends the same header lines with every message."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from emulator.runtime import Runtime
from emulator.wire.options import PublishOptions

RawLines = Iterable[tuple[bytes, bytes]]
_Key = tuple[tuple[bytes, bytes], ...]


class Known(NamedTuple):
    """What a publish's header lines say, but for the length of its body: whose it is, and what it asks for."""

    runtime: Runtime
    options: PublishOptions


class OptionCache:
    """What is ``Known`` by the raw header lines that it was read from; the least used go first.

    Bounded in bytes, for lines may be long, and may hold secrets that are to be forwarded.
    """

    def __init__(self, *, most_bytes: int = 262_144, most_bytes_each: int = 4_096) -> None:
        self._most_bytes = most_bytes
        self._most_bytes_each = most_bytes_each
        self._bytes = 0
        self._entries: OrderedDict[_Key, tuple[Known, int]] = OrderedDict()

    def find(self, lines: RawLines) -> Known | None:
        """Return what ``lines`` say; ``None`` if that is not known."""
        key = _key(lines)
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def keep(self, lines: RawLines, known: Known) -> None:
        """Remember what ``lines`` say, and forget others if there are too many."""
        key = _key(lines)
        size = sum(len(name) + len(value) for name, value in key)
        if size > self._most_bytes_each:
            return
        self._drop(key)
        self._entries[key] = (known, size)
        self._bytes += size
        while self._bytes > self._most_bytes:
            self._drop(next(iter(self._entries)))

    @property
    def size(self) -> int:
        """How many bytes of header lines are held."""
        return self._bytes

    def _drop(self, key: _Key) -> None:
        entry = self._entries.pop(key, None)
        self._bytes -= entry[1] if entry else 0


def _key(lines: RawLines) -> _Key:
    """The lines but for the length of the body, which says nothing about options."""
    return tuple([(name, value) for name, value in lines if name != b"content-length"])
