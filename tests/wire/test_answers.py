"""Bytes as destinations really answer them, and what is made of them: one table, over real sockets."""

import asyncio
import gzip
import json
import os
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.broker.message import AttemptResult
from emulator.delivery.request import OutboundRequest
from emulator.delivery.response_reader import BadHead, ResponseReader
from emulator.delivery.sockets import SocketTransport
from tests.bounds import HANG_SECONDS
from tests.wire.raw import chunked

_MOST = 1_000
_ZIPPED = gzip.compress(b"hello")
_OK = b"HTTP/1.1 200 OK\r\n"

# Each: the bytes of an answer, after which the connection is closed; status, body, and a word of the note (or none).
SUCCESSES: dict[str, tuple[bytes, int, bytes, str | None]] = {
    "plain": (_OK + b"Content-Length: 5\r\n\r\nhello", 200, b"hello", None),
    "until the end": (_OK + b"\r\nhello", 200, b"hello", None),
    "chunks": (_OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"hello", 2), 200, b"hello", None),
    "chunks with extensions and trailers": (
        _OK + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n", 200, b"hello", None
    ),
    "gzip": (_OK + b"Content-Encoding: gzip\r\n\r\n" + _ZIPPED, 200, b"hello", None),
    "x-gzip in chunks": (
        _OK + b"Content-Encoding: x-gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(_ZIPPED), 200, b"hello", None
    ),
    "two gzip members": (_OK + b"Content-Encoding: gzip\r\n\r\n" + 2 * _ZIPPED, 200, b"hellohello", None),
    "gzip that is none": (_OK + b"Content-Encoding: gzip\r\n\r\nhello", 200, b"hello", "is not gzip"),
    "gzip that is cut": (_OK + b"Content-Encoding: gzip\r\n\r\n" + _ZIPPED[:-4], 200, b"hello", "is incomplete"),
    "gzip bomb": (
        _OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(10_000_000))[:900],
        200,
        bytes(_MOST),
        "cut at 1000",
    ),
    "br, which nobody asked for": (_OK + b"Content-Encoding: br\r\n\r\n\x8b\x02", 200, b"\x8b\x02", "Encoding br"),
    "deflate": (_OK + b"Content-Encoding: deflate\r\n\r\nx", 200, b"x", "Encoding deflate"),
    "zstd": (_OK + b"Content-Encoding: zstd\r\n\r\nx", 200, b"x", "Encoding zstd"),
    "two encodings": (_OK + b"Content-Encoding: gzip, br\r\n\r\nx", 200, b"x", "Encoding gzip, br"),
    "identity": (_OK + b"Content-Encoding: identity\r\n\r\nx", 200, b"x", None),
    "204 with chunks": (
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 204, b"", None
    ),
    "204 with a length": (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", 204, b"", None),
    "close, and bytes after the body": (
        _OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello, there", 200, b"hello", None
    ),
    "bytes after the body of a kept connection": (_OK + b"Content-Length: 2\r\n\r\nok\r\n\r\n", 200, b"ok", None),
    "200 header lines": (
        _OK + b"".join(b"X-%d: y\r\n" % number for number in range(200)) + b"Content-Length: 0\r\n\r\n", 200, b"", None
    ),
    "a long header line": (_OK + b"X: %s\r\nContent-Length: 0\r\n\r\n" % (b"x" * 500_000), 200, b"", None),
    "two equal lengths": (_OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", None),
    "two equal lengths in one line": (_OK + b"Content-Length: 5, 5\r\n\r\nhello", 200, b"hello", None),
    "two lengths that differ": (
        _OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 200, b"hello", "is invalid"
    ),
    "a length that is no number": (_OK + b"Content-Length: many\r\n\r\nhello", 200, b"hello", "is invalid"),
    "a negative length": (_OK + b"Content-Length: -5\r\n\r\nhello", 200, b"hello", "is invalid"),
    "a length and chunks": (
        _OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200, b"hello", None
    ),
    "less than its length": (_OK + b"Content-Length: 100\r\n\r\nhello", 200, b"hello", "95 bytes before"),
    "no last chunk": (_OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 200, b"hello", "last chunk"),
    "chunks that are none": (_OK + b"Transfer-Encoding: chunked\r\n\r\nhello\r\n", 200, b"", "badly framed"),
    "a chunk that is longer than it says": (
        _OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n", 200, b"he", "badly framed"
    ),
    "a body over the limit": (_OK + b"\r\n" + b"x" * 5_000, 200, b"x" * _MOST, "cut at 1000"),
    "line ends of a line feed": (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", 200, b"hello", None),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, b"", None),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nhello", 200, b"hello", None),
    "a folded line": (_OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n", 200, b"", None),
    "a line without a colon": (_OK + b"nonsense\r\nContent-Length: 0\r\n\r\n", 200, b"", None),
    "a value of any bytes": (_OK + b"X: \xff\x00\xfe\r\nContent-Length: 0\r\n\r\n", 200, b"", None),
    "interim answers": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        + _OK
        + b"Content-Length: 2\r\n\r\nok",
        200,
        b"ok",
        None,
    ),
    "206": (b"HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\n\r\nok", 206, b"ok", None),
    "299": (b"HTTP/1.1 299 Whatever\r\nContent-Length: 2\r\n\r\nok", 299, b"ok", None),
}  # fmt: skip

# Each: the bytes of an answer, its status (0 for none) and a word of what is said.
FAILURES: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 0, "closed the connection without a response"),
    "half a head": (_OK + b"Content-Le", 0, "in the middle of the response's head"),
    "half a status line": (b"HTTP/1.1 20", 0, "in the middle of the response's head"),
    "another protocol": (b"220 mail.example.com ESMTP\r\n", 0, "does not speak HTTP/1"),
    "TLS": (b"\x15\x03\x01\x00\x02\x02\x46", 0, "does not speak HTTP/1"),
    "HTTP/2": (b"HTTP/2 200 OK\r\n\r\n", 0, "does not speak HTTP/1"),
    "a status that is none": (b"HTTP/1.1 099 Odd\r\n\r\n", 0, "which does not exist"),
    "a status of two digits": (b"HTTP/1.1 20 OK\r\n\r\n", 0, "does not speak HTTP/1"),
    "an endless head": (_OK + b"X: " + b"x" * 1_100_000, 0, "head of more than"),
    "an interim answer alone": (b"HTTP/1.1 100 Continue\r\n\r\n", 0, "without a response"),
    "switching protocols": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n\x00", 101, ""),
    "a redirect": (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", 302, ""),
    "500 whose body is cut": (b"HTTP/1.1 500 Oops\r\nContent-Length: 9\r\n\r\nhalf", 500, ""),
    "999": (b"HTTP/1.1 999 Denied\r\nContent-Length: 0\r\n\r\n", 999, ""),
}  # fmt: skip

Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def destination(answering: Answering) -> AsyncIterator[str]:
    """A destination that does with a connection what it likes; its URL."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answering(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    finally:
        server.close()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """A request's head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        ),
        0,
    )
    return head + await reader.readexactly(length)


