"""The official suites' tests of queues, schedules, URL groups, flow control and keys (contract 7.5)."""

import time
from typing import Any

import pytest

from tests.conformance.account import Account

# On one worker: two servers are started for all of them.
pytestmark = pytest.mark.xdist_group("conformance")


def test_queues_are_made_listed_and_deleted(account) -> None:
    one, two = account.named("one"), account.named("two")
    account.sdk.queue.upsert(one, parallelism=1)
    assert account.sdk.queue.get(one).name == one
    assert one in {queue.name for queue in account.sdk.queue.list()}
    account.sdk.queue.upsert(two, parallelism=2)
    assert {queue["name"] for queue in account.mine("queues")} == {one, two}
    for name in (one, two):
        account.sdk.queue.delete(name)
    assert account.mine("queues") == []


@pytest.mark.emulator_only("it needs an account in which there is nothing")
def test_where_nothing_is_lists_are_empty(account) -> None:
    for path in ("queues", "topics", "schedules"):
        assert account.get(f"/v2/{path}") == []
    assert (account.sdk.queue.list(), account.sdk.url_group.list(), account.sdk.schedule.list()) == (
        [],
        [],
        [],
    )


def test_queues_are_paused_and_changed_at_once(account) -> None:
    name = account.named("queue")
    account.sdk.queue.upsert(name, parallelism=1)
    account.sdk.queue.pause(name)
    assert account.sdk.queue.get(name).paused
    account.sdk.queue.resume(name)
    assert not account.sdk.queue.get(name).paused
    account.sdk.queue.upsert(name, parallelism=2, paused=True)
    assert (account.sdk.queue.get(name).parallelism, account.sdk.queue.get(name).paused) == (2, True)
    account.sdk.queue.upsert(name, parallelism=2)
    assert not account.sdk.queue.get(name).paused


def _schedule(account: Account, destination: str, content: str = "", **headers: str) -> dict[str, Any]:
    lines = {"Upstash-Cron": "* * * * *"} | {name.replace("_", "-"): one for name, one in headers.items()}
    response = account.http.post(f"/v2/schedules/{destination}", content=content, headers=lines)
    assert response.is_success, response.text
    schedule: dict[str, Any] = account.get(f"/v2/Schedules/{response.json()['scheduleId']}")
    return schedule


def test_a_schedule_shows_all_that_it_was_made_of(account) -> None:
    queue = account.named("queue")
    schedule = _schedule(
        account,
        "https://example.com/",
        '{"hello":"world"}',
        Upstash_Cron="* * * * *",
        Upstash_Method="GET",
        Content_Type="application/json",
        Upstash_Forward_test_header="test-value",
        Upstash_Forward_bypass_tunnel_reminder="client-test",
        Upstash_Retries="5",
        Upstash_Delay="10s",
        Upstash_Callback="https://example.com/callback",
        Upstash_Failure_Callback="https://example.com/failed",
        Upstash_Queue_Name=queue,
        Upstash_Telemetry_Sdk="sdk@1",
    )
    assert (schedule["cron"], schedule["destination"], schedule["method"]) == (
        "* * * * *",
        "https://example.com/",
        "GET",
    )
    assert schedule["header"] == {
        "Content-Type": ["application/json"],
        "Test-Header": ["test-value"],
        "Bypass-Tunnel-Reminder": ["client-test"],
    }
    assert (schedule["body"], schedule["retries"], schedule["delay"]) == ('{"hello":"world"}', 5, 10)
    assert (schedule["callback"], schedule["failureCallback"], schedule["queueName"]) == (
        "https://example.com/callback",
        "https://example.com/failed",
        queue,
    )


def test_schedules_are_listed_with_their_labels(account) -> None:
    labels = [account.named("one"), account.named("two")]
    made = [
        _schedule(account, "https://example.com/x", Upstash_Label=label)["scheduleId"] for label in labels
    ]
    listed = account.mine("schedules")
    assert {one["scheduleId"]: one["label"] for one in listed} == dict(zip(made, labels, strict=True))


def test_schedules_are_paused_and_resumed_by_patch(account) -> None:
    schedule_id = _schedule(account, "https://example.com")["scheduleId"]
    for step, is_paused in (("pause", True), ("resume", False)):
        assert account.http.patch(f"/v2/schedules/{schedule_id}/{step}").is_success
        assert account.get(f"/v2/schedules/{schedule_id}")["isPaused"] is is_paused


def test_a_schedule_made_again_replaces_the_first(account) -> None:
    mine = account.named("mine")
    _schedule(account, "https://example.com/1", "body", Upstash_Schedule_Id=mine)
    _schedule(account, "https://example.com/2", Upstash_Schedule_Id=mine)
    [schedule] = account.mine("schedules")
    assert (schedule["scheduleId"], schedule["destination"]) == (mine, "https://example.com/2")
    assert "body" not in schedule


def test_a_schedule_shows_flow_control_and_retry_delay(account) -> None:
    key = account.named("key")
    schedule = _schedule(
        account,
        "https://example.com",
        Upstash_Flow_Control_Key=key,
        Upstash_Flow_Control_Value="parallelism=1, rate=2, period=1d",
        Upstash_Retry_Delay="1000",
    )
    shown = [schedule[name] for name in ("flowControlKey", "parallelism", "rate", "period")]
    assert shown == [key, 1, 2, 86_400]
    assert schedule["retryDelayExpression"] == "1000"


