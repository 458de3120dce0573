"""The official suites' tests of messages and of cancelling them (contract 7.2)."""

import json
from typing import Any

import pytest
from qstash.errors import QStashError

from tests.conformance.account import DEAD_LETTER_SECONDS, Account

# On one worker: two servers are started for all of them.
pytestmark = pytest.mark.xdist_group("conformance")


def _delayed(account: Account, *urls: str, **headers: str) -> list[str]:
    items = [{"destination": url, "headers": {"Upstash-Delay": "1h", **headers}} for url in urls]
    return [one["messageId"] for one in account.http.post("/v2/batch", json=items).json()]


def _cancel(account: Account, **parameters: Any) -> dict[str, int]:
    response = account.http.delete("/v2/messages", params=parameters)
    assert response.status_code == 202, response.text
    answer: dict[str, int] = response.json()
    return answer


def test_a_message_with_many_options_is_shown_and_cancelled(account) -> None:
    published = account.sdk.message.publish(
        url="https://example.com",
        delay="10d",
        retries=5,
        method="GET",
        headers={"Test-Header": "test-value"},
        callback="https://example.com/callback",
        failure_callback="https://example.com/failed",
        retry_delay="1000 * (1 + retried)",
    )
    message = account.message(published.message_id)
    assert message["header"]["Test-Header"] == ["test-value"]
    assert message["retryDelayExpression"] == "1000 * (1 + retried)"
    account.sdk.message.cancel(published.message_id)


def test_a_message_just_published_can_be_cancelled(account) -> None:
    message_id = account.publish("https://example.com")
    response = account.http.delete(f"/v2/messages/{message_id}")
    assert (response.status_code, response.json()) == (202, {"cancelled": 1})


def test_finished_messages_do_not_count_as_cancelled(account) -> None:
    label = account.named("label")
    done = account.publish("https://httpbin.org/status/200", Upstash_Label=label)
    account.delivered(done)
    urls = (f"https://example.com/{number}" for number in range(3))
    ids = _delayed(account, *urls, **{"Upstash-Label": label})
    assert _cancel(account, messageIds=ids[:2]) == {"cancelled": 2}
    assert _cancel(account, label=label, count=100) == {"cancelled": 1}
    with pytest.raises(QStashError):
        account.sdk.message.cancel(done)


def test_flow_control_is_shown_in_numbers(account) -> None:
    message = account.message(
        account.publish(
            "https://example.com",
            Upstash_Flow_Control_Key=account.named("key"),
            Upstash_Flow_Control_Value="parallelism=3, rate=5, period=1d",
            Upstash_Delay="1h",
        )
    )
    assert (message["parallelism"], message["rate"], message["period"]) == (3, 5, 86_400)


def test_messages_are_cancelled_by_flow_control_key(account) -> None:
    value = {"Upstash-Flow-Control-Value": "parallelism=1"}
    url = "https://example.com/x"
    one, two, three, four = (account.named(name) for name in ("one", "two", "three", "four"))
    for key in (one, one, two, three):
        _delayed(account, url, **{"Upstash-Flow-Control-Key": key}, **value)
    assert _cancel(account, flowControlKey=one, count=100)["cancelled"] >= 2
    [survivor] = _delayed(account, url, **{"Upstash-Flow-Control-Key": four}, **value)
    assert _cancel(account, flowControlKey=[two, three], count=100) == {"cancelled": 2}
    assert account.message(survivor)["flowControlKey"] == four
    assert _cancel(account, messageIds=survivor) == {"cancelled": 1}


def test_messages_are_cancelled_by_path_and_by_host(account) -> None:
    one, two, label = account.named("a"), account.named("b"), account.named("label")
    _delayed(account, f"https://example.com/{one}", f"https://example.com/{two}?x=1")
    [survivor] = _delayed(account, "https://example.com/c", **{"Upstash-Label": label})
    [elsewhere] = _delayed(account, "https://example.org/d", **{"Upstash-Label": label})
    assert _cancel(account, path=[f"/{one}", f"/{two}"]) == {"cancelled": 2}
    assert _cancel(account, host="example.com", label=label) == {"cancelled": 1}
    assert _cancel(account, messageIds=[survivor, elsewhere]) == {"cancelled": 1}


def test_a_count_is_ignored_and_every_match_is_cancelled(account) -> None:
    """The newest SDK sends ``count=100`` with every filter."""
    label = account.named("label")
    _delayed(account, *["https://example.com/x"] * 2, **{"Upstash-Label": label})
    assert _cancel(account, label=label, count=1) == {"cancelled": 2}
    assert _cancel(account, label=label) == {"cancelled": 0}


@pytest.mark.emulator_only("it cancels whatever waits in the account")
def test_without_a_filter_all_are_cancelled_whatever_the_count(account) -> None:
    _delayed(account, *["https://example.com/x"] * 4)
    assert _cancel(account, count=1) == {"cancelled": 4}
    assert account.sdk.message.cancel_all() == 0


def test_messages_that_wait_for_a_retry_can_be_cancelled(account) -> None:
    ids = [
        account.publish("https://httpstat.us/404", Upstash_Retries="3", Upstash_Retry_Delay="60000")
        for _ in range(4)
    ]
    for message_id in ids:
        account.eventually(
            lambda message_id=message_id: "RETRY" in account.states(message_id), DEAD_LETTER_SECONDS
        )
    assert account.sdk.message.cancel_many(ids[:2]) == 2
    assert _cancel(account, messageIds=ids) == {"cancelled": 2}


def test_messages_are_cancelled_by_a_body_of_ids(account) -> None:
    ids = _delayed(account, *["https://example.com/x"] * 6)
    kind = {"Content-Type": "application/json"}
    many = account.http.request(
        "DELETE", "/v2/messages", content=json.dumps({"messageIds": ids[:5]}), headers=kind
    ).json()
    assert many == {"cancelled": 5}


@pytest.mark.emulator_only("it cancels whatever waits in the account")
def test_an_empty_body_with_a_content_type_cancels_all(account) -> None:
    _delayed(account, "https://example.com/x")
    kind = {"Content-Type": "application/json"}
    every = account.http.request("DELETE", "/v2/messages", headers=kind).json()
    assert every["cancelled"] > 0
    assert all(isinstance(value, int) for value in every.values())
