"""A cache of header lines and their meaning: a publisher sends the same lines with every message."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from emulator.runtime import Runtime
from emulator.wire.options import PublishOptions

RawLines = Iterable[tuple[bytes, bytes]]
_Key = tuple[tuple[bytes, bytes], ...]


class Known(NamedTuple):
    """The meaning of a publish's header lines without the body's length: its tenant and its options."""

    runtime: Runtime
    options: PublishOptions


class OptionCache:
    """``Known`` values by the raw header lines that they were read from; the least recently used are dropped.

    Bounded in bytes, because lines may be long, and may hold forwarded secrets.
    """

    def __init__(self, *, most_bytes: int = 262_144, most_bytes_each: int = 4_096) -> None:
        self._most_bytes = most_bytes
        self._most_bytes_each = most_bytes_each
        self._bytes = 0
        self._entries: OrderedDict[_Key, tuple[Known, int]] = OrderedDict()

    def find(self, lines: RawLines) -> Known | None:
        """Return the meaning of ``lines``, or ``None`` if it is not cached."""
        key = _key(lines)
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def keep(self, lines: RawLines, known: Known) -> None:
        """Cache the meaning of ``lines``, and drop others above the bound."""
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
        """Return the number of bytes of cached header lines."""
        return self._bytes

    def _drop(self, key: _Key) -> None:
        entry = self._entries.pop(key, None)
        self._bytes -= entry[1] if entry else 0


def _key(lines: RawLines) -> _Key:
    """Return the lines without the body's length, which does not concern options."""
    return tuple([(name, value) for name, value in lines if name != b"content-length"])
