"""Publishers are slowed down, then refused, before the server's memory grows."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

from emulator.testing import Harness

_MEGABYTE = 1_000_000


class _SlowPublish:
    """A publish whose body has been announced and does not come yet."""

    def __init__(self, qstash: Harness, size: int) -> None:
        self._body = asyncio.get_running_loop().create_future()
        self._size = size
        self.statuses: list[int] = []
        headers = [
            (b"authorization", f"Bearer {qstash.token}".encode()),
            (b"content-length", str(size).encode()),
        ]
        scope = {
            "type": "http", "method": "POST", "path": "/v2/publish/https://example.com/x", "query_string": b"",
            "raw_path": b"/v2/publish/https://example.com/x", "headers": headers, "client": None, "scheme": "http",
        }  # fmt: skip
        call: Any = qstash.app(scope, self._receive, self._send)
        self.task: asyncio.Task[None] = asyncio.create_task(call)

    async def finish(self) -> None:
        self._body.set_result(None)
        await self.task

    async def _receive(self) -> dict[str, Any]:
        await self._body
        return {"type": "http.request", "body": b"x" * self._size, "more_body": False}

    async def _send(self, event: MutableMapping[str, Any]) -> None:
        if event["type"] == "http.response.start":
            self.statuses.append(event["status"])


async def _turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_publish_without_room_is_answered_429_and_accepted_later() -> None:
    async with Harness(intake_megabytes=2, intake_patience_seconds=0) as qstash:
        slow = _SlowPublish(qstash, 2 * _MEGABYTE)
        await _turns()
        refused = await qstash.client.post("/v2/publish/https://example.com/x", content=b"body")
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) >= 1
        assert "not stored yet" in refused.json()["error"]
        assert (await qstash.client.get("/v2/logs")).status_code == 200, "reading needs no room"
        await slow.finish()
        assert slow.statuses == [201]
        assert (
            await qstash.client.post("/v2/publish/https://example.com/x", content=b"body")
        ).status_code == 201


async def test_publishes_wait_for_room_in_the_order_they_came() -> None:
    async with Harness(intake_megabytes=2, intake_patience_seconds=30) as qstash:
        first, second, third = (_SlowPublish(qstash, int(1.5 * _MEGABYTE)) for _ in range(3))
        await _turns()
        second._body.set_result(None)
        third._body.set_result(None)
        await _turns()
        assert (second.statuses, third.statuses) == ([], [])
        await first.finish()
        await asyncio.gather(second.task, third.task)
        assert first.statuses == second.statuses == third.statuses == [201]


async def test_who_gives_up_waiting_leaves_no_trace() -> None:
    async with Harness(intake_megabytes=2, intake_patience_seconds=30) as qstash:
        first, second = (_SlowPublish(qstash, 2 * _MEGABYTE) for _ in range(2))
        await _turns()
        second.task.cancel()
        await asyncio.gather(second.task, return_exceptions=True)
        await first.finish()
        assert (
            await qstash.client.post("/v2/publish/https://example.com/x", content=b"y" * _MEGABYTE)
        ).status_code == 201


async def test_one_larger_than_all_the_room_is_let_in_alone() -> None:
    async with Harness(intake_megabytes=1, intake_patience_seconds=0) as qstash:
        answer = await qstash.client.post("/v2/publish/https://example.com/x", content=b"y" * (3 * _MEGABYTE))
        assert answer.status_code == 201
