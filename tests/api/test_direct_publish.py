"""The short way of a usual publish and the way of all others: the same answer, and the same kept of it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulator.http.app import create_app
from emulator.server import Emulator
from emulator.settings import Settings
from emulator.store.snapshots import export_rows
from emulator.tenants import PUBLISHED_USERS

_USER = PUBLISHED_USERS[0]
_OTHER = PUBLISHED_USERS[1]
_URL = b"/v2/publish/https://example.com/hook"
_DISCONNECT: Message = {"type": "http.disconnect"}

RawLines = tuple[tuple[bytes, bytes], ...]


def _pieces(*bodies: bytes) -> tuple[Message, ...]:
    last = len(bodies) - 1
    return tuple(
        {"type": "http.request", "body": body, "more_body": number < last}
        for number, body in enumerate(bodies)
    )


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request; ``lines`` come behind those of every program, and ``length`` is what its head says of its body."""

    path: bytes = _URL
    method: str = "POST"
    query: bytes = b""
    token: bytes = b"Bearer " + _USER.token.encode()
    host: bytes = b"127.0.0.1:8080"
    lines: RawLines = ()
    body: Sequence[Message] = _pieces(b"the body")
    length: bytes | None = b"8"
    client: tuple[str, int] | None = ("127.0.0.1", 5)
    root_path: str = ""

    def scope(self) -> Scope:
        lengths = () if self.length is None else ((b"content-length", self.length),)
        lines = ((b"host", self.host), (b"authorization", self.token), *lengths, *self.lines)
        return {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": self.method, "scheme": "http",
            "path": self.path.decode("latin-1"), "raw_path": self.path, "query_string": self.query,
            "root_path": self.root_path, "headers": list(lines), "client": self.client, "server": ("127.0.0.1", 8080),
        }  # fmt: skip


def _with(*lines: tuple[bytes, bytes]) -> Call:
    return Call(lines=lines)


def _json(path: bytes, body: bytes) -> Call:
    return Call(path=path, body=_pieces(body), length=str(len(body)).encode())


_LONG = b"x" * 2_000_000

# Those that come a second time by the short way.
USUAL: dict[str, Call] = {
    "nothing said": Call(),
    "without a body": Call(body=_pieces(b""), length=b"0"),
    "a body in pieces": Call(body=_pieces(b"the ", b"bo", b"dy")),
    "a body of any bytes": Call(body=_pieces(bytes(range(256))), length=b"256"),
    "a length with zeros before it": Call(length=b"0008"),
    "a body shorter than it said": Call(length=b"9"),
    "a body longer than it said": Call(length=b"3"),
    "gone before its end": Call(body=({**_pieces(b"the ")[0], "more_body": True}, _DISCONNECT)),
    "gone at once": Call(body=(_DISCONNECT,)),
    "over the limit, announced": Call(length=b"2000000"),
    "over the limit, not announced": Call(body=_pieces(_LONG)),
    "a delay": _with((b"upstash-delay", b"90s")),
    "not before": _with((b"upstash-not-before", b"1900000000")),
    "not before, too far away": _with((b"upstash-not-before", b"99000000000")),
    "retries": _with((b"upstash-retries", b"2"), (b"upstash-retry-delay", b"1000 * retried")),
    "method and timeout": _with((b"upstash-method", b"PUT"), (b"upstash-timeout", b"5s")),
    "callbacks": _with(
        (b"upstash-callback", b"https://example.com/cb"), (b"upstash-failure-callback", b"https://example.com/f")
    ),
    "forwarded lines": _with((b"upstash-forward-x-secret", b"s3"), (b"content-type", b"text/plain")),
    "a line twice": _with((b"upstash-forward-x-a", b"1"), (b"upstash-forward-x-a", b"2")),
    "bytes that are no UTF-8": _with((b"upstash-forward-x-b", b"caf\xe9 \xf7\x80"), (b"x-empty", b"")),
    "a deduplication id": _with((b"upstash-deduplication-id", b"once")),
    "deduplicated by content": _with((b"upstash-content-based-deduplication", b"true")),
    "labels": _with((b"upstash-label", b"a, b")),
    "flow control": _with(
        (b"upstash-flow-control-key", b"k"), (b"upstash-flow-control-value", b"rate=3,period=1m")
    ),
    "redacted": _with((b"upstash-redact-fields", b"body,header")),
    "a queue by its line": _with((b"upstash-queue-name", b"mails")),
    "lines of the connection": _with((b"connection", b"close, x-mine"), (b"x-mine", b"1")),
    "a site that says where from": _with((b"sec-fetch-site", b"same-origin")),
    "a queue": Call(path=b"/v2/enqueue/mails/https://example.com/hook"),
    "a queue, percent-encoded": Call(path=b"/v2/enqueue/ma%69ls/https://example.com/hook"),
    "segments in capitals": Call(path=b"/V2/Publish/HTTPS://Example.com/Hook"),
    "a destination percent-encoded in parts": Call(path=b"/v2/publish/https://example.com/a//b%2Fc/%C3%A9"),
    "a destination with a user": Call(path=b"/v2/publish/https://me:pw@example.com"),
    "a destination with a query, encoded": Call(path=b"/v2/publish/https://example.com/%3Fa=1"),
    "the model": Call(
        path=b"/v2/publish/api/llm",
        lines=((b"upstash-callback", b"https://example.com/cb"), (b"upstash-delay", b"1h")),
    ),
    "the model without a callback": Call(path=b"/v2/publish/api/llm"),
    "another tenant": Call(token=b"Bearer " + _OTHER.token.encode()),
    "bearer in small letters": Call(token=b"bearer   " + _USER.token.encode()),
    "from an address of IPv6": Call(client=("::ffff:10.0.0.7", 1)),
    "from nobody knows where": Call(client=None),
}  # fmt: skip

