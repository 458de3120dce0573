"""What the official suites expect of the dead letter queue (contract, 7.3)."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from qstash.errors import QStashError

from emulator.testing import ServerProcess
from tests.conformance.conftest import Account

_BROKEN = "https://httpstat.us/404"


def _fail(account: Account, count: int = 1, url: str = _BROKEN, **headers: str) -> list[dict[str, Any]]:
    """Publish ``count`` messages that fail at once, and return their entries, oldest first."""
    ids = [account.publish(url, "body", Upstash_Retries="0", **headers) for _ in range(count)]

    def found() -> list[dict[str, Any]]:
        entries = [one for message_id in ids for one in account.dead_letters(messageId=message_id)]
        return entries if len(entries) == count else []

    return account.eventually(found, 10)


def _delete(account: Account, **parameters: Any) -> dict[str, Any]:
    response = account.http.delete("/v2/dlq", params=parameters)
    assert response.is_success, response.text
    answer: dict[str, Any] = response.json()
    return answer


def _retry(account: Account, **parameters: Any) -> dict[str, Any]:
    response = account.http.post("/v2/dlq/retry", params=parameters)
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_a_failed_message_is_listed_once_and_deleted_once(account) -> None:
    [entry] = _fail(account)
    assert account.http.delete(f"/v2/dlq/{entry['dlqId']}").is_success
    assert account.dead_letters(messageId=entry["messageId"]) == []
    assert not account.http.delete(f"/v2/dlq/{entry['dlqId']}").is_success


def test_the_entry_of_a_group_is_found_by_its_name(account) -> None:
    account.sdk.url_group.upsert_endpoints("group", [{"url": "https://example.com/broken"}])
    [published] = account.http.post("/v2/publish/group", headers={"Upstash-Retries": "0"}).json()
    _fail(account)
    [entry] = account.eventually(lambda: account.dead_letters(topicName="group"), 10)
    assert (entry["messageId"], entry["topicName"]) == (published["messageId"], "group")


def test_an_entry_shows_flow_control_and_retry_delay(account) -> None:
    [entry] = _fail(
        account,
        Upstash_Flow_Control_Key="key",
        Upstash_Flow_Control_Value="parallelism=2, rate=3, period=1d",
        Upstash_Retry_Delay="7000 * retried",
    )
    shown = [entry[name] for name in ("flowControlKey", "parallelism", "rate", "period")]
    assert shown == ["key", 2, 3, 86_400]
    assert entry["retryDelayExpression"] == "7000 * retried"
    assert [one["dlqId"] for one in account.dead_letters(flowControlKey="key")] == [entry["dlqId"]]
    assert _delete(account, flowControlKey="key") == {"deleted": 1}


def test_entries_are_found_by_label(account) -> None:
    [one] = _fail(account, Upstash_Label="one")
    [two] = _fail(account, Upstash_Label="two,three")
    [other] = _fail(account, url="https://httpstat.us/500", Upstash_Label="four")
    assert [found["dlqId"] for found in account.dead_letters(label="one")] == [one["dlqId"]]
    assert (two["label"], two["labels"]) == ("two", ["two", "three"])
    either = account.dead_letters(label=["one", "three"])
    assert {found["dlqId"] for found in either} == {one["dlqId"], two["dlqId"]}
    by_url = account.dead_letters(url=[_BROKEN, "https://httpstat.us/nothing"])
    assert {found["dlqId"] for found in by_url} == {one["dlqId"], two["dlqId"]}
    assert [found["dlqId"] for found in account.dead_letters(label="four")] == [other["dlqId"]]


@pytest.mark.parametrize("count", [2, 3])
def test_entries_are_deleted_by_their_ids(account, count: int) -> None:
    ids = [entry["dlqId"] for entry in _fail(account, count)]
    assert _delete(account, dlqIds=ids) == {"deleted": count}
    assert account.dead_letters(dlqIds=ids) == []


def test_entries_are_deleted_by_label(account) -> None:
    _fail(account, 2, Upstash_Label="labelled")
    assert _delete(account, label="labelled")["deleted"] >= 2
    assert account.dead_letters(label="labelled") == []


def test_entries_are_retried_by_their_ids_and_gone_then(account) -> None:
    ids = [entry["dlqId"] for entry in _fail(account, 2)]
    responses = _retry(account, dlqIds=ids)["responses"]
    assert len(responses) == 2
    assert all(one["messageId"].startswith("msg_") for one in responses)
    assert account.http.delete("/v2/dlq", params={"dlqIds": ids}).is_success


def test_entries_are_retried_by_label(account) -> None:
    _fail(account, 2, Upstash_Label="labelled")
    answer = _retry(account, label="labelled")
    assert (len(answer["responses"]), answer.get("cursor") or None) == (2, None)


def test_one_entry_is_retried_and_gone_then(account) -> None:
    [entry] = _fail(account)
    answer = _retry(account, dlqIds=entry["dlqId"])
    assert (len(answer["responses"]), answer.get("cursor") or None) == (1, None)
    assert not account.http.delete(f"/v2/dlq/{entry['dlqId']}").is_success


def test_a_count_of_one_acts_on_exactly_one(account) -> None:
    _fail(account, 4, Upstash_Label="labelled")
    assert _delete(account, label="labelled", count=1)["deleted"] == 1
    assert _delete(account, count=1)["deleted"] == 1
    assert len(_retry(account, label="labelled", count=1)["responses"]) == 1
    assert len(_retry(account, count=1)["responses"]) == 1


def test_no_match_is_a_success_without_a_cursor(account) -> None:
    assert account.get("/v2/dlq", label="nobody") == {"messages": []}
    assert _delete(account, label="nobody") == {"deleted": 0}


@pytest.mark.parametrize(
    "wanted",
    [
        {"messageId": "msg_none"}, {"url": "https://nobody.example"}, {"topicName": "none"}, {"scheduleId": "none"},
        {"queueName": "none"}, {"callerIp": "192.0.2.1"}, {"label": "none"}, {"flowControlKey": "none"},
        {"responseStatus": "999"}, {"fromDate": "4102444800000"}, {"toDate": "1"},
    ],
)  # fmt: skip
def test_every_filter_can_choose_what_is_retried(account, wanted: dict[str, str]) -> None:
    _fail(account)
    assert _retry(account, **wanted)["responses"] == []


def test_a_misspelt_filter_is_refused(account) -> None:
    [entry] = _fail(account)
    response = account.http.delete("/v2/dlq", params={"labeel": "x"})
    assert 400 <= response.status_code < 500
    assert account.dead_letters(dlqIds=entry["dlqId"])


def test_the_official_sdk_reads_lists_and_deletes(account) -> None:
    published = account.sdk.message.publish(url=_BROKEN, retries=0, retry_delay="7000 * retried")
    listed = account.eventually(
        lambda: [one for one in account.sdk.dlq.list().messages if one.message_id == published.message_id],
        10,
    )
    for entry in (listed[0], account.sdk.dlq.get(listed[0].dlq_id)):
        assert (entry.response_status, entry.response_body) == (404, "404 Not Found")
        assert entry.retry_delay_expression == "7000 * retried"
    account.sdk.dlq.delete(listed[0].dlq_id)
    with pytest.raises(QStashError):
        account.sdk.dlq.get(listed[0].dlq_id)


def test_the_official_sdk_deletes_many(account) -> None:
    ids = [entry["dlqId"] for entry in _fail(account, 5)]
    assert account.sdk.dlq.delete_many(ids) == 5
    [entry] = _fail(account)
    found = account.sdk.dlq.list(count=1, filter={"message_id": entry["messageId"]})
    assert len(found.messages) == 1


def test_many_are_deleted_by_a_body_of_ids(account) -> None:
    ids = [entry["dlqId"] for entry in _fail(account, 3)]
    response = account.http.request(
        "DELETE", "/v2/dlq", content=json.dumps({"dlqIds": ids}), headers={"Content-Type": "application/json"}
    )
    assert response.json() == {"deleted": 3}


@pytest.fixture
def turned_account(is_real: bool, stub_arguments: list[str], account: Account) -> Iterator[Account]:
    """An account whose time passes as fast as it can: the backoff before a retry is twelve seconds."""
    if is_real:
        yield account
        return
    with ServerProcess("--clock", "manual", *stub_arguments) as server:
        made = Account.of(server.new_tenant(), is_real=False)
        yield made
        made.close()


def test_with_one_retry_there_is_one_entry_within_half_a_minute(turned_account) -> None:
    message_id = turned_account.publish(_BROKEN, Upstash_Retries="1")
    if not turned_account.is_real:
        assert turned_account.http.post("/emulator/clock/advance", json={"by": "30s"}).is_success
    [entry] = turned_account.eventually(lambda: turned_account.dead_letters(messageId=message_id), 30)
    assert entry["responseBody"] == "404 Not Found"
    assert turned_account.get(f"/v2/dlq/{entry['dlqId']}")["responseBody"] == "404 Not Found"
