"""The official suites' tests of logs (contract 7.4)."""

import time

import pytest
from qstash.log import LogState

from tests.conformance.account import DEAD_LETTER_SECONDS

# On one worker: two servers are started for all of them.
pytestmark = pytest.mark.xdist_group("conformance")


def _publish_two(account) -> tuple[str, str]:
    one, first, two, path = (account.named(name) for name in ("one", "first", "two", "path"))
    return (
        account.publish(f"https://httpbin.org/status/200?{path}", Upstash_Label=f"{one},{first}"),
        account.publish(f"https://one.requestcatcher.com/{path}", Upstash_Label=two),
    )


def _ids(account, **filters: object) -> set[str]:
    return {event["messageId"] for event in account.get("/v2/events", **filters)["events"]}


def test_entries_are_found_by_label_and_url(account) -> None:
    one, two = _publish_two(account)
    first, second, path = (account.named(name) for name in ("one", "two", "path"))
    account.publish("https://two.requestcatcher.com", Upstash_Label=account.named("three"))
    account.agrees(lambda: _ids(account, label=account.named("first")), {one})
    [*_, newest] = account.get("/v2/events", label=account.named("first"))["events"]
    assert (newest["label"], newest["labels"]) == (first, [first, account.named("first")])
    account.agrees(lambda: _ids(account, label=[first, second]), {one, two})
    urls = [f"https://httpbin.org/status/200?{path}", f"https://one.requestcatcher.com/{path}"]
    account.agrees(lambda: _ids(account, url=urls), {one, two})


def test_host_and_path_tell_entries_apart(account) -> None:
    one, two = _publish_two(account)
    labels, path = [account.named("one"), account.named("two")], f"/{account.named('path')}"
    account.agrees(lambda: _ids(account, label=labels), {one, two})
    account.agrees(lambda: _ids(account, host="httpbin.org", label=labels), {one})
    account.agrees(lambda: _ids(account, path=path), {two})
    assert _ids(account, host="httpbin.org", path=path) == set()


def test_one_entry_at_a_time_and_no_cursor_without_a_match(account) -> None:
    one, two = _publish_two(account)
    account.agrees(lambda: _ids(account, label=[account.named("one"), account.named("two")]), {one, two})
    answer = account.get("/v2/events", count=1)
    assert (len(answer["events"]), "cursor" in answer) == (1, True)
    assert account.get("/v2/events", label=account.named("nobody")) == {"events": []}


def test_every_state_is_one_that_the_sdk_knows(account) -> None:
    label = account.named("label")
    failed = account.publish("https://httpstat.us/404", Upstash_Retries="0", Upstash_Label=label)
    cancelled = account.publish("https://example.com/x", Upstash_Delay="1h", Upstash_Label=label)
    retried = account.publish("https://httpstat.us/500", Upstash_Retries="1", Upstash_Label=label)
    account.delivered(account.publish("https://httpbin.org/status/200", Upstash_Label=label))
    account.sdk.message.cancel(cancelled)
    account.eventually(lambda: account.dead_letters(messageId=failed), DEAD_LETTER_SECONDS)
    account.eventually(lambda: "RETRY" in account.states(retried), DEAD_LETTER_SECONDS)
    account.agrees(
        lambda: {one.state for one in account.sdk.log.list(filter={"label": label}).logs},
        set(LogState) - {LogState.IN_PROGRESS},
    )


def test_a_hundred_failures_are_exactly_four_hundred_entries(account) -> None:
    start_at = time.time_ns() // 1_000_000  # noqa: TID251  the service's clock is the machine's
    headers = {"Upstash-Retries": "0", "Upstash-Label": account.named("label")}
    items = [{"destination": "https://example.com/broken", "headers": headers} for _ in range(100)]
    assert account.http.post("/v2/batch", json=items).is_success
    mine = {"label": account.named("label")}
    account.agrees(
        lambda: len(account.get("/v2/events", state="FAILED", **mine)["events"]), 100, DEAD_LETTER_SECONDS
    )
    answer = account.get("/v2/events", fromDate=start_at, **mine)
    assert (len(answer["events"]), "cursor" in answer) == (400, False)


def test_one_state_of_one_message_is_one_entry(account) -> None:
    message_id = account.publish("https://httpbin.org/status/200")
    account.delivered(message_id)
    events = account.get("/v2/events", messageId=message_id, state="DELIVERED")["events"]
    assert [event["state"] for event in events] == ["DELIVERED"]
