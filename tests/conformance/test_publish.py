"""The official suites' tests of publish, enqueue and batch (contract 7.1)."""

import base64
import json
import time

import httpx
import pytest
from qstash import Receiver
from qstash.errors import QStashError
from qstash.message import BatchResponse, EnqueueResponse, PublishResponse

from emulator.testing import Listener
from emulator.testing import Receiver as Destination
from tests.conformance.account import LOG_SECONDS, Account

# On one worker: two servers are started for all of them.
pytestmark = pytest.mark.xdist_group("conformance")

_LATER = {"Upstash-Delay": "1h"}


def _group(account: Account, *urls: str) -> str:
    name = account.named("group")
    account.sdk.url_group.upsert_endpoints(name, [{"url": url} for url in urls])
    return name


def test_labels_are_readable_right_after_publishing(account) -> None:
    message = account.message(account.publish("https://example.com", Upstash_Label="one"))
    assert (message["label"], message["labels"]) == ("one", ["one"])
    message = account.message(account.publish("https://example.com", Upstash_Label="one,two"))
    assert (message["label"], message["labels"]) == ("one", ["one", "two"])


def test_a_json_body_and_stripped_headers_are_kept(account) -> None:
    body = json.dumps({"hello": "world"})
    message = account.message(
        account.publish(
            "https://example.com",
            body,
            Content_Type="application/json",
            Upstash_Forward_test_header="test-value",
            Upstash_Forward_bypass_tunnel_reminder="client-test",
        )
    )
    assert message["body"] == body
    assert message["header"]["Test-Header"] == ["test-value"]
    assert message["header"]["Bypass-Tunnel-Reminder"] == ["client-test"]
    assert not [name for name in message["header"] if name.startswith("Upstash")]


def test_not_before_is_in_milliseconds(account) -> None:
    now_at = time.time_ns() // 1_000_000  # noqa: TID251  the service's clock is the machine's
    delayed = account.message(account.publish("https://example.com", Upstash_Delay="5s"))
    assert delayed["notBefore"] >= now_at
    at_seconds = now_at // 1000 + 3_600
    fixed = account.message(account.publish("https://example.com", Upstash_Not_Before=str(at_seconds)))
    assert fixed["notBefore"] >= at_seconds * 1000


def test_callbacks_keep_their_query(account) -> None:
    message = account.message(
        account.publish(
            "https://example.com",
            Upstash_Callback="https://example.com/?foo=bar",
            Upstash_Failure_Callback="https://example.com/?bar=baz",
            **{"Upstash-Delay": "1h"},
        )
    )
    assert message["callback"] == "https://example.com/?foo=bar"
    assert message["failureCallback"] == "https://example.com/?bar=baz"


def test_retries_are_the_maximum(account) -> None:
    assert account.message(account.publish("https://example.com", Upstash_Retries="1"))["maxRetries"] >= 1


def test_header_values_are_kept_as_they_were_combined(account) -> None:
    message = account.message(
        account.publish(
            "https://example.com",
            Upstash_Forward_Test="value-uppercase, value-lowercase",
            Upstash_Forward_Nothing="undefined",
        )
    )
    assert message["header"]["Test"] == ["value-uppercase, value-lowercase"]
    assert message["header"]["Nothing"] == ["undefined"]


def test_each_item_of_a_batch_has_its_own_headers(account) -> None:
    items = [
        {"destination": "https://example.com/1", "headers": {"upstash-forward-test": "mine", **_LATER}},
        {"destination": "https://example.com/2", "headers": {"upstash-forward-test": "other", **_LATER}},
    ]
    answers = account.http.post("/v2/batch", json=items, headers={"Upstash-Forward-Test": "shared"}).json()
    headers = [account.message(one["messageId"])["header"] for one in answers]
    assert headers == [{"Test": ["mine"]}, {"Test": ["other"]}]


def test_a_group_gets_a_message_for_each_endpoint(account) -> None:
    group = _group(account, "https://example.com", "https://example.net")
    answers = account.http.post(f"/v2/publish/{group}", headers={"Upstash-Delay": "3s"}).json()
    assert len(answers) == 2
    assert [account.message(one["messageId"])["topicName"] for one in answers] == [group, group]


def test_an_enqueued_message_names_its_queue_which_can_be_deleted(account) -> None:
    queue = account.named("queue")
    enqueued = account.sdk.message.enqueue_json(queue=queue, url="https://example.com", body={"a": 1})
    assert isinstance(enqueued, EnqueueResponse)
    assert account.sdk.message.get(enqueued.message_id).queue == queue
    account.sdk.queue.delete(queue)
    assert account.mine("queues") == []


