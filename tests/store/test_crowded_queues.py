"""A queue that is far longer than what is held of it: nothing is lost, doubled or put out of order."""

from pathlib import Path

from emulator.broker.pending_messages import Windows
from emulator.testing import Harness, Receiver

_NOW_AT = 1_780_315_200_000
_MANY, _WINDOW = 120, 5


def _open(db: str) -> tuple[Harness, Receiver]:
    """An emulator that holds little of a queue."""
    qstash = Harness(db=db, now_at=_NOW_AT)
    receiver = Receiver(now=lambda: qstash.now)
    qstash.mount("https://example.com", receiver)
    return qstash, receiver


def _narrow(qstash: Harness) -> None:
    state = qstash.runtime.broker.state
    state._windows = Windows(queue=_WINDOW)
    state.forget()


async def _publish(qstash: Harness, queue: str, numbers: range) -> None:
    items = [{"destination": f"https://example.com/{number}", "queue": queue} for number in numbers]
    assert (await qstash.client.post("/v2/batch", json=items)).status_code == 200


async def _cancel(qstash: Harness, number: int) -> None:
    body = {"url": f"https://example.com/{number}"}
    answer = await qstash.client.request("DELETE", "/v2/messages", json=body)
    assert answer.json() == {"cancelled": 1}


def _numbers(receiver: Receiver) -> list[int]:
    return [int(one.url.rsplit("/", 1)[1]) for one in receiver.got]


async def test_a_long_queue_goes_on_in_order_after_a_crash_and_cancels(tmp_path: Path) -> None:
    qstash, receiver = _open(str(tmp_path / "q.db"))
    async with qstash:
        _narrow(qstash)
        await qstash.client.post("/v2/queues", json={"queueName": "q", "parallelism": 1, "paused": True})
        await _publish(qstash, "q", range(_MANY // 2))
        await _cancel(qstash, 1)
        await _cancel(qstash, 40)
        await qstash.runtime.crash()
        # None yet, or the first of them were read meanwhile.
        assert len(qstash.runtime.broker.state.pending) <= _WINDOW
        await _publish(qstash, "q", range(_MANY // 2, _MANY))
        await _publish(qstash, "other", range(1_000, 1_001))
        await _cancel(qstash, 2)
        await _cancel(qstash, 100)
        await qstash.settle()
        assert len(qstash.runtime.broker.state.pending) <= 2 * _WINDOW
        assert _numbers(receiver) == [1_000]
        found = (await qstash.client.get("/v2/queues/q")).json()
        assert found["lag"] == _MANY - 4
        await qstash.client.post("/v2/queues/q/resume")
        await qstash.settle()
        assert _numbers(receiver)[1:] == [n for n in range(_MANY) if n not in {1, 2, 40, 100}]


async def test_a_long_queue_is_gone_with_all_of_its_messages_when_its_deletion_is_answered(
    tmp_path: Path,
) -> None:
    db = str(tmp_path / "q.db")
    qstash, receiver = _open(db)
    async with qstash:
        _narrow(qstash)
        await qstash.client.post("/v2/queues", json={"queueName": "q", "parallelism": 1, "paused": True})
        await _publish(qstash, "q", range(_MANY))
        assert (await qstash.client.delete("/v2/queues/q")).status_code == 200
        await qstash.runtime.crash()
        assert (await qstash.client.get("/v2/queues")).json() == []
        states = [log["state"] for log in (await qstash.client.get("/v2/logs?count=1000")).json()["events"]]
        assert states.count("CANCELED") == _MANY
        await qstash.advance("1h")
    assert receiver.got == []
