"""Schedules (contract 2.6 and 5.4)."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from emulator.testing import Harness, Receiver


async def _create(qstash: Harness, target: str = "https://example.com/hook", **headers: str) -> str:
    lines = {"Upstash-Cron": "*/10 * * * *"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    response = await qstash.client.post(f"/v2/schedules/{target}", content=b'{"a":1}', headers=lines)
    assert response.status_code == 200, response.text
    schedule_id: str = response.json()["scheduleId"]
    return schedule_id


async def _get(qstash: Harness, schedule_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = (await qstash.client.get(f"/v2/schedules/{schedule_id}")).json()
    return answer


async def test_a_schedule_shows_what_it_was_made_of(qstash) -> None:
    schedule_id = await _create(
        qstash,
        "https://example.com/hook?x=1",
        Upstash_Cron=" CRON_TZ=UTC */10 * * * * ",
        Upstash_Method="get",
        Upstash_Delay="10s",
        Upstash_Retries="5",
        Upstash_Callback="https://callback.com/?foo=bar",
        Upstash_Queue_Name="q",
        Upstash_Label="l",
        Upstash_Forward_Mine="yes",
        Content_Type="application/json",
        Upstash_Telemetry_Sdk="test",
    )
    schedule = await _get(qstash, schedule_id)
    assert schedule == {
        "scheduleId": schedule_id,
        "cron": "CRON_TZ=UTC */10 * * * *",
        "destination": "https://example.com/hook?x=1",
        "createdAt": qstash.now,
        "method": "GET",
        "header": {"Content-Type": ["application/json"], "Mine": ["yes"]},
        "body": '{"a":1}',
        "retries": 5,
        "delay": 10,
        "callback": "https://callback.com/?foo=bar",
        "queueName": "q",
        "label": "l",
        "labels": ["l"],
        "isPaused": False,
        "callerIP": "127.0.0.1",
        "callerIp": "127.0.0.1",
        "nextScheduleTime": qstash.now + 600_000,
    }
    assert (await qstash.client.get("/v2/schedules")).json() == [schedule]


async def test_it_fires_once_for_each_time_with_its_body_and_id(qstash, receiver) -> None:
    start_at = qstash.now
    schedule_id = await _create(qstash, Upstash_Forward_Mine="yes")
    await qstash.advance("1h")
    assert [one.at - start_at for one in receiver.got] == [600_000 * number for number in range(1, 7)]
    assert {one.body for one in receiver.got} == {b'{"a":1}'}
    assert {one.headers["upstash-schedule-id"] for one in receiver.got} == {schedule_id}
    assert receiver.got[0].headers["mine"] == "yes"
    schedule = await _get(qstash, schedule_id)
    assert list(schedule["lastScheduleStates"].values()) == ["SUCCESS"]
    assert schedule["lastScheduleTime"] == qstash.now


async def test_a_firing_that_fails_is_said(qstash, receiver) -> None:
    receiver.always = 500
    schedule_id = await _create(qstash, Upstash_Retries="0")
    await qstash.advance("10m")
    assert list((await _get(qstash, schedule_id))["lastScheduleStates"].values()) == ["FAIL"]


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize(
    ("options", "how"),
    [
        ({"Upstash_Delay": "1h"}, "/v2/messages?scheduleId=daily"),
        ({"Upstash_Queue_Name": "paused"}, "/v2/queues/paused"),
    ],
)
async def test_a_run_whose_message_is_cancelled_has_failed(
    tmp_path, options: dict[str, str], how: str, is_restarted: bool
) -> None:
    async with Harness(db=str(tmp_path / "q.db")) as qstash:
        await qstash.client.post("/v2/queues", json={"queueName": "paused", "paused": True})
        await _create(qstash, Upstash_Schedule_Id="daily", **options)
        await qstash.advance("10m")
        assert list((await _get(qstash, "daily"))["lastScheduleStates"].values()) == ["IN_PROGRESS"]
        if is_restarted:
            await qstash.crash()
        await qstash.client.delete(how)
        assert list((await _get(qstash, "daily"))["lastScheduleStates"].values()) == ["FAIL"]


async def test_a_year_of_days_over_both_clock_changes(qstash, receiver) -> None:
    await _create(qstash, Upstash_Cron="CRON_TZ=America/New_York 0 9 * * *")
    await qstash.advance("365d")
    assert len(receiver.got) == 365


@pytest.mark.parametrize(
    ("zone", "time", "firings"),
    [
        # 104 Sundays in the two years, less the two whose clocks skip the time.
        ("America/New_York", "30 2", 104 - 2),
        # Both folds of Berlin repeat what its two gaps skip.
        ("Europe/Berlin", "30 2", 104 - 2 + 2),
        ("Australia/Lord_Howe", "15 2", 104 - 2),
        ("Australia/Lord_Howe", "45 1", 104 + 2),
        ("Pacific/Apia", "30 2", 104),
    ],
)
async def test_two_years_of_sundays_over_every_clock_change(zone: str, time: str, firings: int) -> None:
    async with Harness(now_at=1_767_225_600_000) as qstash:  # 2026-01-01 00:00 UTC
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount("https://example.com", receiver)
        await _create(qstash, Upstash_Cron=f"CRON_TZ={zone} {time} * * SUN")
        await qstash.advance("729d")
    hours = {
        datetime.fromtimestamp(one.at / 1000, ZoneInfo(zone)).strftime("%M %H %a") for one in receiver.got
    }
    minute, hour = time.split()
    assert hours == {f"{minute} {int(hour):02} Sun"}
    assert len(receiver.got) == firings


async def test_a_firing_waits_in_its_queue_and_with_its_delay(qstash, receiver) -> None:
    start_at = qstash.now
    await qstash.client.post("/v2/queues", json={"queueName": "q", "parallelism": 2, "paused": True})
    await _create(qstash, Upstash_Queue_Name="q", Upstash_Delay="90s", Upstash_Label="nightly")
    await qstash.advance("10m")
    queue = (await qstash.client.get("/v2/queues/q")).json()
    assert (queue["lag"], queue["parallelism"]) == (1, 2)
    assert receiver.got == []
    await qstash.client.post("/v2/queues/q/resume")
    await qstash.advance("2m")
    assert [one.at - start_at for one in receiver.got] == [690_000]
    assert len((await qstash.client.get("/v2/logs?label=nightly&state=DELIVERED")).json()["logs"]) == 1


async def test_publishing_with_a_cron_makes_a_schedule(qstash) -> None:
    response = await qstash.client.post(
        "/v2/publish/https://example.com",
        headers={"Upstash-Cron": "0 0 * * *", "Upstash-Schedule-Id": "mine"},
    )
    assert response.json() == {"scheduleId": "mine"}


async def test_overwriting_replaces_everything_and_keeps_the_pause(qstash) -> None:
    await _create(qstash, Upstash_Schedule_Id="mine", Upstash_Retries="5")
    assert (await qstash.client.patch("/v2/schedules/mine/pause")).status_code == 200
    response = await qstash.client.post(
        "/v2/schedules/https://example.com/other",
        headers={"Upstash-Cron": "0 0 * * *", "Upstash-Schedule-Id": "mine"},
    )
    assert response.status_code == 200
    [schedule] = (await qstash.client.get("/v2/schedules")).json()
    assert (schedule["destination"], schedule["retries"], schedule["isPaused"]) == (
        "https://example.com/other", 3, True,
    )  # fmt: skip
    assert "body" not in schedule


async def test_what_passes_while_paused_is_not_made_up_for(qstash, receiver) -> None:
    schedule_id = await _create(qstash)
    await qstash.client.post(f"/v2/schedules/{schedule_id}/pause")
    await qstash.advance("1h")
    await qstash.client.patch(f"/v2/schedules/{schedule_id}/resume")
    assert receiver.got == []
    await qstash.advance("10m")
    assert len(receiver.got) == 1


async def test_a_deleted_schedule_fires_no_more(qstash, receiver) -> None:
    schedule_id = await _create(qstash)
    assert (await qstash.client.delete(f"/v2/schedules/{schedule_id}")).status_code == 200
    await qstash.advance("1h")
    assert receiver.got == []
    assert (await qstash.client.delete(f"/v2/schedules/{schedule_id}")).status_code == 404
    assert (await qstash.client.get(f"/v2/schedules/{schedule_id}")).status_code == 404


async def test_a_schedule_to_a_missing_group_says_so_when_it_fires(qstash, receiver) -> None:
    schedule_id = await _create(qstash, "my-group")
    await qstash.advance("10m")
    assert (await _get(qstash, schedule_id))["error"] == "topic my-group not found"
    await qstash.client.post(
        "/v2/topics/my-group/endpoints", json={"endpoints": [{"url": "https://example.com/a"}]}
    )
    await qstash.advance("10m")
    assert [one.headers["upstash-topic-name"] for one in receiver.got] == ["my-group"]
    assert "error" not in await _get(qstash, schedule_id)


async def test_go_spells_the_path_with_a_capital(qstash) -> None:
    schedule_id = await _create(qstash)
    assert (await qstash.client.get(f"/v2/Schedules/{schedule_id}")).status_code == 200


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "Invalid cron expression empty spec string"),
        ({"Upstash-Cron": "61 * * * *"}, "minute '61'"),
        ({"Upstash-Cron": "* * * * *", "Upstash-Schedule-Id": "a b"}, "Upstash-Schedule-Id 'a b'"),
    ],
)
async def test_bad_schedules_are_refused(qstash, headers: dict[str, str], words: str) -> None:
    response = await qstash.client.post("/v2/schedules/https://example.com", headers=headers)
    assert response.status_code == 400
    assert words in response.json()["error"]


@pytest.mark.parametrize(
    "lines", [{"Upstash-Deduplication-Id": "nightly"}, {"Upstash-Content-Based-Deduplication": "true"}]
)
async def test_a_schedule_made_twice_with_one_deduplication_id_is_the_first_even_when_deleted(
    qstash, lines
) -> None:
    headers = {"Upstash-Cron": "0 0 * * *", **lines}
    first = await qstash.client.post("/v2/schedules/https://example.com", headers=headers)
    again = await qstash.client.post("/v2/schedules/https://example.com", headers=headers)
    await qstash.client.delete(f"/v2/schedules/{first.json()['scheduleId']}")
    gone = await qstash.client.post("/v2/schedules/https://example.com", headers=headers)
    assert [one.status_code for one in (first, again, gone)] == [200, 202, 202]
    assert first.json() == again.json() == gone.json()
    assert (await qstash.client.get("/v2/schedules")).json() == []
    published = await qstash.client.post("/v2/publish/https://example.com", headers=lines)
    assert published.status_code == 201, "messages and schedules are no duplicates of each other"
    await qstash.advance("10m")
    assert (await qstash.client.post("/v2/schedules/https://example.com", headers=headers)).status_code == 200
