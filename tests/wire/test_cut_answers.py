"""An answer that is longer than a message may be is cut, and the log says so, whichever way it came."""

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from emulator.testing import Harness, Listener
from emulator.wire.limits import PLANS

# The free plan's, which is the smallest: a test of the lenient one would send ten times as much.
_MOST = PLANS["free"].max_body_bytes
_BODY = b"x" * (_MOST + 1)
_WORDS = f"the body was cut at {_MOST} bytes"

App = Any
Made = Callable[[int, list[tuple[bytes, bytes]], bytes], App]


def _asgi(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def _wsgi(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> App:
    def app(_environ: Any, start_response: Any) -> list[bytes]:
        start_response(f"{status} Any", [(name.decode(), value.decode()) for name, value in headers])
        return [body]

    return app


@contextmanager
def _over_a_socket(app: App) -> Iterator[App]:
    with Listener(app) as listener:
        yield listener.url


@contextmanager
def _as_it_is(app: App) -> Iterator[App]:
    yield app


WAYS = {
    "over a socket": (_over_a_socket, _asgi),
    "an ASGI app in this process": (_as_it_is, _asgi),
    "a WSGI app in this process": (_as_it_is, _wsgi),
}
ANSWERS = {
    "plain": ([(b"content-length", b"%d" % len(_BODY))], _BODY),
    "until the end, or in chunks": ([], _BODY),
    "gzip": ([(b"content-encoding", b"gzip")], gzip.compress(_BODY)),
}


@pytest.mark.parametrize(("status", "state"), [(200, "DELIVERED"), (500, "ERROR")])
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("way", WAYS)
async def test_the_log_says_that_an_answer_was_cut(way: str, answer: str, status: int, state: str) -> None:
    behind, made = WAYS[way]
    async with Harness(quota="free") as qstash:
        with behind(made(status, *ANSWERS[answer])) as app:
            qstash.mount("https://example.com", app)
            published = await qstash.client.post(
                "/v2/publish/https://example.com", headers={"Upstash-Retries": "0"}
            )
            await qstash.settle()
        message_id = published.json()["messageId"]
        found = await qstash.client.get("/v2/logs", params={"messageId": message_id, "state": state})
        [entry] = found.json()["events"]
        assert _WORDS in str(entry)
        if status == 500:
            [dead] = (await qstash.client.get("/v2/dlq")).json()["messages"]
            assert len(dead["responseBody"]) == _MOST
            assert dead["responseStatus"] == 500


async def test_an_answer_of_just_that_length_is_whole() -> None:
    async with Harness(quota="free") as qstash:
        qstash.mount("https://example.com", _asgi(200, [], _BODY[1:]))
        await qstash.client.post("/v2/publish/https://example.com")
        await qstash.settle()
        assert "cut at" not in (await qstash.client.get("/v2/logs")).text