def test_batches_answer_with_an_array_whatever_is_in_them(account) -> None:
    group = _group(account, "https://example.com/a", "https://example.com/b")
    mixed = account.sdk.message.batch_json(
        [
            {"url_group": group, "body": 1, "queue": account.named("queue")},
            {"url": "https://example.com", "body": 2, "queue": account.named("queue")},
        ]
    )
    assert isinstance(mixed[0], list)
    assert isinstance(mixed[1], BatchResponse)
    [single] = account.sdk.message.batch([{"url": "https://example.com"}])
    assert isinstance(single, BatchResponse)


@pytest.mark.parametrize(
    ("redact", "hidden", "shown"),
    [
        ({"body": True}, ["secret-body"], ["secret-one", "secret-two"]),
        ({"header": True}, ["secret-one", "secret-two"], ["secret-body"]),
        ({"header": ["Secret-One"]}, ["secret-one"], ["secret-body", "secret-two"]),
    ],
)
def test_what_is_redacted_is_not_in_the_log(account, redact, hidden: list[str], shown: list[str]) -> None:
    published = account.sdk.message.publish(
        url="https://example.com",
        body="secret-body",
        headers={"Secret-One": "secret-one", "Secret-Two": "secret-two"},
        redact=redact,
        delay="1h",
    )
    [entry] = account.eventually(
        lambda: account.get("/v2/events", messageId=published.message_id)["events"], LOG_SECONDS
    )
    text = base64.b64decode(entry["body"]).decode() + json.dumps(entry["header"])
    assert [secret for secret in hidden if secret in text] == []
    assert [plain for plain in shown if plain not in text] == []


@pytest.mark.emulator_only("the real service would call a model that costs money")
def test_provider_urls_are_ordinary_destinations(account) -> None:
    url = "https://api.openai.com/v1/chat/completions"
    body = json.dumps({"model": "gpt", "messages": [{"role": "user", "content": "hi"}]})
    forwarded = {"Upstash-Forward-Authorization": "Bearer sk", "Upstash-Callback": "https://example.com/"}
    published = account.http.post(f"/v2/publish/{url}", content=body, headers=forwarded).json()
    enqueued = account.http.post(
        f"/v2/enqueue/{account.named('llm')}/{url}", content=body, headers=forwarded
    ).json()
    [batched] = account.http.post(
        "/v2/batch", json=[{"destination": url, "headers": forwarded, "body": body}]
    ).json()
    assert enqueued["messageId"]
    for one in (published, batched):
        account.delivered(one["messageId"])


@pytest.mark.emulator_only("the real service would call a model that costs money")
def test_the_vendors_own_models_are_reached_by_api_llm(account) -> None:
    options = {"Upstash-Callback": "https://example.com/", "Content-Type": "application/json"}
    body = '{"model": "m", "messages": []}'
    published = account.http.post("/v2/publish/api/llm", content=body, headers=options).json()
    [batched] = account.http.post(
        "/v2/batch", json=[{"destination": "api/llm", "headers": options, "body": body}]
    ).json()
    enqueued = account.http.post("/v2/enqueue/queue/api/llm", content=body, headers=options).json()
    for one in (published, batched, enqueued):
        account.delivered(one["messageId"])
    refused = account.http.post("/v2/publish/api/llm", content=body)
    assert refused.status_code == 400
    assert "Upstash-Callback" in refused.json()["error"]


@pytest.mark.emulator_only("the real service does not reach this machine")
def test_a_message_to_this_machine_arrives_signed(account) -> None:
    destination = Destination(now=lambda: 0)
    with Listener(destination) as listener:
        url = f"{listener.url}/api"
        published = account.sdk.message.publish_json(url=url, body={"a": 1})
        [delivery] = account.eventually(lambda: destination.got, LOG_SECONDS)
    assert delivery.headers["upstash-message-id"] == published.message_id
    Receiver(account.current_signing_key, account.next_signing_key).verify(
        signature=delivery.headers["upstash-signature"], body=delivery.body.decode(), url=url
    )


def test_exactly_one_entry_says_that_a_message_was_delivered(account) -> None:
    plain = account.sdk.message.publish(url="https://httpbin.org/status/200", body="text", method="GET")
    as_json = account.sdk.message.publish_json(
        url="https://httpbin.org/status/200", body={"a": 1}, timeout=90
    )
    short = account.publish("http://example.com", "x", Upstash_Timeout="1s")
    for message_id in (plain.message_id, as_json.message_id, short):
        account.delivered(message_id)