def request(url: str, **changed: object) -> OutboundRequest:
    given: dict[str, object] = {
        "method": "POST", "url": url, "headers": (), "body": b"{}", "timeout_ms": HANG_SECONDS * 1_000,
    }  # fmt: skip
    return OutboundRequest(**(given | changed))  # type: ignore[arg-type]


async def outcome(answer: bytes, **changed: object) -> AttemptResult:
    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)
        await writer.drain()

    transport = SocketTransport(max_response_bytes=_MOST)
    async with destination(answering) as url:
        try:
            return await transport.send(request(url, **changed))
        finally:
            await transport.close()


@pytest.mark.parametrize("name", SUCCESSES)
async def test_a_complete_head_of_2xx_is_a_success_whatever_follows(name: str) -> None:
    answer, status, body, note = SUCCESSES[name]
    result = await outcome(answer)
    assert (result.status, result.body, result.error, result.is_success) == (status, body, None, True)
    assert (result.note is None) == (note is None)
    assert note is None or note in (result.note or "")
    assert "\0" not in "".join(value for _, value in result.headers)


@pytest.mark.parametrize("name", FAILURES)
async def test_anything_else_is_a_failure_in_words_that_say_what_happened(name: str) -> None:
    answer, status, words = FAILURES[name]
    result = await outcome(answer)
    assert (result.status, result.is_success) == (status, False)
    assert words in (result.error or "")


