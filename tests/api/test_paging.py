"""Pages stay right while new entries arrive (contract 1.7)."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from emulator.testing import Harness


async def _fail(qstash: Harness, count: int) -> None:
    for _ in range(count):
        await qstash.client.post("/v2/publish/https://nobody.example", headers={"Upstash-Retries": "0"})
    await qstash.settle()


async def _walk(
    qstash: Harness, path: str, name: str, meanwhile: Callable[[], Awaitable[None]], **parameters: str
) -> list[dict[str, Any]]:
    """All pages, with something new between each and the next."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    for _ in range(50):
        answer = (await qstash.client.get(path, params={**parameters, **cursor})).json()
        found += answer[name]
        if "cursor" not in answer:
            return found
        cursor = {"cursor": answer["cursor"]}
        await meanwhile()
    raise AssertionError("the pages have no end")


@pytest.mark.parametrize(
    ("path", "name", "key"),
    [
        ("/v2/dlq", "messages", "dlqId"),
        ("/v2/events?state=FAILED", "events", "messageId"),
        ("/v2/logs?groupBy=messageId", "messages", "messageId"),
    ],
)
async def test_newest_first_shows_what_was_there_once_each(qstash, path: str, name: str, key: str) -> None:
    await _fail(qstash, 7)
    route, _, query = path.partition("?")
    parameters = dict(pair.split("=") for pair in query.split("&") if pair)
    before = {one[key] for one in (await qstash.client.get(path)).json()[name]}
    found = await _walk(qstash, route, name, lambda: _fail(qstash, 2), count="3", **parameters)
    assert len(found) == 7
    assert {one[key] for one in found} == before


async def test_oldest_first_comes_to_what_arrived_meanwhile(qstash) -> None:
    await _fail(qstash, 4)
    left = [2]

    async def meanwhile() -> None:
        if left[0]:
            left[0] -= 1
            await _fail(qstash, 1)

    found = await _walk(qstash, "/v2/dlq", "messages", meanwhile, count="2", order="earliestFirst")
    ids = [one["dlqId"] for one in found]
    assert len(ids) == len(set(ids)) == 6
    assert [one["createdAt"] for one in found] == sorted(one["createdAt"] for one in found)


async def test_what_is_deleted_between_pages_leaves_no_gap(qstash) -> None:
    await _fail(qstash, 6)
    first = (await qstash.client.get("/v2/dlq?count=2")).json()
    for entry in first["messages"]:
        await qstash.client.delete(f"/v2/dlq/{entry['dlqId']}")
    rest = await _walk(
        qstash, "/v2/dlq", "messages", lambda: _fail(qstash, 0), count="2", cursor=first["cursor"]
    )
    assert len(rest) == 4


@pytest.mark.parametrize("path", ["/v2/dlq", "/v2/logs", "/v2/events"])
async def test_a_cursor_that_is_none_of_ours_is_refused(qstash, path: str) -> None:
    response = await qstash.client.get(path, params={"cursor": "yesterday"})
    assert response.status_code == 400
    assert "invalid cursor 'yesterday'" in response.json()["error"]


async def test_a_page_that_is_just_full_has_no_cursor(qstash) -> None:
    await _fail(qstash, 3)
    assert "cursor" not in (await qstash.client.get("/v2/dlq?count=3")).json()
    assert "cursor" not in (await qstash.client.get("/v2/events?count=12")).json()


async def test_groups_hold_the_entries_that_match_and_no_others(qstash, receiver) -> None:
    receiver.answers = [500]
    await qstash.client.post("/v2/publish/https://example.com", headers={"Upstash-Retries": "1"})
    await qstash.settle()
    first_at = qstash.now
    await qstash.run_until_idle()
    params = {"groupBy": "messageId", "toDate": first_at}
    [group] = (await qstash.client.get("/v2/logs", params=params)).json()["messages"]
    assert [entry["state"] for entry in group["events"]] == ["RETRY", "ERROR", "ACTIVE", "CREATED"]