# Those that never do.
UNUSUAL: dict[str, Call] = {
    "no length": Call(length=None),
    "chunks": Call(length=None, lines=((b"transfer-encoding", b"chunked"),)),
    "two lengths": _with((b"content-length", b"8")),
    "a length that is none": Call(length=b"+8"),
    "a length beyond all": Call(length=b"1" * 13),
    "another method": Call(method="PUT"),
    "HEAD": Call(method="HEAD"),
    "a preflight": Call(method="OPTIONS", lines=((b"origin", b"https://console.upstash.com"),)),
    "options in the query": Call(query=b"upstash-delay=1h"),
    "a query of the destination": Call(query=b"a=1&b=%20"),
    "a token in the query": Call(token=b"Basic eA==", query=b"qstash_token=" + _USER.token.encode()),
    "a token nobody has": Call(token=b"Bearer nobody"),
    "a token that may only read": Call(token=b"Bearer " + _USER.read_only_token.encode()),
    "no token": Call(token=b"Basic eA=="),
    "the console's page": _with((b"origin", b"https://console.upstash.com")),
    "a page of this machine": _with((b"origin", b"http://localhost:3000")),
    "a page of another site": _with((b"origin", b"https://evil.example")),
    "a form of another site": _with((b"sec-fetch-site", b"cross-site")),
    "a host that a stranger may have": Call(host=b"evil.example"),
    "no host": Call(host=b"???"),
    "a group": Call(path=b"/v2/publish/team"),
    "a group nobody made": Call(path=b"/v2/publish/nobody"),
    "no destination": Call(path=b"/v2/publish/"),
    "no scheme": Call(path=b"/v2/publish/example.com/x"),
    "a scheme of another kind": Call(path=b"/v2/publish/ftp://example.com"),
    "no host in the destination": Call(path=b"/v2/publish/https://"),
    "a blank in the destination": Call(path=b"/v2/publish/https://example.com/a b"),
    "a line break in the destination": Call(path=b"/v2/publish/https://example.com/a\nb"),
    "a long destination": Call(path=_URL + b"/" + b"x" * 3_000),
    "slashes before": Call(path=b"/" + _URL),
    "under a mount": Call(root_path="/mounted"),
    "a queue that cannot be": Call(path=b"/v2/enqueue/a%20b/https://example.com/hook"),
    "no queue": Call(path=b"/v2/enqueue//https://example.com/hook"),
    "a schedule": _with((b"upstash-cron", b"0 0 * * *"), (b"upstash-schedule-id", b"daily")),
    "an option twice": _with((b"upstash-delay", b"1h"), (b"upstash-delay", b"2h")),
    "an option nobody knows": _with((b"upstash-wish", b"x")),
    "an option that means nothing here": _with((b"upstash-schedule-id", b"daily")),
    "an option that cannot be read": _with((b"upstash-retries", b"many")),
    "lines too long to remember": _with((b"upstash-forward-x-long", b"y" * 5_000)),
    "a batch": _json(b"/v2/batch", b'[{"destination": "https://example.com/a"}, {"destination": "-"}]'),
    "another path": Call(path=b"/v2/messages/nobody", method="GET"),
}  # fmt: skip