async def test_a_body_that_does_not_end_in_time_does_not_undo_the_head() -> None:
    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(_OK + b"Content-Length: 10\r\n\r\nhello")
        await reader.read()

    transport = SocketTransport(max_response_bytes=_MOST)
    async with destination(answering) as url:
        result = await transport.send(request(url, timeout_ms=200))
    assert (result.status, result.body, result.is_success) == (200, b"hello", True)
    assert "did not arrive in time" in (result.note or "")


USERINFO = {
    "of the URL": ("bob:p%40w@", (), b"Basic Ym9iOnBAdw=="),
    "without a password": ("bob@", (), b"Basic Ym9iOg=="),
    "beside a line of the publisher's": ("bob:pw@", (("Authorization", "Bearer x"),), b"Bearer x"),
}


@pytest.mark.parametrize("is_redirected", [False, True], ids=["directly", "by connect-to"])
@pytest.mark.parametrize("name", USERINFO)
async def test_a_user_in_the_url_is_sent_unless_the_publisher_says_another(
    name: str, is_redirected: bool
) -> None:
    userinfo, headers, expected = USERINFO[name]
    seen: list[bytes] = []

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(_OK + b"Content-Length: 0\r\n\r\n")

    async with destination(answering) as url:
        origin = url.removesuffix("/hook")
        published = "http://shop.example.com" if is_redirected else origin
        transport = SocketTransport(max_response_bytes=_MOST, connect_to={published: origin})
        result = await transport.send(
            request(f"{published}/hook".replace("://", f"://{userinfo}"), headers=headers)
        )
        await transport.close()
    assert result.is_success
    lines = [line for line in seen[0].split(b"\r\n") if line.lower().startswith(b"authorization:")]
    assert lines == [b"Authorization: " + expected]
    assert f"Host: {published.partition('://')[2]}".encode() in seen[0]


TARGETS = {
    "nothing": ("", b"/"),
    "a query alone": ("?a=1", b"/?a=1"),
    "a fragment": ("/a?b=1#c", b"/a?b=1"),
    "dots and doubled slashes": ("/a//b/../c/./d", b"/a//b/../c/./d"),
    "percent signs": ("/%2F%2f%zz", b"/%2F%2f%zz"),
    "other characters": ("/grün ✓?ü=ß", b"/gr%C3%BCn%20%E2%9C%93?%C3%BC=%C3%9F"),
}


@pytest.mark.parametrize("name", TARGETS)
async def test_a_target_is_sent_as_it_was_published(name: str) -> None:
    behind, expected = TARGETS[name]
    seen: list[bytes] = []

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(_OK + b"Content-Length: 0\r\n\r\n")

    transport = SocketTransport(max_response_bytes=_MOST)
    async with destination(answering) as url:
        await transport.send(request(url.removesuffix("/hook") + behind))
        await transport.close()
    assert seen[0].split(b" ")[1] == expected


# Kept connections


