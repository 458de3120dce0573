"""Faults of the publish API, as the official SDKs' clients and others see them."""

import httpx
import pytest
from qstash import AsyncQStash, QStash
from qstash.errors import QStashError, RateLimitExceededError
from qstash.message import PublishResponse
from starlette.types import Message

from emulator.testing import Harness
from emulator.testing.asgi import http_scope


@pytest.fixture
def sdk(qstash: Harness) -> AsyncQStash:
    return AsyncQStash(qstash.token, retry=False)


async def _publish(sdk: AsyncQStash, **options: object) -> str:
    answer = await sdk.message.publish(url="https://example.com/x", body="x", **options)  # type: ignore[arg-type]
    assert isinstance(answer, PublishResponse)
    return answer.message_id


async def test_429_is_the_sdks_rate_limit_error_and_nothing_is_accepted(qstash, receiver, sdk) -> None:
    qstash.faults.add("publish-answer", count=1)
    with pytest.raises(RateLimitExceededError) as raised:
        await _publish(sdk)
    assert raised.value.remaining == "0"
    await qstash.run_until_idle()
    assert receiver.got == []
    await _publish(sdk)
    await qstash.run_until_idle()
    assert len(receiver.got) == 1


async def test_500_is_the_sdks_error_with_the_words_of_the_fault(qstash, receiver, sdk) -> None:
    qstash.faults.add("publish-answer", status=500, response_body='{"error": "out of order"}', count=1)
    with pytest.raises(QStashError, match=r"status: 500, body: .*out of order"):
        await _publish(sdk)


async def test_silence_is_a_timeout_to_every_client(qstash, receiver, sdk) -> None:
    qstash.faults.add("publish-silence", count=2)
    with pytest.raises(httpx.ReadTimeout):
        await _publish(sdk)
    with pytest.raises(httpx.ReadTimeout):
        QStash(qstash.token, retry=False).message.publish(url="https://example.com/x", body="x")
    await qstash.run_until_idle()
    assert receiver.got == []


async def test_the_sdk_publishes_again_when_it_heard_nothing_and_so_twice(qstash, receiver) -> None:
    sdk = AsyncQStash(qstash.token, retry={"retries": 1, "backoff": lambda _: 0})
    qstash.faults.add("publish-silence", accepted=True, count=1)
    await _publish(sdk)
    await qstash.run_until_idle()
    assert len(receiver.got) == 2


async def test_a_deduplication_id_makes_publishing_again_harmless(qstash, receiver) -> None:
    sdk = AsyncQStash(qstash.token, retry={"retries": 1, "backoff": lambda _: 0})
    qstash.faults.add("publish-silence", accepted=True, count=1)
    await _publish(sdk, deduplication_id="once")
    await qstash.run_until_idle()
    assert len(receiver.got) == 1


async def test_a_fault_of_one_destination_queue_or_label_leaves_the_others_alone(
    qstash, receiver, sdk
) -> None:
    qstash.faults.add("publish-answer", destination="https://other.example")
    qstash.faults.add("publish-answer", queue="slow")
    qstash.faults.add("publish-answer", label="bulk")
    await _publish(sdk)
    for refused in (
        sdk.message.publish(url="https://other.example/x", body="x"),
        sdk.message.enqueue(queue="slow", url="https://example.com/x", body="x"),
        sdk.message.publish(url="https://example.com/x", body="x", label="bulk"),
    ):
        with pytest.raises(RateLimitExceededError):
            await refused
    assert (await qstash.client.get("/v2/queues")).status_code == 200


async def test_another_tenant_never_notices(qstash, receiver) -> None:
    other = await qstash.emulator.add_tenant("other")
    qstash.faults.add("publish-answer")
    async with qstash.make_client(other.tenant.token) as client:
        assert (await client.post("/v2/publish/https://example.com/x")).status_code == 201
        stranger = {"Authorization": "Bearer nobody"}
        refused = await client.post("/v2/publish/https://example.com/x", headers=stranger)
        assert refused.status_code == 401
    qstash.faults.clear()
    assert (await qstash.client.post("/v2/publish/https://example.com/x")).status_code == 201


async def test_a_batch_is_struck_as_a_whole(qstash, receiver, sdk) -> None:
    qstash.faults.add("publish-answer", status=500, body="needle", count=1)
    with pytest.raises(QStashError, match="status: 500"):
        await sdk.message.batch([{"url": "https://example.com/x", "body": "needle"}])
    await sdk.message.batch([{"url": "https://example.com/x", "body": "needle"}])
    await qstash.run_until_idle()
    assert len(receiver.got) == 1


async def test_half_a_body_is_not_published_for_the_sake_of_a_fault(qstash, receiver) -> None:
    await qstash.start()
    qstash.faults.add("publish-answer", destination="https://elsewhere.com")
    messages: list[Message] = [
        {"type": "http.request", "body": b"half", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    async def send(_message: Message) -> None: ...

    headers = {"Host": "localhost", "Authorization": f"Bearer {qstash.token}", "Content-Length": "8"}
    target = httpx.URL("http://localhost/v2/publish/https://example.com/x")
    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    await qstash.app(http_scope("POST", target, lines), receive, send)
    await qstash.settle()
    assert receiver.got == []
