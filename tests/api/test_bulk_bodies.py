"""A bulk action is about everything only when the request has neither a body nor a filter."""

import pytest

from emulator.testing import Harness

_CALLS = [
    ("DELETE", "/v2/messages"),
    ("DELETE", "/v2/dlq"),
    ("POST", "/v2/dlq/retry"),
    ("DELETE", "/v2/workflows/runs"),
    ("DELETE", "/v2/workflows/dlq"),
    ("POST", "/v2/workflows/dlq/resume"),
    ("POST", "/v2/workflows/dlq/restart"),
]
_LOST = {
    "a length, and nothing follows": ({"Content-Length": "28"}, b""),
    "a length, and less follows": ({"Content-Length": "28"}, b"{}"),
    "chunks, and nothing follows": ({"Transfer-Encoding": "chunked"}, b""),
    "an empty object": ({}, b"{}"),
    "nothing but nulls": ({}, b'{"label": null}'),
    "white space": ({}, b" "),
    "null": ({}, b"null"),
    "a list": ({}, b'["msg_1"]'),
    "text": ({}, b'"msg_1"'),
    "a form": ({}, b"messageIds=msg_1"),
    "not UTF-8": ({}, b"\xff"),
}


@pytest.fixture
async def account(qstash: Harness) -> Harness:
    """One delayed message, and one in the dead letter queue."""
    await qstash.client.post("/v2/publish/https://example.com/dead", headers={"Upstash-Retries": "0"})
    await qstash.settle()
    await qstash.client.post("/v2/publish/https://example.com/later", headers={"Upstash-Delay": "1h"})
    return qstash


async def call(qstash: Harness, method: str, path: str, lines: dict[str, str], body: bytes) -> int:
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [
            (b"host", b"localhost"),
            (b"authorization", f"Bearer {qstash.token}".encode()),
            *((name.lower().encode(), value.encode()) for name, value in lines.items()),
        ],
    }  # fmt: skip
    answer = await qstash.answer(scope, body)
    assert isinstance(answer.status, int)
    return answer.status


@pytest.mark.parametrize("lost", _LOST)
@pytest.mark.parametrize(("method", "path"), _CALLS)
async def test_what_is_announced_and_cannot_be_read_touches_nothing(account, method, path, lost) -> None:
    lines, body = _LOST[lost]
    if body and not lines:
        lines = {"Content-Length": str(len(body))}
    assert await call(account, method, path, lines, body) == 400
    assert len((await account.client.get("/v2/dlq")).json()["messages"]) == 1
    assert (await account.client.delete("/v2/messages")).json() == {"cancelled": 1}


@pytest.mark.parametrize("lines", [{}, {"Content-Length": "0"}, {"Content-Type": "application/json"}])
async def test_nothing_at_all_is_everything(account, lines) -> None:
    assert await call(account, "DELETE", "/v2/messages", lines, b"") == 202
    assert (await account.client.delete("/v2/messages")).json() == {"cancelled": 0}
