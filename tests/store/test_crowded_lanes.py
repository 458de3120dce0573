"""A destination that takes nothing costs one window of memory; nothing is lost, doubled or put out of order."""

import asyncio
from pathlib import Path

import pytest

from emulator.broker.pending_messages import Windows
from emulator.testing import Harness, Receiver

NOW_AT = 1_780_315_200_000
_MANY = 300
_WINDOW = 10


def _narrow(qstash: Harness, window: int = 1_000_000) -> None:
    """Small windows, before anything is held."""
    state = qstash.runtime.broker.state
    state._windows = Windows(timeline=window, lane=_WINDOW)
    state._capacity, state._per_origin = 4, 2
    state.forget()


def _paths(receiver: Receiver) -> list[int]:
    return [int(one.url.rsplit("/", 1)[1]) for one in receiver.got]


async def _publish_many(qstash: Harness, delay: str | None = None) -> None:
    headers = {"Upstash-Delay": delay} if delay else {}
    items = [{"destination": f"https://example.com/{number}", "headers": headers} for number in range(_MANY)]
    for start in range(0, _MANY, 50):
        assert (await qstash.client.post("/v2/batch", json=items[start : start + 50])).status_code == 200


def _held(qstash: Harness) -> int:
    return len(qstash.runtime.broker.state.pending)


@pytest.mark.parametrize("timeline_window", [1_000_000, 20])
@pytest.mark.parametrize("delay", [None, "1h"])
async def test_a_crowd_is_delivered_once_each_and_in_order(
    qstash: Harness, receiver: Receiver, timeline_window: int, delay: str | None
) -> None:
    _narrow(qstash, timeline_window)
    receiver.gate = asyncio.Event()
    await _publish_many(qstash, delay)

    async def turn() -> None:
        await qstash.advance(delay or "0s")

    turning = asyncio.create_task(turn())
    while not receiver.in_flight:
        await asyncio.sleep(0)
    for _ in range(200):
        await asyncio.sleep(0)
    assert _held(qstash) <= 2 * timeline_window + 3 * _WINDOW
    assert qstash.runtime.broker.state.lanes.waiting_count() == _MANY - 2 or timeline_window == 20
    receiver.gate.set()
    await turning
    await qstash.settle()
    assert _paths(receiver) == list(range(_MANY))
    assert qstash.runtime.broker.state.lanes.waiting_count() == 0


async def test_another_destination_is_not_held_up(
    qstash: Harness, receiver: Receiver, callbacks: Receiver
) -> None:
    _narrow(qstash)
    receiver.gate = asyncio.Event()
    await _publish_many(qstash)
    await qstash.client.post("/v2/publish/https://callback.com/x")
    while not callbacks.got:
        await asyncio.sleep(0)
    assert len(receiver.got) == 2
    receiver.gate.set()


async def test_what_is_left_to_the_store_can_be_cancelled(qstash: Harness, receiver: Receiver) -> None:
    _narrow(qstash)
    receiver.gate = asyncio.Event()
    await _publish_many(qstash)
    while receiver.in_flight < 2:
        await asyncio.sleep(0)
    answer = await qstash.client.request("DELETE", "/v2/messages", json={"url": "https://example.com/299"})
    assert answer.json() == {"cancelled": 1}
    receiver.gate.set()
    await qstash.settle()
    assert _paths(receiver) == list(range(_MANY - 1))


async def test_retries_of_a_crowd_are_made_once_each(qstash: Harness, receiver: Receiver) -> None:
    _narrow(qstash, 20)
    receiver.answers = [500] * _MANY
    await _publish_many(qstash)
    await qstash.run_until_idle()
    assert len(receiver.got) == 2 * _MANY
    assert sorted(_paths(receiver)) == sorted([*range(_MANY), *range(_MANY)])


async def test_a_crowd_survives_a_restart(tmp_path: Path) -> None:
    db = str(tmp_path / "q.db")
    async with Harness(db=db, now_at=NOW_AT) as qstash:
        _narrow(qstash)
        await _publish_many(qstash, "1h")
    qstash = Harness(db=db, now_at=NOW_AT)
    receiver = Receiver(now=lambda: qstash.now)
    qstash.mount("https://example.com", receiver)
    async with qstash:
        await qstash.settle()
        # As a crash leaves it: everything is read anew, into the small windows.
        _narrow(qstash)
        qstash.runtime.broker.state.pending.timeline.start_cold((0, 0))
        await qstash.advance("1h")
        assert sorted(_paths(receiver)) == list(range(_MANY))
