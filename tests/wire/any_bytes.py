"""Bytes at random, on both sides of a whole server: requests as no client sends them, answers as no server gives them.

Everything is drawn from a ``random.Random``, so that a seed, or Hypothesis, decides it. What is expected is known
beside the product: h11, which is strict, says which answers are complete 2xx heads; every message ends; no status
of ours is a 5xx.
"""

import contextlib
import json
import re
import socket
import threading
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import h11
import httpx

from tests.bounds import HANG_SECONDS

_PATIENCE_SECONDS = 0.02
_LINE_ENDS = (b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n")
_ODD = (b"", b"\0", b"\xff", b"\xc3\xa9", b" ", b"\t", b"\r", b"\n", b"\r\n", b":", b"%", b"%00", b"%zz", b"0", b"-1",
        b"9" * 30, b"\x1b[2J", b"{", b"]", b'"', b"\\ud800", b"\x16\x03\x01", b"x" * 9_000)  # fmt: skip


def mutated(chance: Random, data: bytes, *, most: int = 4) -> bytes:
    """``data`` with a few bytes changed, cut out, doubled, or of another kind."""
    for _ in range(chance.randint(1, most)):
        at = chance.randint(0, len(data))
        end = min(len(data), at + chance.choice((0, 1, 1, 4, 40)))
        match chance.randrange(4):
            case 0:
                data = data[:at] + chance.choice(_ODD) + data[end:]
            case 1:
                data = data[:at] + bytes([chance.randrange(256)]) + data[end:]
            case 2:
                data = data[:at] + data[at:end] * 2 + data[end:]
            case _:
                data = data[:at] if chance.random() < 0.3 else data[:at] + data[end:]
    return data


# Requests

_TARGETS = (
    "/v2/publish/http://d.localhost/hook", "/v2/publish/g", "/v2/enqueue/q/http://d.localhost/", "/v2/batch",
    "/v2/messages", "/v2/messages/msg_x", "/v2/logs", "/v2/dlq", "/v2/queues", "/v2/queues/q/pause", "/v2/schedules",
    "/v2/schedules/http://d.localhost/?upstash-cron=*+*+*+*+*", "/v2/topics/g/endpoints", "/v2/flowControl/k/pin",
    "/v2/keys", "/v2/workflows/logs", "/v2/trigger/http://d.localhost/w", "/v2/nothing", "*", "d.localhost:80",
    "http://x/v2/keys", "//v2//keys", "/v2/publish/http://d.localhost/gr\xfcn?upstash-delay=1s#x",
)  # fmt: skip
_LINES = (
    b"Upstash-Delay: 1h", b"Upstash-Retries: 0", b"Upstash-Label: a,b", b"Upstash-Callback: http://d.localhost/c",
    b"Upstash-Forward-X: Jos\xe9", b"Upstash-Forward-Expect: 100-continue", b"Expect: 100-continue",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA", b"Connection: close",
    b"TE: trailers",
    b"Upstash-Flow-Control-Key: k\r\nUpstash-Flow-Control-Value: rate=1,parallelism=1", b"Upstash-Cron: * * * * *",
    b"Upstash-Deduplication-Id: x", b"Upstash-Method: GET", b"Upstash-Not-Before: 1795710760980", b" folded: line",
    b"Content-Type: application/json", b"Upstash-Redact-Fields: body", b"X: " + b"x" * 70_000,
)  # fmt: skip
_BODIES = (
    b"", b"{}", b"[]", b'{"queueName":"q","parallelism":1}', b'[{"destination":"http://d.localhost/","body":"x"}]',
    b'{"endpoints":[{"url":"http://d.localhost/g"}]}', b'{"messageIds":["msg_x"]}', b'[{"destination":null}]',
    b"\xff\x00" * 40, b'{"a":' * 400,
)  # fmt: skip


def request_bytes(chance: Random, token: str) -> tuple[bytes, bool]:
    """A request, and whether it is one: a server that is there answers it."""
    body = chance.choice(_BODIES)
    target = chance.choice(_TARGETS).encode("latin-1" if chance.random() < 0.5 else "utf-8")
    method = chance.choice(
        (b"GET", b"POST", b"POST", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"HEAD")
    )
    lines = [b"Host: localhost", b"Authorization: Bearer " + token.encode()]
    lines += chance.sample(_LINES[:-3] if chance.random() < 0.9 else _LINES, chance.randrange(4))
    framing = chance.randrange(3)
    if framing == 0:
        lines.append(b"Transfer-Encoding: chunked")
        size = chance.choice((1, 7, 1_000))
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))
    else:
        lines.append(b"Content-Length: %d" % len(body))
    chance.shuffle(lines)
    end = chance.choice(_LINE_ENDS) if chance.random() < 0.2 else b"\r\n"
    version = (
        b"HTTP/1.1" if chance.random() < 0.95 else chance.choice((b"HTTP/1.0", b"HTTP/2", b"http/1.1", b""))
    )
    made = end.join([b" ".join((method, target, version)), *lines, b"", b""]) + body
    is_mutated = chance.random() < 0.6
    made = mutated(chance, made) if is_mutated else made
    return made, not is_mutated and end == b"\r\n" and version == b"HTTP/1.1" and b"\r\n folded" not in made


