"""The emulator's own store on both databases: what was accepted is there after a restart, and goes on."""

from collections.abc import AsyncIterator

import pytest

from emulator.errors import StoreUnavailable
from emulator.server import Emulator
from emulator.store import exclusive_lock
from emulator.store.store import SqlStore
from emulator.testing import Harness, Receiver
from tests.conftest import NOW_AT


@pytest.fixture
async def qstash(emulator_db: str) -> AsyncIterator[Harness]:
    async with Harness(db=emulator_db, now_at=NOW_AT) as harness:
        yield harness


async def test_a_retry_a_dead_letter_and_a_schedule_live_through_restarts(qstash: Harness) -> None:
    good = Receiver(now=lambda: qstash.now)
    bad = Receiver(now=lambda: qstash.now, always=500)
    qstash.mount("https://good.com", good)
    qstash.mount("https://bad.com", bad)

    async def publish(url: str, body: str, **headers: str) -> str:
        lines = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await qstash.client.post(f"/v2/publish/{url}", content=body, headers=lines)
        message_id: str = answer.json()["messageId"]
        return message_id

    later = await publish("https://good.com/later", "body ☃", Upstash_Delay="1h", Upstash_Label="mine")
    failing = await publish("https://bad.com/x", "kept", Upstash_Retries="1")
    made = await qstash.client.post(
        "/v2/schedules/https://good.com/daily", headers={"Upstash-Cron": "@daily"}
    )
    await qstash.settle()
    assert len(bad.got) == 1

    await qstash.crash()
    await qstash.advance("1h")
    assert len(bad.got) == 2
    assert [delivery.body.decode() for delivery in good.got] == ["body ☃"]

    await qstash.crash()
    await qstash.advance("24h")
    assert good.got[-1].headers["upstash-schedule-id"] == made.json()["scheduleId"]
    [entry] = (await qstash.client.get("/v2/dlq")).json()["messages"]
    assert (entry["messageId"], entry["body"], entry["responseStatus"]) == (failing, "kept", 500)
    events = (
        await qstash.client.get("/v2/logs", params={"messageId": later, "order": "earliestFirst"})
    ).json()
    assert [event["state"] for event in events["logs"]] == ["CREATED", "ACTIVE", "DELIVERED"]
    assert {event["label"] for event in events["logs"]} == {"mine"}
    qstash.assert_invariants()


async def test_a_second_emulator_leaves_the_database_alone(
    qstash: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exclusive_lock, "PATIENCE", "50ms")
    with pytest.raises(StoreUnavailable, match="another emulator is using it"):
        Emulator(qstash.emulator.settings).open()


def test_what_has_no_file_is_nobody_elses() -> None:
    engine = SqlStore().engine
    releases = [exclusive_lock.claim(engine, None), exclusive_lock.claim(engine, None)]
    for release in releases:
        release()
    engine.dispose()
