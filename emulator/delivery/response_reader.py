"""Parses one HTTP/1.1 response as a real client does: lenient where that is safe, without I/O.

A complete head counts, whatever follows it: of a body that is cut off, badly framed or badly encoded, the part that
arrived is kept, and ``problem`` says so. (RFC 9112 says what a client may accept; where it leaves a choice, this
reader accepts what Go's net/http and browsers accept.)
"""

import re
import zlib
from enum import Enum, auto
from functools import lru_cache

MOST_HEAD_BYTES = 1_048_576

RawLines = list[tuple[bytes, bytes]]

_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/(\d)\.(\d) +(\d{3})(?: [^\r\n]*)?")
_LINE_END = re.compile(rb"\r?\n")
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;.*)?")
_MOST_CHUNK_LINE_BYTES = 65_536
_WITHOUT_BODY = frozenset({204, 205, 304})


class BadHead(Exception):
    """The bytes are not an HTTP response; the text describes them."""


class _Framing(Enum):
    LENGTH = auto()
    CHUNKED = auto()
    UNTIL_CLOSE = auto()


class ResponseReader:
    """Reads one response. Feed it until ``is_complete``; then ``can_be_kept`` says whether the connection can
    be reused.
    """

    def __init__(self, *, is_head_request: bool, most_body_bytes: int) -> None:
        self.status: int = 0
        self.lines: RawLines = []
        self.is_complete: bool = False
        self.can_be_kept: bool = False
        self.problem: str | None = None
        """A text that says what was wrong or cut off behind the head."""
        self._is_head_request = is_head_request
        self._most = most_body_bytes
        self._buffer = bytearray()
        self._body = bytearray()
        self._framing = _Framing.UNTIL_CLOSE
        self._left = 0
        self._is_in_trailers = False
        self._scanned = 0

    @property
    def has_head(self) -> bool:
        """Return whether the status is known."""
        return self.status != 0

    @property
    def has_begun(self) -> bool:
        """Return whether any bytes came."""
        return self.has_head or bool(self._buffer)

    def feed(self, data: bytes) -> None:
        """Read the next bytes. Raises BadHead."""
        self._buffer += data
        while not self.has_head:
            if not self._read_head():
                return
        if not self.is_complete:
            self._read_body()

    def end(self) -> None:
        """Record that the connection has ended. Raises BadHead if the head is incomplete."""
        if not self.has_head:
            raise BadHead(
                "closed the connection in the middle of the response's head"
                if self._buffer
                else "closed the connection without a response"
            )
        if self.is_complete:
            return
        if self._framing is _Framing.LENGTH:
            self._fail(f"the body ended {self._left} bytes before its Content-Length")
        elif self._framing is _Framing.CHUNKED:
            self._fail("the body ended before its last chunk")
        else:
            self._finish()

    def give_up(self, words: str) -> None:
        """Accept the response without its remaining bytes; ``words`` say why."""
        self._fail(words)

    def body(self) -> bytes:
        """Return the part of the body that arrived, gzip decoded. Other encodings are kept and noted in ``problem``."""
        raw = bytes(self._body)
        encodings = [
            token.strip().lower()
            for name, value in self.lines
            if name == b"content-encoding"
            for token in value.split(b",")
        ]
        wanted = [one for one in encodings if one not in (b"", b"identity")]
        if not wanted or not raw:
            return raw
        if wanted not in ([b"gzip"], [b"x-gzip"]):
            self.problem = self.problem or (
                f"the body is kept undecoded, in Content-Encoding {b', '.join(wanted).decode('latin-1')}: only gzip "
                "was accepted"
            )
            return raw
        return self._gunzipped(raw)

    def _gunzipped(self, raw: bytes) -> bytes:
        parts: list[bytes] = []
        size = 0
        while raw and size <= self._most:
            unpacker = zlib.decompressobj(wbits=31)
            try:
                parts.append(unpacker.decompress(raw, self._most + 1 - size))
            except zlib.error as error:
                if not parts:
                    self.problem = self.problem or f"the body is kept undecoded: it is not gzip ({error})"
                    return raw
                break
            size += len(parts[-1])
            if not unpacker.eof:
                if size <= self._most:
                    self.problem = self.problem or "the gzip body is incomplete"
                break
            raw = unpacker.unused_data
        if size > self._most:
            self.problem = f"the body was cut at {self._most} bytes"
        return b"".join(parts)[: self._most]

    # The head

    def _read_head(self) -> bool:
        """Read a head, if it is complete. Interim responses (1xx but 101) are skipped."""
        found = _END_OF_HEAD.search(self._buffer, max(0, self._scanned - 3))
        if found is None:
            self._scanned = len(self._buffer)
            if self._scanned > MOST_HEAD_BYTES:
                raise BadHead(f"sent a response head of more than {MOST_HEAD_BYTES} bytes")
            if self._scanned >= 5 and not self._buffer.startswith(b"HTTP/"):
                raise BadHead(f"does not speak HTTP/1: it sent {bytes(self._buffer[:20])!r}")
            return False
        head = bytes(self._buffer[: found.start()])
        del self._buffer[: found.end()]
        self._scanned = 0
        read = _known_head(head) if len(head) <= _MOST_KNOWN_BYTES else _Head(head)
        if 100 <= read.status < 200 and read.status != 101:
            return True
        self.lines = read.lines
        self.status = read.status
        self._choose_framing(read)
        return True

    def _choose_framing(self, head: "_Head") -> None:
        """Choose the framing of the body (RFC 9112, 6.3)."""
        self.can_be_kept, codings, lengths = head.can_be_kept, head.codings, head.lengths
        if self._is_head_request or self.status in _WITHOUT_BODY or self.status == 101:
            self._finish()
            # A body that must not be there would be read as the next response's head.
            if self.status == 101 or codings or lengths - {b"0"}:
                self.can_be_kept = False
        elif codings:
            is_chunked = codings[-1] == b"chunked"
            self._framing = _Framing.CHUNKED if is_chunked else _Framing.UNTIL_CLOSE
            # With a length and chunks, the chunks count, and the connection is not reused.
            self.can_be_kept = self.can_be_kept and is_chunked and not lengths
        elif len(lengths) == 1 and (length := next(iter(lengths))).isdigit() and len(length) <= 18:
            self._framing, self._left = _Framing.LENGTH, int(length)
        else:
            self.can_be_kept = False
            if lengths:
                shown = b", ".join(sorted(lengths)).decode("latin-1")
                self.problem = (
                    f"the Content-Length {shown} is invalid: the body was read to the connection's end"
                )

    # The body

    def _read_body(self) -> None:
        if self._framing is _Framing.UNTIL_CLOSE:
            self._take(len(self._buffer))
        elif self._framing is _Framing.LENGTH:
            self._left -= self._take(min(self._left, len(self._buffer)))
            if not self._left and not self.is_complete:
                self._finish()
        else:
            while not self.is_complete and self._read_chunk():
                pass
        if self.is_complete and self._buffer:
            # Bytes after the response.
            self.can_be_kept = False

    def _take(self, count: int) -> int:
        self._body += self._buffer[:count]
        del self._buffer[:count]
        if len(self._body) > self._most:
            del self._body[self._most :]
            self._fail(f"the body was cut at {self._most} bytes")
        return count

    def _read_chunk(self) -> bool:
        """Read the available part of a chunk. Return whether more can be read at once."""
        if self._left > 0:
            self._left -= self._take(min(self._left, len(self._buffer)))
            if self._left == 0:
                self._left = -1
            return bool(self._buffer)
        found = _LINE_END.search(self._buffer)
        if found is None:
            if len(self._buffer) > _MOST_CHUNK_LINE_BYTES:
                self._fail("the body's chunks are badly framed")
            return False
        line = bytes(self._buffer[: found.start()])
        del self._buffer[: found.end()]
        if self._is_in_trailers:
            if not line:
                self._finish()
        elif self._left == -1:
            self._left = 0
            if line:
                self._fail("the body's chunks are badly framed")
        elif (size := _CHUNK_SIZE.fullmatch(line)) is None:
            self._fail("the body's chunks are badly framed")
        else:
            self._left = int(size[1], 16)
            self._is_in_trailers = self._left == 0
        return True

    def _finish(self) -> None:
        self.is_complete = True

    def _fail(self, problem: str) -> None:
        self.problem = problem
        self.can_be_kept = False
        self.is_complete = True