def statuses(url: str, data: bytes, *, is_request: bool) -> list[int]:
    """The statuses of what is answered to ``data``, sent in pieces on a connection of its own."""
    address = httpx.URL(url)
    came = b""
    connection = socket.create_connection((address.host, address.port), timeout=HANG_SECONDS)
    with connection, contextlib.suppress(OSError):
        connection.sendall(data)
        if not is_request:
            connection.settimeout(_PATIENCE_SECONDS)
        while part := connection.recv(65_536):
            came += part
            connection.settimeout(_PATIENCE_SECONDS)
    return [int(found) for found in re.findall(rb"(?:^|\r\n\r\n|[}\]])HTTP/1\.1 (\d{3})", came)]


# Answers


@dataclass(frozen=True)
class Answer:
    """Pieces that a destination sends before it closes; ``is_reset``: it closes with a reset."""

    pieces: tuple[bytes, ...]
    is_reset: bool


_STATUSES = (200, 200, 200, 201, 204, 299, 302, 400, 404, 429, 489, 500, 503, 100, 101, 199, 304, 999, 0)


def answer_bytes(chance: Random) -> Answer:
    """An answer of any kind."""
    status = chance.choice(_STATUSES)
    body = chance.choice((b"", b"ok", b"x" * 5_000, b"\0\xff" * 30, b'{"a":1}'))
    lines = chance.sample(
        (b"Content-Type: text/plain", b"X: \xff\xfe", b"Set-Cookie: a=b", b"Retry-After: 0", b"Connection: close",
         b"Connection: keep-alive", b"X: " + b"y" * 20_000, b"Trailer: X", b"Upstash-NonRetryable-Error: true"),
        chance.randrange(4),
    )  # fmt: skip
    encoding = chance.choice((b"", b"", b"", b"gzip", b"br", b"gzip, gzip", b"x"))
    if encoding:
        lines.append(b"Content-Encoding: " + encoding)
        body = _gzip(body) if encoding == b"gzip" and chance.random() < 0.8 else body
    match chance.randrange(5):
        case 0:
            lines.append(b"Transfer-Encoding: chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        case 1:
            pass  # up to the end of the connection
        case 2:
            lines += [b"Content-Length: %d" % (len(body) + chance.choice((0, 1, -1, 1_000)))]
        case _:
            lines.append(b"Content-Length: %d" % len(body))
    end = b"\n" if chance.random() < 0.05 else b"\r\n"
    data = end.join([b"HTTP/1.%d %03d Any" % (chance.choice((1, 1, 1, 0)), status), *lines, b"", b""]) + body
    if chance.random() < 0.1:
        data = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + data
    if chance.random() < 0.5:
        data = mutated(chance, data)
    cuts = sorted(chance.randint(0, len(data)) for _ in range(chance.choice((0, 0, 1, 3))))
    pieces = tuple(data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True))
    return Answer(pieces, is_reset=chance.random() < 0.05)


