"""A message that waits for its time can be sent at once (contract 2.14)."""

from emulator.testing import Harness, Receiver
from tests.workflow import raw


async def _publish(qstash: Harness, path: str = "publish/https://example.com", **options: str) -> str:
    headers = {f"Upstash-{name.replace('_', '-')}": value for name, value in options.items()}
    answer = await qstash.client.post(f"/v2/{path}", headers=headers)
    message_id: str = answer.json()["messageId"]
    return message_id


async def test_the_wait_of_a_delayed_message_is_skipped(qstash: Harness, receiver: Receiver) -> None:
    message_id = await _publish(qstash, Delay="1h")
    answer = await qstash.client.post(f"/v2/messages/{message_id}/retry")
    await qstash.settle()
    assert answer.status_code == 200
    assert [one.headers["upstash-message-id"] for one in receiver.got] == [message_id]
    again = await qstash.client.post(f"/v2/messages/{message_id}/retry")
    assert (again.status_code, again.json()["error"]) == (404, f"message {message_id} not found")


async def test_the_wait_of_a_retry_is_skipped_without_a_further_attempt(
    qstash: Harness, receiver: Receiver
) -> None:
    receiver.always = (500, {}, b"")
    message_id = await _publish(qstash, Retries="2", Retry_Delay="3600000")
    for _ in range(2):
        await qstash.settle()
        assert (await qstash.client.post(f"/v2/messages/{message_id}/retry")).status_code == 200
    await qstash.run_until_idle()
    assert [one.headers["upstash-retried"] for one in receiver.got] == ["0", "1", "2"]


async def test_a_message_of_a_queue_keeps_its_place(qstash: Harness) -> None:
    message_id = await _publish(qstash, "enqueue/q/https://example.com", Delay="1h")
    answer = await qstash.client.post(f"/v2/messages/{message_id}/retry")
    assert answer.status_code == 400
    assert "in a queue" in answer.json()["error"]


async def test_a_sleeping_step_wakes(qstash: Harness) -> None:
    app = Receiver(now=lambda: qstash.now, always=(200, raw.SDK))
    qstash.mount(raw.APP, app)
    await raw.trigger(qstash)
    await qstash.settle()
    item = {
        "destination": raw.URL,
        "headers": raw.run_headers("wfr_1", Upstash_Delay="1h"),
        "body": raw.step(1),
    }
    [accepted] = (await raw.batch(qstash, item)).json()
    assert (await qstash.client.post(f"/v2/messages/{accepted['messageId']}/retry")).status_code == 200
    await qstash.settle()
    assert [one.headers["upstash-message-id"] for one in app.got][-1] == accepted["messageId"]
