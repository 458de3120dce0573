"""Every request is answered by a success or a refusal with words: never a 500, and nothing accepted is lost."""

import asyncio
import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.testing import Harness
from tests.answers import checked

_PATHS = [
    "/v2/publish/https://example.com", "/v2/publish/g", "/v2/enqueue/q/https://example.com", "/v2/batch",
    "/v2/messages",
    "/v2/messages/msg_x", "/v2/logs", "/v2/events", "/v2/dlq", "/v2/dlq/1-0", "/v2/dlq/retry", "/v2/dlq/retry/1-0",
    "/v2/queues", "/v2/queues/q", "/v2/queues/q/pause", "/v2/schedules", "/v2/schedules/https://example.com",
    "/v2/schedules/s", "/v2/topics", "/v2/topics/g", "/v2/topics/g/endpoints", "/v2/flowControl", "/v2/flowControl/k",
    "/v2/flowControl/k/pin", "/v2/flowControl/k/unpin", "/v2/flowControl/k/reset", "/v2/keys", "/v2/globalParallelism",
    "/llm/v1/chat/completions", "/emulator/clock", "/emulator/tenants", "/emulator/clock/run-until-idle",
]  # fmt: skip
_PARAMETERS = [
    "cursor", "count", "order", "state", "fromDate", "toDate", "responseStatus", "label", "host", "path", "url",
    "messageIds", "dlqIds", "trimBody", "groupBy", "parallelism", "rate", "period", "search", "upstash-delay",
    "callerIP",
]  # fmt: skip
_HEADERS = [
    "Upstash-Delay", "Upstash-Retries", "Upstash-Cron", "Upstash-Label", "Upstash-Callback", "Upstash-Retry-Delay",
    "Upstash-Flow-Control-Key", "Upstash-Flow-Control-Value", "Upstash-Redact-Fields", "Upstash-Not-Before",
    "Upstash-Deduplication-Id", "Upstash-Schedule-Id", "Upstash-Forward-X", "Upstash-Method", "Upstash-Timeout",
]  # fmt: skip
_TEXT = st.one_of(
    st.sampled_from(
        [
            "",
            "1",
            "-1",
            "0",
            "9" * 30,
            "1-2",
            "x",
            "true",
            "* * * * *",
            "rate=1",
            "body",
            "https://e.com",
            "a,b",
        ]
    ),
    st.text(max_size=12),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["destination", "headers", "body", "queue", "queueName", "parallelism", "paused", "endpoints", "url",
             "name", "messageIds", "dlqIds", "count", "messages", "by", "to", "limit", "label", "fromDate"]
        ),
        inner,
        max_size=3,
    ),
    max_leaves=6,
)  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[asyncio.Runner, Harness]]:
    """One emulator for all examples, emptied before each."""
    with asyncio.Runner() as runner:
        harness = checked(Harness(now_at=1_780_315_200_000))
        runner.run(harness.__aenter__())
        yield runner, harness
        runner.run(harness.__aexit__(None, None, None))


@settings(max_examples=120)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]),
    path=st.sampled_from(_PATHS),
    query=st.lists(st.tuples(st.sampled_from(_PARAMETERS), _TEXT), max_size=3),
    headers=st.lists(st.tuples(st.sampled_from(_HEADERS), _TEXT), max_size=4),
    body=st.one_of(st.just(None), _JSON, st.binary(max_size=30)),
)
def test_whatever_is_sent(server, method, path, query, headers, body) -> None:
    runner, harness = server
    lines = [(name.encode(), value.encode("utf-8", "replace")) for name, value in headers]
    # Python spells numbers that JSON does not have: those are sent, too.
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()

    async def send() -> tuple[int, str, int]:
        await harness.client.post("/emulator/reset")
        response = await harness.client.request(method, path, params=query, headers=lines, content=content)
        return response.status_code, response.text, (await harness.client.get("/v2/events")).status_code

    status, text, kept = runner.run(send())
    assert status < 500, text
    assert kept == 200
    assert status < 400 or "error" in text


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v2/batch", rb'[{"destination":"https://e.com/\ud800"}]'),
        (
            "POST",
            "/v2/batch",
            rb'[{"destination":"https://e.com/","body":"\ud800","headers":{"Upstash-Label":"\ud800"}}]',
        ),
        (
            "POST",
            "/v2/batch",
            rb'[{"destination":"https://e.com/","headers":{"Upstash-Forward-\ud800":"x"}}]',
        ),
        ("POST", "/v2/batch", rb'[{"destination":"https://e.com/","headers":{"Upstash-Label":"\u0000"}}]'),
        ("POST", "/v2/batch", b"[" * 100_000),
        ("POST", "/v2/batch", b"[1e400, NaN]"),
        ("POST", "/emulator/tenants", rb'{"name":"\udfff"}'),
        ("POST", "/v2/topics/g/endpoints", rb'{"endpoints":[{"url":"https://e.com/","name":"\ud800"}]}'),
        ("DELETE", "/v2/messages", rb'{"label":"\ud800"}'),
        ("DELETE", "/v2/dlq", rb'{"dlqIds":["\ud800"]}'),
        ("POST", "/v2/flowControl/%ed%a0%80/pause", b""),
        ("POST", "/v2/flowControl/%00/pause", b""),
        ("GET", "/v2/messages/%00", b""),
        ("POST", "/v2/publish/https://e.com/?upstash-label=%00", b""),
    ],
)
async def test_text_that_no_database_can_keep(qstash, method: str, path: str, body: bytes) -> None:
    response = await qstash.client.request(method, path, content=body)
    assert response.status_code < 500
    published = await qstash.client.post("/v2/publish/https://e.com", headers={"Upstash-Delay": "1h"})
    assert published.status_code == 201


@pytest.mark.parametrize("endpoints", ["true", '["x"]', '"x"', "[null]", "7"])
async def test_deleting_a_group_with_a_body_that_nobody_reads(qstash: Harness, endpoints: str) -> None:
    made = await qstash.client.post(
        "/v2/topics/team/endpoints", json={"endpoints": [{"url": "https://example.com/a"}]}
    )
    assert made.is_success
    gone = await qstash.client.request("DELETE", "/v2/topics/team", content=f'{{"endpoints": {endpoints}}}')
    assert gone.status_code == 200
    assert (await qstash.client.get("/v2/topics")).json() == []