def _gzip(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(data) + packer.flush()


def is_complete_2xx(data: bytes) -> bool:
    """Return whether ``data`` begins with the complete head of a success, as h11 reads it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
    client.send(h11.EndOfMessage())
    try:
        client.receive_data(data)
        while isinstance(event := client.next_event(), h11.InformationalResponse):
            if event.status_code == 101:
                return False
    except h11.RemoteProtocolError:
        return False
    return isinstance(event, h11.Response) and 200 <= event.status_code < 300


# The destination


@dataclass
class Called:
    """Requests and answers of a destination, by message id."""

    calls: Counter[str] = field(default_factory=Counter)
    answers: defaultdict[str, list[Answer]] = field(default_factory=lambda: defaultdict(list))

    def repeated_after_success(self) -> list[str]:
        """Messages that were delivered again after an answer whose 2xx head came whole."""
        return [
            message_id
            for message_id, given in self.answers.items()
            if any(is_complete_2xx(b"".join(one.pieces)) for one in given[:-1] if not one.is_reset)
        ]


@contextlib.contextmanager
def any_destination(chance: Random) -> Iterator[tuple[str, Called]]:
    """The URL of a destination that answers anything, and what became of it."""
    called = Called()
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        accepting = threading.Thread(target=_accept, args=(listener, chance, called), daemon=True)
        accepting.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/hook", called
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        accepting.join(HANG_SECONDS)


def _accept(listener: socket.socket, chance: Random, called: Called) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with contextlib.suppress(OSError), connection:
                connection.settimeout(HANG_SECONDS)
                _answer(connection, chance, called)


def _answer(connection: socket.socket, chance: Random, called: Called) -> None:
    head = b""
    with connection.makefile("rb") as stream:
        while (line := stream.readline()) not in (b"\r\n", b""):
            head += line
        found = re.search(rb"(?im)^content-length: (\d+)", head)
        stream.read(int(found[1]) if found else 0)
    named = re.search(rb"(?im)^upstash-message-id: (\S+)", head)
    if named is None:
        return
    answer = answer_bytes(chance)
    message_id = named[1].decode()
    called.calls[message_id] += 1
    called.answers[message_id].append(answer)
    for piece in answer.pieces:
        connection.sendall(piece)
    if answer.is_reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


# A whole round

_PUBLISHED = {"Upstash-Retries": "2", "Upstash-Retry-Delay": "1", "Upstash-Timeout": "20s"}


@dataclass
class Findings:
    """Cases that were tried, and the faults found."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    messages: int = 0
    deliveries: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, other: "Findings") -> None:
        """Count another round, too."""
        self.requests += other.requests
        self.statuses += other.statuses
        self.messages += other.messages
        self.deliveries += other.deliveries
        self.ends += other.ends
        self.wrong += other.wrong


def send_requests(url: str, token: str, chance: Random, count: int) -> Findings:
    """Send ``count`` requests. The tenant's deliveries must be answered by a fault: they may lead anywhere."""
    found = Findings(requests=count)
    for _ in range(count):
        data, is_request = request_bytes(chance, token)
        came = statuses(url, data, is_request=is_request)
        found.statuses.update(came)
        if any(status >= 500 for status in came):
            found.wrong.append(f"{came} to {data[:2_000]!r}")
        if is_request and not came:
            found.wrong.append(f"no answer to {data[:2_000]!r}")
    return found


def deliver_answers(client: httpx.Client, chance: Random, count: int) -> Findings:
    """Publish ``count`` messages to a destination that answers anything, and see how each ends."""
    with any_destination(chance) as (url, called):
        ids = [
            client.post(f"/v2/publish/{url}", headers=_PUBLISHED).json()["messageId"] for _ in range(count)
        ]
        ends = [_end(client, message_id) for message_id in ids]
    found = Findings(messages=count, deliveries=called.calls.total(), ends=Counter(ends))
    found.wrong += [f"{message_id} is left {end}" for message_id, end in zip(ids, ends, strict=True)
                    if end not in ("DELIVERED", "FAILED")]  # fmt: skip
    for message_id in called.repeated_after_success():
        found.wrong.append(f"delivered again after a complete 2xx head: {called.answers[message_id]}"[:2_000])
    found.wrong += [
        f"{message_id}: {number} calls" for message_id, number in called.calls.items() if number > 3
    ]
    return found


def _end(client: httpx.Client, message_id: str) -> str:
    deadline = time.monotonic() + HANG_SECONDS
    while True:
        events = client.get("/v2/logs", params={"messageId": message_id}).json()["events"]
        state: str = events[0]["state"]
        if state in ("DELIVERED", "FAILED") or time.monotonic() > deadline:
            return state
        time.sleep(0.01)


def left_active(client: httpx.Client) -> list[str]:
    """Return the messages that are still ACTIVE though nothing is being delivered."""
    deadline = time.monotonic() + HANG_SECONDS
    while True:
        active = client.get("/emulator/messages", params={"state": "ACTIVE"}).json()["messages"]
        if not active or time.monotonic() > deadline:
            return [f"left ACTIVE: {json.dumps(one)}" for one in active]
        time.sleep(0.01)
