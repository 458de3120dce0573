"""The vendor's own Python SDK, unmodified, over real sockets."""

import json
from collections.abc import Iterator

import jwt
import pytest
from qstash import AsyncQStash, QStash, Receiver
from qstash.errors import QStashError, SignatureError
from qstash.log import LogState
from qstash.message import PublishResponse


@pytest.fixture
def sdk(tenant: dict[str, str]) -> Iterator[QStash]:
    client = QStash(tenant["QSTASH_TOKEN"], base_url=tenant["QSTASH_URL"], retry=False)
    yield client
    # The SDK has no way to close its connections.
    client.http._client.close()


@pytest.fixture
def verifier(tenant: dict[str, str]) -> Receiver:
    return Receiver(
        current_signing_key=tenant["QSTASH_CURRENT_SIGNING_KEY"],
        next_signing_key=tenant["QSTASH_NEXT_SIGNING_KEY"],
    )


def test_a_published_message_arrives_and_its_signature_verifies(sdk, inbox, verifier) -> None:
    url = f"{inbox.url}/hook?a=%2Fb&c="
    published = sdk.message.publish_json(
        url=url, body={"hello": "wörld"}, headers={"X-Mine": "1"}, label="greeting"
    )
    [delivery] = inbox.wait_for(1)
    verifier.verify(signature=delivery.headers["upstash-signature"], body=delivery.body.decode(), url=url)
    assert delivery.url == url
    assert json.loads(delivery.body) == {"hello": "wörld"}
    assert delivery.headers["x-mine"] == "1"
    assert delivery.headers["upstash-message-id"] == published.message_id
    message = sdk.message.get(published.message_id)
    assert (message.url, message.method, message.max_retries, message.label) == (url, "POST", 3, "greeting")


async def test_the_asynchronous_client_does_the_same(tenant, inbox, verifier) -> None:
    sdk = AsyncQStash(tenant["QSTASH_TOKEN"], base_url=tenant["QSTASH_URL"], retry=False)
    published = await sdk.message.publish(url=inbox.url, body="täxt", method="PUT", retries=0)
    assert isinstance(published, PublishResponse)
    await sdk.http._client.aclose()
    [delivery] = inbox.wait_for(1)
    verifier.verify(
        signature=delivery.headers["upstash-signature"], body=delivery.body.decode(), url=inbox.url
    )
    assert (delivery.method, delivery.body.decode()) == ("PUT", "täxt")
    assert delivery.headers["upstash-message-id"] == published.message_id


def test_the_next_key_verifies_after_a_rotation(sdk, inbox, verifier) -> None:
    rotated = sdk.signing_key.rotate()
    sdk.message.publish(url=inbox.url, body="x")
    [delivery] = inbox.wait_for(1)
    # The receiver still has the keys of before: what was "next" there signs now.
    verifier.verify(signature=delivery.headers["upstash-signature"], body="x", url=inbox.url)
    assert rotated.current == sdk.signing_key.get().current


@pytest.fixture
def delivered(sdk, inbox) -> tuple[str, str]:
    sdk.message.publish(url=inbox.url, body="body")
    [delivery] = inbox.wait_for(1)
    return delivery.headers["upstash-signature"], inbox.url


def test_a_wrong_key_is_rejected(delivered) -> None:
    signature, url = delivered
    stranger = Receiver(current_signing_key="sig_wrong", next_signing_key="sig_wrong_too")
    with pytest.raises(SignatureError):
        stranger.verify(signature=signature, body="body", url=url)


def test_another_url_is_rejected(delivered, verifier) -> None:
    signature, url = delivered
    with pytest.raises(SignatureError):
        verifier.verify(signature=signature, body="body", url=f"{url}/other")


def test_a_changed_body_is_rejected(delivered, verifier) -> None:
    signature, url = delivered
    with pytest.raises(SignatureError):
        verifier.verify(signature=signature, body="Body", url=url)


def test_an_expired_token_is_rejected(delivered, verifier, tenant) -> None:
    signature, url = delivered
    claims = jwt.decode(signature, options={"verify_signature": False})
    claims["exp"] = claims["iat"] - 1
    expired = jwt.encode(claims, tenant["QSTASH_CURRENT_SIGNING_KEY"], algorithm="HS256")
    with pytest.raises(SignatureError):
        verifier.verify(signature=expired, body="body", url=url)


def test_alg_none_is_rejected(delivered, verifier) -> None:
    signature, url = delivered
    claims = jwt.decode(signature, options={"verify_signature": False})
    unsigned = jwt.encode(claims, "", algorithm="none")
    with pytest.raises(SignatureError):
        verifier.verify(signature=unsigned, body="body", url=url)


def test_errors_carry_the_services_words(sdk) -> None:
    with pytest.raises(QStashError, match="topic nobody not found"):
        sdk.message.publish(url_group="nobody", body="x")


def test_batch_answers_in_order(sdk, inbox) -> None:
    responses = sdk.message.batch_json(
        [{"url": f"{inbox.url}/{number}", "body": {"n": number}} for number in range(3)]
    )
    deliveries = {one.headers["upstash-message-id"]: one for one in inbox.wait_for(3)}
    assert [json.loads(deliveries[one.message_id].body)["n"] for one in responses] == [0, 1, 2]


def test_delayed_messages_can_be_cancelled_one_many_and_all(sdk, inbox) -> None:
    ids = []
    for _ in range(4):
        published = sdk.message.publish(url=inbox.url, body="x", delay="1h")
        assert isinstance(published, PublishResponse)
        ids.append(published.message_id)
    sdk.message.cancel(ids[0])
    assert sdk.message.cancel_many(ids[:3]) == 2
    assert sdk.message.cancel_all() == 1
    with pytest.raises(QStashError):
        sdk.message.cancel(ids[0])


def test_logs_have_one_delivered_entry(sdk, inbox, eventually) -> None:
    published = sdk.message.publish(url=inbox.url, body="x", retry_delay="15000", label="mine")
    inbox.wait_for(1)
    wanted = {"message_id": published.message_id, "state": LogState.DELIVERED}
    [entry] = eventually(lambda: sdk.log.list(filter=wanted).logs)
    assert entry.retry_delay_expression == "15000"
    assert entry.label == "mine"


def test_a_failed_message_is_found_in_the_dlq_and_published_again(sdk, inbox, eventually) -> None:
    inbox.receiver.answers = [(404, {}, b"404 Not Found")]
    published = sdk.message.publish(url=inbox.url, body="x", retries=0)
    [entry] = eventually(lambda: sdk.dlq.list(filter={"message_id": published.message_id}).messages)
    assert (entry.response_status, entry.response_body) == (404, "404 Not Found")
    assert sdk.dlq.get(entry.dlq_id).message_id == published.message_id
    # This SDK has no method for it.
    sdk.http.request(path=f"/v2/dlq/retry/{entry.dlq_id}", method="POST")
    assert len(inbox.wait_for(2)) == 2
    with pytest.raises(QStashError):
        sdk.dlq.delete(entry.dlq_id)