def test_the_official_sdk_makes_reads_pauses_and_deletes_schedules(account) -> None:
    key, queue, label = (account.named(name) for name in ("key", "queue", "label"))
    schedule_id = account.sdk.schedule.create_json(
        cron="1 1 1 1 1",
        destination="https://example.com",
        body={"a": 1},
        retry_delay="7000 * retried",
        flow_control={"key": key, "parallelism": 2},
        queue=queue,
        label=label,
    )
    schedule = account.sdk.schedule.get(schedule_id)
    assert schedule.schedule_id in {one.schedule_id for one in account.sdk.schedule.list()}
    assert (schedule.cron, schedule.destination) == ("1 1 1 1 1", "https://example.com")
    assert (schedule.retries, schedule.retry_delay_expression) == (3, "7000 * retried")
    assert (schedule.flow_control.rate, schedule.flow_control.parallelism) == (None, 2)
    assert schedule.flow_control.period == 1
    assert (schedule.queue, schedule.label, schedule.paused) == (queue, label, False)
    account.sdk.schedule.pause(schedule_id)
    assert account.sdk.schedule.get(schedule_id).paused
    account.sdk.schedule.resume(schedule_id)
    assert not account.sdk.schedule.get(schedule_id).paused
    account.sdk.schedule.delete(schedule_id)
    assert account.mine("schedules") == []


def test_groups_keep_their_endpoints_in_order_with_names(account) -> None:
    before_at = time.time_ns() // 1_000_000  # noqa: TID251  the service's clock is the machine's
    name = account.named("group")
    account.sdk.url_group.delete(name)
    account.sdk.url_group.upsert_endpoints(
        name, [{"url": "https://example.com", "name": "first one"}, {"url": "https://example.net"}]
    )
    account.sdk.url_group.upsert_endpoints(name, [{"url": "https://example.org", "name": "three"}])
    [group] = account.mine("topics")
    assert group["endpoints"] == [
        {"url": "https://example.com", "name": "first one"},
        {"url": "https://example.net"},
        {"url": "https://example.org", "name": "three"},
    ]
    assert group["createdAt"] > before_at
    assert group["updatedAt"] > before_at


def test_removing_one_endpoint_leaves_the_other(account) -> None:
    name = account.named("group")
    account.sdk.url_group.upsert_endpoints(name, [{"url": "https://a.com"}, {"url": "https://b.com"}])
    account.sdk.url_group.remove_endpoints(name, [{"url": "https://a.com"}])
    assert [one.url for one in account.sdk.url_group.get(name).endpoints] == ["https://b.com"]
    account.sdk.url_group.delete(name)
    assert account.mine("topics") == []


def _with_key(account: Account, url: str = "https://example.com/x", **headers: str) -> str:
    key = account.named("key")
    return account.publish(
        url, Upstash_Flow_Control_Key=key, Upstash_Flow_Control_Value="parallelism=1, rate=1", **headers
    )


def test_a_flow_control_key_is_there_right_after_publishing(account) -> None:
    _with_key(account, Upstash_Delay="1h")
    key = account.named("key")
    shown = account.get(f"/v2/flowControl/{key}")
    assert shown["flowControlKey"] == key
    assert all(type(shown[name]) is int for name in ("waitListSize", "parallelismMax", "parallelismCount"))
    assert [one["flowControlKey"] for one in account.get("/v2/flowControl", search=key[1:])] == [key]


def test_a_flow_control_key_is_paused_and_resumed_at_once(account) -> None:
    _with_key(account, Upstash_Delay="1h")
    key = account.named("key")
    account.sdk.flow_control.pause(key)
    assert account.sdk.flow_control.get(key).is_paused
    account.sdk.flow_control.resume(key)
    assert not account.sdk.flow_control.get(key).is_paused


@pytest.mark.parametrize("unpinned", [{"parallelism": True, "rate": True}, {"parallelism": True}])
def test_limits_are_pinned_and_unpinned(account, unpinned: Any) -> None:
    _with_key(account, Upstash_Delay="1h")
    key = account.named("key")
    account.sdk.flow_control.pin(key, {"parallelism": 3, "rate": 20, "period": 120})
    pinned = account.sdk.flow_control.get(key)
    assert (pinned.parallelism_max, pinned.rate_max, pinned.rate_period) == (3, 20, 120)
    assert (pinned.is_pinned_parallelism, pinned.is_pinned_rate) == (True, True)
    account.sdk.flow_control.unpin(key, unpinned)
    after = account.sdk.flow_control.get(key)
    assert (after.is_pinned_parallelism, after.is_pinned_rate) == (False, "rate" not in unpinned)


@pytest.mark.parametrize("is_paused", [True, False])
def test_the_rate_is_counted_anew_while_an_attempt_is_in_flight(account, is_paused: bool) -> None:
    key = account.named("key")
    message_id = _with_key(account, "https://mock.httpstatus.io/200?sleep=3000")
    account.eventually(lambda: "ACTIVE" in account.states(message_id), 10)
    if is_paused:
        account.sdk.flow_control.pause(key)
    account.sdk.flow_control.reset_rate(key)
    account.eventually(lambda: account.sdk.flow_control.get(key).rate_count == 0, 10)
    # A cancel of what is in flight is a success (contract 5.8).
    account.sdk.message.cancel(message_id)


def test_global_parallelism_is_two_numbers(account) -> None:
    answer = account.get("/v2/globalParallelism")
    assert {name: type(value) for name, value in answer.items()} == {
        "parallelismMax": int,
        "parallelismCount": int,
    }


def test_the_keys_are_the_environments(account) -> None:
    keys = account.sdk.signing_key.get()
    assert (keys.current, keys.next) == (account.current_signing_key, account.next_signing_key)


def test_the_probe_of_development_mode_is_answered(account) -> None:
    response = account.http.get("/v2/keys")
    assert response.status_code == 200
    assert response.json() == {"current": account.current_signing_key, "next": account.next_signing_key}