class _Head:
    """A response's head, immutable. Raises BadHead for an invalid one."""

    __slots__ = ("can_be_kept", "codings", "lengths", "lines", "status")

    def __init__(self, head: bytes) -> None:
        first, *rest = _LINE_END.split(head)
        status_line = _STATUS_LINE.fullmatch(first)
        if status_line is None:
            raise BadHead(f"does not speak HTTP/1: its response begins with {first[:40]!r}")
        self.status = int(status_line[3])
        if self.status < 100:
            raise BadHead(f"answered with the status {self.status}, which does not exist")
        self.lines: RawLines = _header_lines(rest)
        connection = _tokens(self.lines, b"connection")
        is_1_1 = (status_line[1], status_line[2]) >= (b"1", b"1")
        self.can_be_kept = b"close" not in connection and (is_1_1 or b"keep-alive" in connection)
        self.codings = _tokens(self.lines, b"transfer-encoding")
        self.lengths = frozenset(_tokens(self.lines, b"content-length"))


# Cached: a destination's heads are equal within one second, until their date changes.
_known_head = lru_cache(maxsize=256)(_Head)
_MOST_KNOWN_BYTES = 1_024


def _header_lines(lines: list[bytes]) -> RawLines:
    """Return header lines with names in lower case; ``shown`` has the original names. Folded lines are joined
    (5.2).
    """
    read: RawLines = []
    for line in lines:
        if line[:1] in (b" ", b"\t") and read:
            name, value = read[-1]
            read[-1] = name, value + b" " + line.strip(b" \t")
            continue
        name, colon, value = line.partition(b":")
        if colon and name.strip():
            read.append((name.strip().lower(), value.strip(b" \t\r\n")))
    return read


def _tokens(lines: RawLines, wanted: bytes) -> list[bytes]:
    return [
        token.strip().lower()
        for name, value in lines
        if name == wanted
        for token in value.split(b",")
        if token.strip()
    ]
