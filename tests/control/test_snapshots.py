"""Export and import: the whole state goes out as JSON and comes in again, here or elsewhere."""

import json
from pathlib import Path

import pytest

from emulator.testing import Harness, Receiver


async def _work(qstash: Harness) -> None:
    """A bit of everything: delivered, waiting, failed, queued, scheduled, grouped, limited."""
    publish = qstash.client.post
    qstash.faults.add("answer", destination="https://example.com/broken", status=500)
    await publish("/v2/publish/https://example.com/done", content=b"\xff\x00binary")
    await publish("/v2/publish/https://example.com/broken", headers={"Upstash-Retries": "0"})
    await publish("/v2/publish/https://example.com/later", headers={"Upstash-Delay": "1h"}, content=b"later")
    await publish("/v2/queues", json={"queueName": "q", "paused": True})
    await publish("/v2/enqueue/q/https://example.com/queued")
    await publish("/v2/topics/g/endpoints", json={"endpoints": [{"url": "https://example.com/g"}]})
    await publish(
        "/v2/schedules/https://example.com/daily",
        headers={"Upstash-Cron": "0 0 * * *", "Upstash-Schedule-Id": "daily"},
    )
    await publish(
        "/v2/publish/https://example.com/limited",
        headers={"Upstash-Flow-Control-Key": "k", "Upstash-Flow-Control-Value": "rate=1, period=1d"},
    )
    await qstash.settle()


async def _seen(qstash: Harness) -> dict[str, object]:
    """Return everything that the API shows."""
    paths = ("/v2/events", "/v2/dlq", "/v2/queues", "/v2/topics", "/v2/schedules", "/v2/flowControl/k")
    return {path: (await qstash.client.get(path)).json() for path in (*paths, "/emulator/clock")}


async def test_another_emulator_goes_on_from_an_export(qstash, receiver) -> None:
    await _work(qstash)
    state = json.loads(json.dumps(await qstash.snapshot()))
    seen = await _seen(qstash)
    async with Harness() as other:
        elsewhere = Receiver(now=lambda: other.now)
        other.mount("https://example.com", elsewhere)
        await other.restore(state)
        assert await _seen(other) == seen
        assert [fault.kind for fault in other.faults] == ["answer"]
        await other.advance("1h")
        assert [(one.url, one.body) for one in elsewhere.got] == [("https://example.com/later", b"later")]
        await other.client.post("/v2/queues/q/resume")
        await other.advance("11h")
        assert {one.url for one in elsewhere.got[1:]} == {
            "https://example.com/queued",
            "https://example.com/daily",
        }


async def test_the_state_of_before_comes_back_over_http(qstash, receiver) -> None:
    await _work(qstash)
    exported = (await qstash.client.get("/emulator/export")).json()
    seen = await _seen(qstash)
    await qstash.advance("2d")
    await qstash.client.post("/v2/publish/https://example.com/more")
    answer = await qstash.client.post("/emulator/import", json=exported)
    assert answer.status_code == 200, answer.text
    assert answer.json()["now"] == exported["clock"]["now"]
    assert await _seen(qstash) == seen


async def test_a_state_without_a_message_comes_back_whole(qstash) -> None:
    await qstash.client.post("/v2/queues", json={"queueName": "q", "paused": True})
    await qstash.client.post("/v2/schedules/https://example.com", headers={"Upstash-Cron": "0 0 * * *"})
    seen, state = await _seen(qstash), await qstash.snapshot()
    await qstash.client.post("/emulator/reset")
    await qstash.restore(state)
    assert await _seen(qstash) == seen


async def test_numbers_that_another_tenant_has_are_shifted(qstash, receiver) -> None:
    await _work(qstash)
    exported = await qstash.snapshot()
    await qstash.client.post("/emulator/reset")
    other = await qstash.emulator.add_tenant("other")
    async with qstash.make_client(other.tenant.token) as client:
        for _ in range(20):
            await client.post("/v2/publish/https://example.com/other", headers={"Upstash-Delay": "1h"})
    await qstash.restore(exported)
    receiver.got.clear()
    await qstash.advance("1h")
    assert [one.body for one in receiver.got] == [b"later"]
    [dead] = (await qstash.client.get("/v2/dlq")).json()["messages"]
    assert (await qstash.client.get(f"/v2/dlq/{dead['dlqId']}")).status_code == 200


async def test_message_ids_of_another_tenant_are_a_conflict_and_change_nothing(qstash, receiver) -> None:
    await _work(qstash)
    seen = await _seen(qstash)
    exported = await qstash.snapshot()
    other = await qstash.emulator.add_tenant("other")
    async with qstash.make_client(other.tenant.token) as client:
        answer = await client.post("/emulator/import", json=exported)
        assert answer.status_code == 409
        assert "another tenant's" in answer.json()["error"]
        assert (await client.get("/v2/events")).json() == {"events": []}
    assert await _seen(qstash) == seen


async def test_a_file_is_restored_and_keys_and_tokens_are_not_in_it(qstash, receiver, tmp_path: Path) -> None:
    await _work(qstash)
    path = tmp_path / "state.json"
    path.write_text(json.dumps(await qstash.snapshot()))
    for secret in (qstash.token, *(await qstash.client.get("/v2/keys")).json().values()):
        assert secret not in path.read_text()
    await qstash.client.post("/emulator/reset")
    await qstash.restore(path)
    assert qstash.next_due is not None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.update(format="other/9"), 'format "other/9"; accepted: qstash-emulator/1'),
        (lambda state: state.update(more=1), "unknown key 'more'"),
        (lambda state: state.update(clock={}), "clock {} has no time"),
        (lambda state: state.update(tables=[]), "it has no tables"),
        (lambda state: state["tables"].update(cats=[]), "unknown table 'cats'"),
        (lambda state: state["tables"]["messages"][0].update(mood="good"), "has no column 'mood'"),
        (lambda state: state["tables"]["messages"][0].update(seq="one"), 'messages.seq is "one"'),
        (
            lambda state: state["tables"]["messages"][0].update(headers_json="{"),
            'messages.headers_json is "{"',
        ),
        (
            lambda state: state["tables"]["messages"][0].update(headers_json="7"),
            "a row of messages cannot be read",
        ),
        (lambda state: state["tables"]["schedules"][0].update(cron="never"), "it cannot be restored"),
        (lambda state: state["tables"]["bodies"][0].update(body={"base64": "?"}), 'body is {"base64": "?"}'),
        (lambda state: state.update(faults=[{"kind": "none"}]), 'kind "none" is unknown'),
    ],
)
async def test_an_export_that_is_none_is_refused_in_words(qstash, receiver, change, words) -> None:
    await _work(qstash)
    state = json.loads(json.dumps(await qstash.snapshot()))
    change(state)
    answer = await qstash.client.post("/emulator/import", json=state)
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["error"]
    assert (await qstash.client.post("/v2/publish/https://example.com/x")).status_code == 201
