"""A manual clock passes a day, a year and a long queue at once, and repeats a run byte for byte."""

import hashlib
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from emulator.testing import Harness, Receiver

LEAP_YEAR = datetime(2028, 1, 1, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")


async def test_a_day_a_leap_year_and_a_long_queue_pass_in_one_test() -> None:
    async with Harness(now_at=LEAP_YEAR) as qstash:
        broken = Receiver(now=lambda: qstash.now, always=500)
        daily = Receiver(now=lambda: qstash.now)
        bulk = Receiver(now=lambda: qstash.now)
        qstash.mount("https://broken.example", broken)
        qstash.mount("https://daily.example", daily)
        qstash.mount("https://bulk.example", bulk)
        post = qstash.client.post

        # Default retries, to an endpoint that fails until the next day.
        await post("/v2/publish/https://broken.example/x", headers={"Upstash-Retries": "5"})
        await qstash.advance_to(LEAP_YEAR + timedelta(hours=23))
        broken.always = 200
        await qstash.run_until_idle()
        waits = [delivery.at - qstash_at for delivery, qstash_at in zip(
            broken.got[1:], [one.at for one in broken.got], strict=False
        )]  # fmt: skip
        assert [round(wait / 1000) for wait in waits] == [12, 148, 1808, 22026, 86400]
        [message] = qstash.find("https://broken.example/x")
        assert [attempt.status for attempt in message.attempts] == [500] * 5 + [200]

        # A queue of 1,000 with a rate of 10 a minute.
        started_at = qstash.now
        limit = {"Upstash-Flow-Control-Key": "k", "Upstash-Flow-Control-Value": "rate=10, period=1m"}
        await post("/v2/queues", json={"queueName": "bulk", "parallelism": 10})
        for start in range(0, 1_000, 100):
            await post(
                "/v2/batch",
                json=[
                    {"destination": f"https://bulk.example/{number}", "queue": "bulk", "headers": limit}
                    for number in range(start, start + 100)
                ],
            )
        await qstash.run_until_idle()
        minutes = Counter((delivery.at - started_at) // 60_000 for delivery in bulk.got)
        assert minutes == dict.fromkeys(range(100), 10)

        # Half past one at night in New York, every day of a leap year; twice in the night in which it comes twice.
        await post(
            "/v2/schedules/https://daily.example/x",
            headers={"Upstash-Cron": "CRON_TZ=America/New_York 30 1 * * *"},
        )
        await qstash.advance_to(LEAP_YEAR + timedelta(days=366))
        nights = [datetime.fromtimestamp(delivery.at / 1000, NEW_YORK) for delivery in daily.got]
        assert {(night.hour, night.minute) for night in nights} == {(1, 30)}
        assert len(nights) == len({night.date() for night in nights}) + 1
        assert [f"{night:%b %d}" for night in nights if night.date() == datetime(2028, 11, 5).date()] == [  # noqa: DTZ001
            "Nov 05", "Nov 05",
        ]  # fmt: skip
        assert any(night.date() == datetime(2028, 2, 29).date() for night in nights)  # noqa: DTZ001
        qstash.assert_invariants()


async def _log_of_a_run(seed: int) -> str:
    """The event log of one run with every kind of trouble, as text."""
    async with Harness(now_at=LEAP_YEAR, seed=seed) as qstash:
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount("https://example.com", receiver)
        qstash.faults.add("refuse", probability=0.3)
        qstash.faults.add("out-of-order", probability=0.5)
        qstash.faults.add("delay", delay="20s", probability=0.3)
        qstash.faults.add("crash", count=1, skip=3)
        limit = {"Upstash-Flow-Control-Key": "k", "Upstash-Flow-Control-Value": "rate=2, period=1m"}
        for number in range(4):
            await qstash.client.post(f"/v2/publish/https://example.com/{number}")
            await qstash.client.post(f"/v2/enqueue/q/https://example.com/{number}", headers=limit)
        await qstash.client.post("/v2/schedules/https://example.com/s", headers={"Upstash-Cron": "0 * * * *"})
        await qstash.advance("6h")
        events = (await qstash.client.get("/v2/events", params={"count": 1000})).json()
        return json.dumps([events, (await qstash.client.get("/v2/dlq")).json()])


@pytest.mark.parametrize("part", range(4))
async def test_one_seed_is_one_log_byte_for_byte(part: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Four times 25 runs; where they run on several processes, all compare with the first of them."""
    logs = {await _log_of_a_run(seed=7) for _ in range(25)}
    assert len(logs) == 1
    [log] = logs
    assert log.count('"state":') > 40 or log.count('"state": ') > 40
    digest = hashlib.sha256(log.encode()).hexdigest()
    assert digest == _first_in_this_run(tmp_path_factory, digest)
    assert log != await _log_of_a_run(seed=8)


def _first_in_this_run(tmp_path_factory: pytest.TempPathFactory, digest: str) -> str:
    """Return the value that the first process of this pytest run found."""
    base = tmp_path_factory.getbasetemp()
    shared: Path = base.parent if base.name.startswith("popen-") else base
    path = shared / "digest-of-seed-7"
    try:
        with path.open("x") as file:
            file.write(digest)
    except FileExistsError:
        pass
    return path.read_text() or digest