async def test_a_kept_connection_that_the_peer_closed_is_not_used() -> None:
    """Each is closed right after its answer: of 300 messages none is tried on a connection that is gone."""
    closed = asyncio.Event()
    seen = 0

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        await read_request(reader)
        seen += 1
        writer.write(_OK + b"Content-Length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        closed.set()

    transport = SocketTransport(max_response_bytes=_MOST)
    async with destination(answering) as url:
        for _ in range(300):
            closed.clear()
            assert (await transport.send(request(url))).is_success
            await closed.wait()
    await transport.close()
    assert seen == 300


async def test_connections_are_kept_and_used_again() -> None:
    connections = 0

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while not reader.at_eof():
            await read_request(reader)
            writer.write(_OK + b"Content-Length: 2\r\n\r\nok")

    transport = SocketTransport(max_response_bytes=_MOST)
    async with destination(answering) as url:
        for _ in range(20):
            assert (await transport.send(request(url))).is_success
        assert connections == 1
        await transport.close()


async def test_what_was_written_and_then_cut_off_is_a_failed_attempt() -> None:
    """The receiver may have begun."""
    seen = 0

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        await read_request(reader)
        writer.write(_OK + b"Content-Length: 2\r\n\r\nok")
        await read_request(reader)
        seen += 1

    transport = SocketTransport(max_response_bytes=_MOST)
    async with destination(answering) as url:
        assert (await transport.send(request(url))).is_success
        result = await transport.send(request(url))
        await transport.close()
    assert seen == 1
    assert "closed the connection without a response" in (result.error or "")


async def test_a_large_body_is_sent_whole() -> None:
    sent = os.urandom(10_000_000)

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = await read_request(reader)
        writer.write(_OK + b"\r\n" + (b"same" if received.endswith(sent) else b"other"))

    transport = SocketTransport(max_response_bytes=_MOST)
    async with destination(answering) as url:
        assert (await transport.send(request(url, body=sent))).body == b"same"


async def test_running_out_of_descriptors_is_no_attempt() -> None:
    """The request goes out once there is room again."""

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(_OK + b"Content-Length: 0\r\n\r\n")

    transport = SocketTransport(max_response_bytes=_MOST)
    async with destination(answering) as url:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        taken: list[int] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
        try:
            while True:
                try:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
                except OSError:
                    break
            sending = asyncio.create_task(transport.send(request(url)))
            done, _ = await asyncio.wait([sending], timeout=0.3)
            assert not done
        finally:
            for descriptor in taken:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert (await sending).is_success
        await transport.close()


# The reader alone

_PIECES = st.lists(
    st.sampled_from(
        [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 204\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n",
         b"Content-Encoding: gzip\r\n", b"Connection: close\r\n", b"\r\n", b"\n", b"3\r\n", b"abc",
         b"0\r\n", b"\0", b" "]
    )
    | st.binary(max_size=8),
    max_size=12,
)  # fmt: skip


@settings(max_examples=400)
@given(pieces=_PIECES, cuts=st.lists(st.integers(0, 200), max_size=5))
def test_any_bytes_are_read_alike_however_they_are_cut(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)

    def read(parts: list[bytes]) -> tuple[object, ...]:
        reader = ResponseReader(is_head_request=False, most_body_bytes=20)
        try:
            for part in parts:
                reader.feed(part)
            reader.end()
        except BadHead:
            return ("no answer",)
        assert 100 < reader.status <= 999
        assert len(reader.body()) <= 20
        return reader.status, reader.lines, reader.body()

    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    assert read([data]) == read([data[first:last] for first, last in pairwise(bounds)])


@settings(max_examples=200)
@given(body=st.binary(max_size=60), size=st.integers(1, 9), status=st.integers(200, 599))
def test_what_a_server_frames_is_read_back(body: bytes, size: int, status: int) -> None:
    head = b"HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\n\r\n" % status
    reader = ResponseReader(is_head_request=False, most_body_bytes=100)
    reader.feed(head + chunked(body, size))
    assert reader.is_complete
    assert reader.status == status
    assert reader.body() == (b"" if status in (204, 205, 304) else body)


def test_answers_with_the_same_head_are_read_each_on_its_own() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Encoding: br\r\n\r\n"
    readers = [ResponseReader(is_head_request=is_head, most_body_bytes=9) for is_head in (False, True, False)]
    for reader, body in zip(readers, (b"one", b"", b"tw"), strict=True):
        reader.feed(head + body)
    readers[2].end()
    assert [(one.body(), one.is_complete, one.can_be_kept) for one in readers] == [
        (b"one", True, True),
        (b"", True, False),
        (b"tw", True, False),
    ]
    assert [one.problem is None for one in readers] == [False, True, False]
    assert readers[2].problem == "the body ended 1 bytes before its Content-Length"


def test_the_log_says_what_was_odd(tenant, inbox, eventually) -> None:
    inbox.receiver.always = (200, {"Content-Encoding": "br"}, b"\x8b\x02")
    lines = {"Authorization": f"Bearer {tenant['QSTASH_TOKEN']}"}
    with httpx.Client(base_url=tenant["QSTASH_URL"], headers=lines) as client:
        message_id = client.post(f"/v2/publish/{inbox.url}/hook").json()["messageId"]
        [event] = eventually(
            lambda: [
                one
                for one in client.get("/v2/logs", params={"messageId": message_id}).json()["events"]
                if one["state"] == "DELIVERED"
            ]
        )
    assert "Content-Encoding br" in json.dumps(event)