def test_the_retry_delay_is_in_the_log(account) -> None:
    published = account.sdk.message.publish(url="https://example.com", retry_delay="15000")
    events = account.eventually(
        lambda: account.get("/v2/events", messageId=published.message_id)["events"], LOG_SECONDS
    )
    assert {event["retryDelayExpr"] for event in events} == {"15000"}


def test_batches_answer_in_order(account) -> None:
    urls = [f"https://example.com/{number}" for number in range(3)]
    for batch in (account.sdk.message.batch, account.sdk.message.batch_json):
        answers = batch([{"url": url, "delay": "1h"} for url in urls])
        assert [account.message(one.message_id)["url"] for one in answers] == urls


def test_messages_to_a_group_are_all_delivered(account) -> None:
    group = _group(account, "https://one.requestcatcher.com", "https://two.requestcatcher.com")
    answers = account.sdk.message.publish(url_group=group, body="x")
    assert [one.url for one in answers] == [
        "https://one.requestcatcher.com",
        "https://two.requestcatcher.com",
    ]
    for one in answers:
        account.delivered(one.message_id)


@pytest.mark.parametrize(
    ("limits", "parallelism", "rate", "period"),
    [
        ({"rate": 2, "period": 2}, None, 2, 2),
        ({"parallelism": 1, "rate": 2, "period": "1h30m3s"}, 1, 2, 5_403),
        ({"rate": 3}, None, 3, 1),
        ({"parallelism": 4}, 4, None, 1),
    ],
)
def test_flow_control_is_shown_as_it_was_given(account, limits, parallelism, rate, period) -> None:
    key = account.named("key")
    published = account.sdk.message.publish_json(
        url="https://example.com", body={}, flow_control={"key": key, **limits}
    )
    shown = account.sdk.message.get(published.message_id).flow_control
    assert (shown.key, shown.parallelism, shown.rate, shown.period) == (key, parallelism, rate, period)


def test_a_label_survives_the_delivery_and_filters_the_log(account) -> None:
    label = account.named("label")
    to = {"url": "https://httpbin.org/status/200", "label": label}
    made = [
        account.sdk.message.publish(**to),
        account.sdk.message.publish_json(**to, body={}),
        account.sdk.message.enqueue(queue=account.named("queue"), **to),
        *account.sdk.message.batch([to]),
    ]
    for one in made:
        account.delivered(one.message_id)
        assert account.sdk.message.get(one.message_id).label == label
    account.publish("https://httpbin.org/status/200", Upstash_Label=account.named("other"))
    account.agrees(
        lambda: {event["messageId"] for event in account.get("/v2/events", label=label)["events"]},
        {one.message_id for one in made},
    )
    assert {event["label"] for event in account.get("/v2/events", label=label)["events"]} == {label}


def test_a_delayed_message_is_shown_exactly(account) -> None:
    message = account.message(
        account.publish(
            "http://example.com", "test-body", Upstash_Delay="10s", Upstash_Forward_test_header="test-value"
        )
    )
    assert (message["url"], message["body"]) == ("http://example.com", "test-body")
    assert message["header"] == {"Test-Header": ["test-value"]}


def test_a_batch_mixes_groups_and_urls(account) -> None:
    group = _group(account, "https://example.com/a", "https://example.com/b")
    items = [
        {"destination": "https://example.com", "queue": "", "body": "1", "headers": _LATER},
        {"destination": group, "queue": "", "headers": _LATER},
        {
            "destination": "https://example.net",
            "queue": account.named("queue"),
            "headers": {**_LATER, "Upstash-Method": "GET"},
        },
    ]
    first, second, third = account.http.post("/v2/batch", json=items).json()
    assert [one["url"] for one in second] == ["https://example.com/a", "https://example.com/b"]
    assert account.message(third["messageId"])["method"] == "GET"
    assert "queueName" not in account.message(first["messageId"])


def test_a_group_is_enqueued_as_one_message_for_each_endpoint(account) -> None:
    group = _group(account, "https://example.com/a", "https://example.com/b")
    answers = account.sdk.message.enqueue(queue=account.named("queue"), url_group=group)
    assert [bool(one.message_id) for one in answers] == [True, True]


def test_destinations_that_are_not_there_are_said_in_the_services_words(account) -> None:
    with pytest.raises(QStashError, match="topic non_existing_url_group not found"):
        account.sdk.message.publish(url_group="non_existing_url_group")
    refused: httpx.Response = account.http.post("/v2/publish/")
    assert "a non-empty destination must be provided" in refused.json()["error"]


def test_publish_returns_an_id(account) -> None:
    assert isinstance(account.sdk.message.publish(url="https://example.com", delay=3_600), PublishResponse)