CALLS = USUAL | UNUSUAL


class _Counting:
    """Passes on, and counts."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.count += 1
        await self.app(scope, receive, send)


class _World:
    """An emulator of its own; ``count`` says how many calls went the way of all."""

    def __init__(self, emulator: Emulator, *, is_direct: bool) -> None:
        self.emulator = emulator
        outermost: Any = create_app(emulator)
        self._counting = outermost._app = _Counting(outermost._app)
        self._app: ASGIApp = outermost if is_direct else self._counting

    @property
    def count(self) -> int:
        return self._counting.count

    async def call(self, call: Call) -> list[Message]:
        """Return everything that is sent, until the call is over."""
        sent: list[Message] = []
        events = iter(call.body)

        async def receive() -> Message:
            return next(events, _DISCONNECT)

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(call.scope(), receive, send)
        return sent

    async def kept(self) -> list[Any]:
        """Everything that is stored, of all tenants."""
        return [
            await runtime.read(partial(export_rows, tenant_id=runtime.tenant.id))
            for runtime in self.emulator.runtimes
        ]


@asynccontextmanager
async def _world(*, is_direct: bool, **settings: Any) -> AsyncIterator[_World]:
    """A world of the same ids and the same time as every other."""
    chosen = Settings(db="memory", clock="manual", now=1_800_000_000_000, seed=3, quota="free", **settings)
    emulator = Emulator(chosen, transport=_Nobody())
    await emulator.start()
    world = _World(emulator, is_direct=is_direct)
    try:
        yield world
    finally:
        await emulator.close(grace_seconds=0)


class _Nobody:
    """Every destination answers nothing, in no time."""

    async def send(self, _request: Any) -> Any:
        raise OSError("nobody is there")

    async def close(self) -> None:
        """Nothing to let go of."""


async def _asked(world: _World, *calls: Call) -> tuple[list[list[Message]], list[Any]]:
    await world.call(
        _json(b"/v2/topics/team/endpoints", b'{"endpoints": [{"url": "https://example.com/1"}]}')
    )
    answers = [await world.call(call) for call in calls]
    for runtime in world.emulator.runtimes:
        await runtime.settle()
    return answers, await world.kept()


@pytest.mark.parametrize("name", CALLS)
async def test_both_ways_answer_alike_byte_for_byte_and_keep_the_same(name: str) -> None:
    call = CALLS[name]
    # What comes first teaches the short way the lines, whatever becomes of the call itself.
    teacher = replace(call, path=_URL, length=b"8", body=_pieces(b"the body")) if name in USUAL else call
    async with _world(is_direct=True) as short, _world(is_direct=False) as long:
        short_answers, short_kept = await _asked(short, teacher, call, call)
        long_answers, long_kept = await _asked(long, teacher, call, call)
    assert short_answers == long_answers
    assert short_kept == long_kept
    # The group's making, the first call, and the others unless they are usual.
    assert (short.count, long.count) == (2 if name in USUAL else 4, 4)


async def test_a_call_that_the_store_refuses_is_answered_alike() -> None:
    answers = []
    for is_direct in (True, False):
        async with _world(is_direct=is_direct) as world:
            await world.call(Call())
            await world.emulator.runtimes[0].close()
            answers.append(await world.call(Call()))
            assert world.count == (1 if is_direct else 2)
    assert answers[0] == answers[1]
    assert answers[0][0]["status"] == 503


async def test_a_fault_of_the_publish_api_strikes_those_that_came_before_too() -> None:
    async with _world(is_direct=True) as world:
        await world.call(Call())
        world.emulator.runtimes[0].faults.add("publish-answer", count=1)
        statuses = [(await world.call(Call()))[0]["status"] for _ in range(2)]
        assert statuses == [429, 201]


async def test_a_fault_of_ours_is_told_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = []
    for is_direct in (True, False):
        async with _world(is_direct=is_direct) as world:
            await world.call(Call())
            with monkeypatch.context() as patched:
                patched.setattr(world.emulator.runtimes[0].clock, "now_at", lambda: 1 // 0)
                answers.append(await world.call(Call()))
            assert world.count == (1 if is_direct else 2)
    assert answers[0] == answers[1]
    assert answers[0][0]["status"] == 500


async def test_room_is_given_back_whatever_becomes_of_a_call() -> None:
    async with _world(is_direct=True) as world:
        await world.call(Call())
        for call in USUAL.values():
            await world.call(call)
            assert world.emulator.intake._taken == 0
