"""The official suites' tests of the dead letter queue (contract 7.3)."""

import json
from typing import Any

import pytest
from qstash.errors import QStashError

from tests.conformance.account import DEAD_LETTER_AFTER_A_RETRY_SECONDS, DEAD_LETTER_SECONDS, Account

# On one worker: two servers are started for all of them.
pytestmark = pytest.mark.xdist_group("conformance")

_BROKEN = "https://httpstat.us/404"


def _fail(account: Account, count: int = 1, url: str = _BROKEN, **headers: str) -> list[dict[str, Any]]:
    """Publish ``count`` messages that fail at once, and return their entries, oldest first."""
    ids = [account.publish(url, "body", Upstash_Retries="0", **headers) for _ in range(count)]

    def found() -> list[dict[str, Any]]:
        entries = [one for message_id in ids for one in account.dead_letters(messageId=message_id)]
        return entries if len(entries) == count else []

    return account.eventually(found, DEAD_LETTER_SECONDS)


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
    group = account.named("group")
    account.sdk.url_group.upsert_endpoints(group, [{"url": "https://example.com/broken"}])
    [published] = account.http.post(f"/v2/publish/{group}", headers={"Upstash-Retries": "0"}).json()
    _fail(account)
    [entry] = account.eventually(lambda: account.dead_letters(topicName=group), DEAD_LETTER_SECONDS)
    assert (entry["messageId"], entry["topicName"]) == (published["messageId"], group)


def test_an_entry_shows_flow_control_and_retry_delay(account) -> None:
    key = account.named("key")
    [entry] = _fail(
        account,
        Upstash_Flow_Control_Key=key,
        Upstash_Flow_Control_Value="parallelism=2, rate=3, period=1d",
        Upstash_Retry_Delay="7000 * retried",
    )
    shown = [entry[name] for name in ("flowControlKey", "parallelism", "rate", "period")]
    assert shown == [key, 2, 3, 86_400]
    assert entry["retryDelayExpression"] == "7000 * retried"
    assert [one["dlqId"] for one in account.dead_letters(flowControlKey=key)] == [entry["dlqId"]]
    assert _delete(account, flowControlKey=key) == {"deleted": 1}


def test_entries_are_found_by_label(account) -> None:
    first, second, third, fourth = (account.named(name) for name in ("one", "two", "three", "four"))
    url = f"{_BROKEN}?{first}"
    [one] = _fail(account, url=url, Upstash_Label=first)
    [two] = _fail(account, url=url, Upstash_Label=f"{second},{third}")
    [other] = _fail(account, url="https://httpstat.us/500", Upstash_Label=fourth)
    assert [found["dlqId"] for found in account.dead_letters(label=first)] == [one["dlqId"]]
    assert (two["label"], two["labels"]) == (second, [second, third])
    either = account.dead_letters(label=[first, third])
    assert {found["dlqId"] for found in either} == {one["dlqId"], two["dlqId"]}
    by_url = account.dead_letters(url=[url, f"{url}/nothing"])
    assert {found["dlqId"] for found in by_url} == {one["dlqId"], two["dlqId"]}
    assert [found["dlqId"] for found in account.dead_letters(label=fourth)] == [other["dlqId"]]


@pytest.mark.parametrize("count", [2, 3])
def test_entries_are_deleted_by_their_ids(account, count: int) -> None:
    ids = [entry["dlqId"] for entry in _fail(account, count)]
    assert _delete(account, dlqIds=ids) == {"deleted": count}
    assert account.dead_letters(dlqIds=ids) == []


def test_entries_are_deleted_by_label(account) -> None:
    label = account.named("label")
    _fail(account, 2, Upstash_Label=label)
    assert _delete(account, label=label)["deleted"] >= 2
    assert account.dead_letters(label=label) == []


def test_entries_are_retried_by_their_ids_and_gone_then(account) -> None:
    ids = [entry["dlqId"] for entry in _fail(account, 2)]
    responses = _retry(account, dlqIds=ids)["responses"]
    assert len(responses) == 2
    assert all(one["messageId"].startswith("msg_") for one in responses)
    assert account.http.delete("/v2/dlq", params={"dlqIds": ids}).is_success


def test_entries_are_retried_by_label(account) -> None:
    label = account.named("label")
    _fail(account, 2, Upstash_Label=label)
    answer = _retry(account, label=label)
    assert (len(answer["responses"]), answer.get("cursor") or None) == (2, None)


def test_one_entry_is_retried_and_gone_then(account) -> None:
    [entry] = _fail(account)
    answer = _retry(account, dlqIds=entry["dlqId"])
    assert (len(answer["responses"]), answer.get("cursor") or None) == (1, None)
    assert not account.http.delete(f"/v2/dlq/{entry['dlqId']}").is_success


def test_a_count_of_one_acts_on_exactly_one(account) -> None:
    label = account.named("label")
    _fail(account, 2, Upstash_Label=label)
    assert _delete(account, label=label, count=1)["deleted"] == 1
    assert len(_retry(account, label=label, count=1)["responses"]) == 1


@pytest.mark.emulator_only("it deletes and retries whatever is in the account's DLQ")
def test_a_count_of_one_acts_on_exactly_one_of_all(account) -> None:
    _fail(account, 2)
    assert _delete(account, count=1)["deleted"] == 1
    assert len(_retry(account, count=1)["responses"]) == 1


def test_no_match_is_a_success_without_a_cursor(account) -> None:
    nobody = account.named("nobody")
    assert account.get("/v2/dlq", label=nobody) == {"messages": []}
    assert _delete(account, label=nobody) == {"deleted": 0}


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
        DEAD_LETTER_SECONDS,
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


def test_with_one_retry_there_is_one_entry_within_half_a_minute(account, turned_server) -> None:
    message_id = account.publish(_BROKEN, Upstash_Retries="1")
    if not account.is_real:  # the backoff before a retry is twelve seconds
        assert account.http.post("/emulator/clock/advance", json={"by": "30s"}).is_success
    [entry] = account.eventually(
        lambda: account.dead_letters(messageId=message_id), DEAD_LETTER_AFTER_A_RETRY_SECONDS
    )
    assert entry["responseBody"] == "404 Not Found"
    assert account.get(f"/v2/dlq/{entry['dlqId']}")["responseBody"] == "404 Not Found"
