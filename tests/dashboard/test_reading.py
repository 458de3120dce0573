"""The dashboard's data: lists, one message's story, schedules, figures and the live feed."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from emulator.http.dashboard.feed import Feed
from emulator.http.dashboard.messages import _read_story
from emulator.store.queries import find_message
from emulator.testing import Harness, Receiver
from emulator.wire.redaction import redacted


async def _publish(
    qstash: Harness, target: str = "https://example.com/hook", body: bytes = b"{}", **headers: str
) -> str:
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    response = await qstash.client.post(f"/emulator/v2/publish/{target}", content=body, headers=lines)
    assert response.status_code == 201, response.text
    message_id: str = response.json()["messageId"]
    return message_id


async def _get(qstash: Harness, path: str, **params: Any) -> dict[str, Any]:
    response = await qstash.client.get(path, params=params)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def _ids(qstash: Harness, **params: Any) -> list[str]:
    return [one["messageId"] for one in (await _get(qstash, "/emulator/messages", **params))["messages"]]


async def test_messages_are_filtered_by_state_url_queue_label_time_and_text(
    qstash: Harness, receiver: Receiver
) -> None:
    receiver.answers = [200]
    done = await _publish(qstash, "https://example.com/a_b", b"needle in a body", Upstash_Label="red,blue")
    await qstash.settle()
    receiver.always = 500
    failed = await _publish(qstash, "https://example.com/fails", b"\x00\xffbytes", Upstash_Retries="0")
    waiting = await _publish(qstash, "https://example.com/axb", Upstash_Retries="3", Upstash_Label="redder")
    await qstash.settle()
    await qstash.advance("1s")
    late_at = qstash.now
    queued = await _publish(qstash, Upstash_Queue_Name="q1", Upstash_Delay="1h")
    assert await _ids(qstash) == [queued, waiting, failed, done]
    for wanted, parameters in (
        ([done], {"state": "DELIVERED"}),
        ([failed], {"state": "FAILED"}),
        ([queued, waiting], {"state": "CREATED,RETRY"}),
        ([], {"state": "ACTIVE"}),
        ([done], {"url": "/a_b"}),
        ([queued], {"queueName": "q1"}),
        ([done], {"label": "red"}),
        ([done], {"text": "needle"}),
        ([failed], {"text": failed[8:40]}),
        ([], {"text": "100%"}),
        ([queued], {"fromDate": late_at}),
        ([waiting, failed, done], {"toDate": late_at - 1}),
    ):
        assert await _ids(qstash, **parameters) == wanted, parameters
    refused = await qstash.client.get("/emulator/messages", params={"sate": "FAILED"})
    assert refused.status_code == 400
    assert "'sate'" in refused.json()["error"]


async def test_text_is_not_looked_for_in_redacted_bodies(qstash: Harness, receiver: Receiver) -> None:
    await _publish(qstash, body=b"my secret", Upstash_Redact_Fields="body")
    open_id = await _publish(qstash, body=b"no secret")
    assert await _ids(qstash, text="secret") == [open_id]


async def test_pages_follow_one_another_without_gaps(qstash: Harness, receiver: Receiver) -> None:
    made = [await _publish(qstash, Upstash_Delay="1h") for _ in range(7)]
    seen: list[str] = []
    before = None
    while True:
        page = await _get(qstash, "/emulator/messages", count=3, **({"before": before} if before else {}))
        assert page["total"] == 7
        seen += [one["messageId"] for one in page["messages"]]
        if (before := page.get("next")) is None:
            break
    assert seen == made[::-1]


async def test_an_attempt_under_way_is_shown_as_active(qstash: Harness, receiver: Receiver) -> None:
    receiver.gate = asyncio.Event()
    message_id = await _publish(qstash)
    story = await _get(qstash, f"/emulator/messages/{message_id}")
    assert story["summary"]["state"] == "ACTIVE"
    assert story["waitsFor"] == "an attempt is under way"
    assert story["attempts"][0]["outcome"] is None
    assert await _ids(qstash, state="ACTIVE") == [message_id]
    assert await _ids(qstash, state="CREATED") == []
    assert (await _get(qstash, "/emulator/overview"))["states"] == {"ACTIVE": 1}
    receiver.gate.set()
    await qstash.settle()


async def test_a_failing_messages_story(qstash: Harness, receiver: Receiver, callbacks: Receiver) -> None:
    receiver.answers = [(503, {"X-Why": "busy"}, b"try later"), (429, {"Retry-After": "60"}), 500, 500]
    start_at = qstash.now
    message_id = await _publish(
        qstash,
        body=b'{"a":1}',
        Content_Type="application/json",
        Upstash_Forward_X_Mine="1",
        Upstash_Failure_Callback="https://callback.com/failed",
    )
    await qstash.run_until_idle()
    story = await _get(qstash, f"/emulator/messages/{message_id}")
    attempts = story["attempts"]
    assert [one["number"] for one in attempts] == [1, 2, 3, 4]
    assert [one["outcome"] for one in attempts] == ["ERROR"] * 4
    assert attempts[0]["response"] == {
        "status": 503, "headers": [["x-why", "busy"], ["content-length", "9"]], "body": "try later",
    }  # fmt: skip
    assert attempts[0]["next"] == {
        "at": start_at + 12_182, "waitMs": 12_182, "rule": "default backoff, e^(2.5 × 1) seconds",
    }  # fmt: skip
    assert attempts[1]["next"]["rule"] == "as the response's retry-after asked"
    assert attempts[2]["next"]["rule"] == "default backoff, e^(2.5 × 3) seconds"
    assert "next" not in attempts[3]
    assert ["X-Mine", "1"] in attempts[0]["request"]["headers"]
    assert attempts[0]["request"]["isKept"]
    assert attempts[0]["signature"]["verifies"]
    assert attempts[0]["signature"]["key"] == "current"
    assert attempts[0]["signature"]["claims"]["sub"] == "https://example.com/hook"
    assert story["dlqId"]
    assert [one["url"] for one in story["callbacks"]] == ["https://callback.com/failed"]
    callback = await _get(qstash, f"/emulator/messages/{story['callbacks'][0]['messageId']}")
    assert callback["parent"]["messageId"] == message_id
    assert [step["state"] for step in story["history"]][-2:] == ["ERROR", "FAILED"]


async def test_what_was_sent_is_kept_with_the_attempt_and_outlives_the_process(tmp_path) -> None:
    path = str(tmp_path / "q.db")
    async with Harness(db=path) as qstash:
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount("https://example.com", receiver)
        message_id = await _publish(
            qstash,
            Upstash_Forward_Api_Key="hush",
            Upstash_Forward_Plain="shown",
            Upstash_Redact_Fields="header[Api-Key]",
        )
        await qstash.settle()
        [sent] = receiver.got
    async with Harness(db=path) as qstash:
        story = await _get(qstash, f"/emulator/messages/{message_id}")
        [kept] = qstash.emulator.writer.store.engine.connect().exec_driver_sql(
            "SELECT request_headers_json FROM log_entries WHERE request_headers_json IS NOT NULL"
        )
    [attempt] = story["attempts"]
    lines = {name.lower(): value for name, value in attempt["request"]["headers"]}
    assert attempt["request"]["isKept"]
    assert lines.pop("api-key") == redacted(b"hush")
    assert lines == {name: sent.headers[name] for name in lines}
    assert lines["plain"] == "shown"
    assert attempt["signature"]["verifies"]
    assert sent.headers["api-key"] == "hush"
    assert "hush" not in kept[0]


async def test_an_attempt_under_way_has_no_request_yet_and_one_that_was_cancelled_has(
    qstash: Harness, receiver: Receiver
) -> None:
    receiver.gate = asyncio.Event()
    receiver.always = 500
    message_id = await _publish(qstash)
    while not receiver.got:
        await asyncio.sleep(0)
    [attempt] = (await _get(qstash, f"/emulator/messages/{message_id}"))["attempts"]
    assert (attempt["request"]["isKept"], attempt["signature"]) == (False, None)
    await qstash.client.delete(
        f"/v2/messages/{message_id}", headers={"Authorization": f"Bearer {qstash.token}"}
    )
    receiver.gate.set()
    await qstash.settle()
    [attempt] = (await _get(qstash, f"/emulator/messages/{message_id}"))["attempts"]
    assert (attempt["outcome"], attempt["request"]["isKept"]) == ("CANCELED", True)
    assert attempt["signature"]["verifies"]


async def test_a_message_that_was_taken_away_is_not_found(qstash: Harness, receiver: Receiver) -> None:
    message_id = await _publish(qstash, Upstash_Delay="1h")
    store = qstash.runtime._writer.store
    stored = find_message(store, qstash.runtime.tenant.id, message_id)
    assert stored is not None
    await qstash.client.post("/emulator/reset")
    assert _read_story(store, qstash.runtime.tenant.id, stored.message, frozenset()) is None
    for path in ("", "/retry-now"):
        method = "POST" if path else "GET"
        assert (
            await qstash.client.request(method, f"/emulator/messages/{message_id}{path}")
        ).status_code == 404


async def test_the_retry_delay_expression_is_named_where_it_decided(
    qstash: Harness, receiver: Receiver
) -> None:
    receiver.answers = [500]
    message_id = await _publish(qstash, Upstash_Retry_Delay="1000 * (1 + retried)")
    await qstash.run_until_idle()
    [first, _] = (await _get(qstash, f"/emulator/messages/{message_id}"))["attempts"]
    assert first["next"]["rule"] == "Upstash-Retry-Delay: 1000 * (1 + retried), with retried = 0"


async def test_a_signature_is_said_to_verify_with_the_key_that_it_verifies_with(
    qstash: Harness, receiver: Receiver
) -> None:
    message_id = await _publish(qstash)
    await qstash.settle()

    async def signature() -> dict[str, Any]:
        [attempt] = (await _get(qstash, f"/emulator/messages/{message_id}"))["attempts"]
        found: dict[str, Any] = attempt["signature"]
        return found

    assert (await signature())["key"] == "current"
    await qstash.client.post("/emulator/v2/keys/rotate")
    assert (await signature())["key"] is None
    assert not (await signature())["verifies"]


async def test_what_is_redacted_stays_redacted_and_binary_stays_whole(
    qstash: Harness, receiver: Receiver
) -> None:
    secret = await _publish(
        qstash, body=b"s3cret", Upstash_Forward_X_Key="s3cret", Upstash_Redact_Fields="body,header"
    )
    await qstash.settle()
    assert "s3cret" not in json.dumps(await _get(qstash, f"/emulator/messages/{secret}"))
    binary = await _publish(qstash, body=b"\x00\xff\x10")
    story = await _get(qstash, f"/emulator/messages/{binary}")
    assert base64.b64decode(story["message"]["bodyBase64"]) == b"\x00\xff\x10"


async def test_a_fan_out_shows_its_siblings(qstash: Harness, receiver: Receiver) -> None:
    endpoints = [{"url": "https://example.com/1"}, {"url": "https://example.com/2"}]
    await qstash.client.post("/emulator/v2/topics/all/endpoints", json={"endpoints": endpoints})
    made = (await qstash.client.post("/emulator/v2/publish/all")).json()
    story = await _get(qstash, f"/emulator/messages/{made[0]['messageId']}")
    assert [one["messageId"] for one in story["siblings"]] == [made[1]["messageId"]]


async def test_why_a_message_waits_is_said(qstash: Harness, receiver: Receiver) -> None:
    async def reason(message_id: str) -> str:
        waits_for: str = (await _get(qstash, f"/emulator/messages/{message_id}"))["waitsFor"]
        return waits_for

    delayed = await _publish(qstash, Upstash_Delay="1h", Upstash_Queue_Name="q")
    behind = await _publish(qstash, Upstash_Queue_Name="q")
    assert await reason(delayed) == "its time has not come: its delay"
    assert await reason(behind) == "1 before it in queue q (parallelism 1)"
    await qstash.client.post("/emulator/v2/queues/q/pause")
    assert await reason(behind) == "queue q is paused"
    rated: Any = {"Upstash_Flow_Control_Key": "k", "Upstash_Flow_Control_Value": "rate=1,period=1m"}
    await _publish(qstash, **rated)
    over = await _publish(qstash, **rated)
    assert await reason(over) == "flow-control key k has used up its 1 in 60 s"
    await qstash.client.post("/emulator/v2/flowControl/k/pause")
    assert await reason(over) == "flow-control key k is paused"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            "per_origin",
            "origin busy: https://example.com:443 has 2 attempts under way, as many as it may (per_origin)",
        ),
        ("capacity", "emulator busy: 2 attempts are under way, as many as may be (capacity)"),
    ],
)
async def test_what_waits_behind_attempts_without_an_answer_says_so(setting: str, words: str) -> None:
    options: dict[str, Any] = {setting: 2}
    async with Harness(**options) as qstash:
        silent = Receiver(now=lambda: qstash.now, gate=asyncio.Event())
        assert silent.gate is not None
        qstash.mount("https://example.com", silent)
        waiting = [await _publish(qstash) for _ in range(3)][-1]
        while len(silent.got) < 2:
            await asyncio.sleep(0)
        assert (await _get(qstash, f"/emulator/messages/{waiting}"))["waitsFor"] == words
        listed = (await _get(qstash, "/emulator/messages"))["messages"]
        [outcome] = [one["outcome"] for one in listed if one["messageId"] == waiting]
        assert outcome["why"] == words
        assert len(silent.got) == 2
        silent.gate.set()
        await qstash.settle()
        assert len(silent.got) == 3


async def test_retry_now_brings_the_next_attempt_forward(qstash: Harness, receiver: Receiver) -> None:
    receiver.answers = [500]
    start_at = qstash.now
    message_id = await _publish(qstash)
    await qstash.settle()
    response = await qstash.client.post(f"/emulator/messages/{message_id}/retry-now")
    assert response.status_code == 200, response.text
    await qstash.settle()
    assert [one.at for one in receiver.got] == [start_at, start_at]
    again = await qstash.client.post(f"/emulator/messages/{message_id}/retry-now")
    assert again.status_code == 409
    assert "it has finished" in again.json()["error"]


async def test_dead_letters_come_with_the_answers_own_words_and_what_to_do(
    qstash: Harness, receiver: Receiver
) -> None:
    receiver.answers = [
        (503, {"Content-Type": "application/json"}, b'{"detail": {"message": "the printer is warming up"}}'),
        (401, {}, b"\xff\x00"),
    ]
    broken = await _publish(qstash, Upstash_Retries="0")
    await qstash.settle()
    locked = await _publish(qstash, Upstash_Retries="0")
    dead = await _publish(qstash, "http://127.0.0.1:9/nobody", Upstash_Retries="0")
    await qstash.settle()
    page = await _get(qstash, "/emulator/dlq", count=100)
    reasons = {one["messageId"]: one["reason"] for one in page["messages"]}
    assert reasons[broken] == {"words": "the printer is warming up", "advice": None, "step": None}
    assert reasons[locked]["words"] is None
    assert "QSTASH_CURRENT_SIGNING_KEY" in reasons[locked]["advice"]
    assert "refused" in reasons[dead]["words"]
    [one] = (await _get(qstash, "/emulator/dlq", count=1))["messages"]
    assert one["messageId"] in reasons
    receiver.always = (500, {"Upstash-Error-Step-Name": "charge"}, b'{"error":"Error","message":"no funds"}')
    await qstash.client.post("/v2/trigger/https://example.com/pay", headers={"Upstash-Retries": "0"})
    await qstash.settle()
    [run] = (await _get(qstash, "/emulator/dlq", source="workflow"))["messages"]
    assert run["reason"] == {"words": "Error: no funds", "advice": None, "step": "charge"}


async def test_schedules_show_their_firings_in_their_zone_and_run_now_leaves_the_next_time(
    qstash: Harness, receiver: Receiver
) -> None:
    made = await qstash.client.post(
        "/emulator/v2/schedules/https://example.com/report",
        headers={"Upstash-Cron": "CRON_TZ=Europe/Berlin 30 9 * * *", "Upstash-Schedule-Id": "daily"},
    )
    assert made.status_code == 200
    [listed] = (await _get(qstash, "/emulator/schedules"))["schedules"]
    assert listed["zone"] == "Europe/Berlin"
    assert listed["firingsLocal"][:2] == ["2026-06-02T09:30+02:00", "2026-06-03T09:30+02:00"]
    assert len(listed["firings"]) == 10
    next_at = listed["schedule"]["nextScheduleTime"]
    fired = await qstash.client.post("/emulator/schedules/daily/run-now")
    await qstash.settle()
    one = await _get(qstash, "/emulator/schedules/daily")
    assert [made["messageId"] for made in one["history"]] == fired.json()["messageIds"]
    assert one["schedule"]["nextScheduleTime"] == next_at
    assert one["schedule"]["lastScheduleStates"] == {fired.json()["messageIds"][0]: "SUCCESS"}
    assert (await qstash.client.post("/emulator/schedules/nobody/run-now")).status_code == 404


async def test_the_overview_counts_what_happened(qstash: Harness, receiver: Receiver) -> None:
    receiver.answers = [200, 200, 500, 500]
    for path in ("ok", "ok"):
        await _publish(qstash, f"https://example.com/{path}?x=1")
    await _publish(qstash, "https://example.com/bad", Upstash_Retries="1")
    await qstash.run_until_idle()
    figures = await _get(qstash, "/emulator/overview", windowSeconds=600)
    assert (figures["accepted"], figures["delivered"], figures["failed"], figures["attempts"]) == (3, 2, 1, 4)
    assert figures["successRate"] == 2 / 3
    assert figures["latenessMs"]["max"] == 0
    assert figures["deadLetters"] == 1
    [failing] = figures["failing"]
    assert (failing["destination"], failing["errors"]) == ("https://example.com/bad", 2)
    assert sum(bucket["delivered"] for bucket in figures["buckets"]) == 2


async def test_queues_show_what_is_in_them_and_under_way(qstash: Harness, receiver: Receiver) -> None:
    receiver.gate = asyncio.Event()
    for _ in range(3):
        await _publish(qstash, Upstash_Queue_Name="q")
    found = await _get(qstash, "/emulator/queues")
    [queue] = found["queues"]
    assert (queue["lag"], queue["inFlight"]) == (3, 1)
    receiver.gate.set()
    await qstash.settle()


async def _read_events(stream: AsyncIterator[bytes], until: str) -> list[tuple[str, dict[str, Any], str]]:
    """(event, data, id) of each event up to the one called ``until``."""
    seen: list[tuple[str, dict[str, Any], str]] = []
    async for chunk in stream:
        for block in chunk.decode().strip().split("\n\n"):
            fields = dict(
                line.partition(": ")[::2] for line in block.splitlines() if not line.startswith(":")
            )
            if fields:
                seen.append((fields["event"], json.loads(fields["data"]), fields.get("id", "")))
        if seen and seen[-1][0] == until:
            return seen
    return seen


async def test_the_feed_tells_each_step_once_and_takes_up_where_it_was_cut(
    qstash: Harness, receiver: Receiver
) -> None:
    others = list(qstash.runtime.observers)
    stream = Feed(qstash.runtime, None).events()
    await _read_events(stream, "hello")
    message_id = await _publish(qstash)
    await qstash.settle()
    told = await _read_events(stream, "changed")
    steps = [(data["state"], data["messageId"]) for event, data, _ in told if event == "step"]
    assert steps == [(state, message_id) for state in ("CREATED", "ACTIVE", "DELIVERED")]
    await stream.aclose()
    assert qstash.runtime.observers == others
    second_id = told[1][2]
    again = Feed(qstash.runtime, int(second_id)).events()
    await _read_events(again, "hello")
    assert [data["state"] for _, data, _ in await _read_events(again, "step")] == ["DELIVERED"]
    await again.aclose()


async def test_the_feed_survives_a_reset_and_ends_with_the_server(
    qstash: Harness, receiver: Receiver
) -> None:
    await _publish(qstash)
    await qstash.settle()
    stream = Feed(qstash.runtime, None).events()
    await _read_events(stream, "hello")
    await qstash.client.post("/emulator/reset")
    assert [event for event, _, _ in await _read_events(stream, "changed")] == ["cleared", "changed"]
    await _publish(qstash)
    await qstash.settle()
    told = await _read_events(stream, "changed")
    assert [data["state"] for event, data, _ in told if event == "step"] == ["CREATED", "ACTIVE", "DELIVERED"]
    qstash.runtime.end_streams()
    assert [event async for event in stream if b"event:" in event] == []


async def test_the_feed_goes_on_after_an_import_without_telling_old_steps_again(
    qstash: Harness, receiver: Receiver
) -> None:
    await _publish(qstash)
    await qstash.settle()
    exported = (await qstash.client.get("/emulator/export")).json()
    stream = Feed(qstash.runtime, None).events()
    await _read_events(stream, "hello")
    imported = await qstash.client.post("/emulator/import", json=exported)
    assert imported.status_code == 200, imported.text
    assert [event for event, _, _ in await _read_events(stream, "changed")] == ["cleared", "changed"]
    message_id = await _publish(qstash)
    await qstash.settle()
    told = await _read_events(stream, "changed")
    assert {data["messageId"] for event, data, _ in told if event == "step"} == {message_id}
    await stream.aclose()


async def test_callbacks_are_still_linked_after_an_import(
    qstash: Harness, receiver: Receiver, callbacks: Receiver
) -> None:
    message_id = await _publish(qstash, Upstash_Callback="https://callback.com/done")
    await qstash.settle()
    exported = (await qstash.client.get("/emulator/export")).json()
    other = qstash.make_client(qstash.emulator.runtimes[1].tenant.token)
    await qstash.client.post("/emulator/reset")
    assert (await other.post("/emulator/import", json=exported)).status_code == 200
    story = (await other.get(f"/emulator/messages/{message_id}")).json()
    assert [one["url"] for one in story["callbacks"]] == ["https://callback.com/done"]


async def test_a_bad_last_event_id_is_refused(qstash: Harness) -> None:
    response = await qstash.client.get("/emulator/events", headers={"Last-Event-ID": "x"})
    assert response.status_code == 400
