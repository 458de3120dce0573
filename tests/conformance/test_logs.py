"""What the official suites expect of logs (contract, 7.4)."""

import time

from qstash.log import LogState


def _publish_two(account, **headers: str) -> tuple[str, str]:
    return (
        account.publish("https://httpbin.org/status/200", Upstash_Label="one,first", **headers),
        account.publish("https://one.requestcatcher.com/path", Upstash_Label="two", **headers),
    )


def _ids(account, **filters: object) -> set[str]:
    return {event["messageId"] for event in account.get("/v2/events", **filters)["events"]}


def test_entries_are_found_by_label_and_url(account) -> None:
    one, two = _publish_two(account)
    account.publish("https://two.requestcatcher.com", Upstash_Label="three")
    [*_, newest] = account.get("/v2/events", label="first")["events"]
    assert (newest["messageId"], newest["label"], newest["labels"]) == (one, "one", ["one", "first"])
    assert _ids(account, label=["one", "two"]) == {one, two}
    urls = ["https://httpbin.org/status/200", "https://one.requestcatcher.com/path"]
    assert _ids(account, url=urls) == {one, two}


def test_host_and_path_tell_entries_apart(account) -> None:
    one, two = _publish_two(account)
    assert _ids(account, host="httpbin.org") == {one}
    assert _ids(account, path="/path") == {two}
    assert _ids(account, host="httpbin.org", path="/path") == set()


def test_one_entry_at_a_time_and_no_cursor_without_a_match(account) -> None:
    _publish_two(account)
    answer = account.get("/v2/events", count=1)
    assert (len(answer["events"]), "cursor" in answer) == (1, True)
    assert account.get("/v2/events", label="nobody") == {"events": []}


def test_every_state_is_one_that_the_sdk_knows(account) -> None:
    failed = account.publish("https://httpstat.us/404", Upstash_Retries="0")
    cancelled = account.publish("https://example.com/x", Upstash_Delay="1h")
    retried = account.publish("https://httpstat.us/500", Upstash_Retries="1")
    account.delivered(account.publish("https://httpbin.org/status/200"))
    account.sdk.message.cancel(cancelled)
    account.eventually(lambda: account.dead_letters(messageId=failed), 10)
    account.eventually(lambda: "RETRY" in account.states(retried), 10)
    states = {one.state for one in account.sdk.log.list().logs}
    assert states == set(LogState) - {LogState.IN_PROGRESS}


def test_a_hundred_failures_are_exactly_four_hundred_entries(account) -> None:
    start_at = time.time_ns() // 1_000_000  # noqa: TID251  the service's clock is the machine's
    items = [
        {"destination": "https://example.com/broken", "headers": {"Upstash-Retries": "0"}} for _ in range(100)
    ]
    assert account.http.post("/v2/batch", json=items).is_success
    account.eventually(lambda: len(account.get("/v2/events", state="FAILED")["events"]) == 100, 10)
    answer = account.get("/v2/events", fromDate=start_at)
    assert (len(answer["events"]), "cursor" in answer) == (400, False)


def test_one_state_of_one_message_is_one_entry(account) -> None:
    message_id = account.publish("https://httpbin.org/status/200")
    account.delivered(message_id)
    events = account.get("/v2/events", messageId=message_id, state="DELIVERED")["events"]
    assert [event["state"] for event in events] == ["DELIVERED"]
