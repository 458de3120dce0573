"""A server left on for a month stays small: what is over goes after its time, what is needed stays."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from emulator.testing import Harness, Receiver

NOW_AT = 1_780_315_200_000
_TABLES = ("messages", "bodies", "log_entries", "dead_letters", "deduplications", "flow_keys")


@pytest.fixture
async def qstash() -> AsyncIterator[Harness]:
    async with Harness(now_at=NOW_AT, keep_messages_hours=24, keep_dead_letters_hours=72) as harness:
        yield harness


def _counts(qstash: Harness) -> dict[str, int]:
    with qstash.emulator.writer.store.connect() as connection:
        return {
            table: connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in _TABLES
        }


async def _publish(qstash: Harness, path: str = "x", body: str = "body", **headers: str) -> str:
    lines = {f"Upstash-{name.replace('_', '-')}": value for name, value in headers.items()}
    answer = await qstash.client.post(f"/v2/publish/https://example.com/{path}", headers=lines, content=body)
    assert answer.status_code in (201, 202), answer.text
    message_id: str = answer.json()["messageId"]
    return message_id


async def test_what_was_delivered_goes_after_its_time_and_nothing_before(qstash, receiver) -> None:
    await _publish(qstash, Deduplication_Id="once", Flow_Control_Key="k", Flow_Control_Value="parallelism=2")
    await qstash.settle()
    await qstash.advance("23h")
    assert _counts(qstash) | {"deduplications": 0} == {
        "messages": 1, "bodies": 1, "log_entries": 3, "dead_letters": 0, "deduplications": 0, "flow_keys": 1,
    }  # fmt: skip
    await qstash.advance("2h")
    assert _counts(qstash) == dict.fromkeys(_TABLES, 0)
    assert qstash.runtime.broker.state.deduplications == {}
    assert qstash.runtime.broker.state.lanes.flow_lanes() == []


async def test_what_is_pending_stays_however_old(qstash, receiver) -> None:
    await _publish(qstash, Delay="30d")
    await qstash.advance("29d")
    assert _counts(qstash)["messages"] == 1
    await qstash.advance("1d")
    assert [one.body for one in receiver.got] == [b"body"]


async def test_a_dead_letter_keeps_its_message_until_its_own_time(qstash, receiver) -> None:
    receiver.always = 500
    await _publish(qstash, Retries="0")
    await qstash.settle()
    await qstash.advance("48h")
    [entry] = (await qstash.client.get("/v2/dlq")).json()["messages"]
    assert entry["body"] == "body"
    await qstash.advance("25h")
    assert (await qstash.client.get("/v2/dlq")).json()["messages"] == []
    assert _counts(qstash) == dict.fromkeys(_TABLES, 0)


async def test_a_shared_body_stays_while_anybody_needs_it(qstash, receiver) -> None:
    receiver.answers = [500]
    await _publish(qstash, Retries="0")
    await qstash.settle()
    await qstash.advance("71h")
    [entry] = (await qstash.client.get("/v2/dlq")).json()["messages"]
    again = await qstash.client.post(
        "/v2/dlq/retry", params={"dlqIds": entry["dlqId"]}, headers={"Upstash-Delay": "10h"}
    )
    assert again.status_code == 201, again.text
    await qstash.advance("9h")
    assert _counts(qstash)["messages"] == 1
    await qstash.advance("1h")
    assert [one.body for one in receiver.got] == [b"body", b"body"]
    await qstash.advance("25h")
    assert _counts(qstash) == dict.fromkeys(_TABLES, 0)


async def test_a_months_traffic_leaves_a_days_worth(qstash, receiver: Receiver) -> None:
    await qstash.client.post(
        "/v2/schedules/https://example.com/x", headers={"Upstash-Cron": "0 * * * *"}, content="tick"
    )
    for _ in range(30):
        await qstash.advance("1d")
    assert len(receiver.got) == 30 * 24
    counts = _counts(qstash)
    assert counts["messages"] <= 25
    assert counts["log_entries"] <= 3 * 25
    assert counts["bodies"] == 1, "the schedule's own, which its next firing needs"


async def test_more_than_a_batch_goes_at_once(qstash, receiver) -> None:
    items = [{"destination": "https://example.com/x", "body": str(number)} for number in range(1_200)]
    assert (await qstash.client.post("/v2/batch", json=items)).status_code == 200
    await qstash.settle()
    await qstash.advance("25h")
    assert _counts(qstash) == dict.fromkeys(_TABLES, 0)
