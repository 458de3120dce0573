"""Flow-control keys that nobody needs leave memory, and nobody can tell: limits, pins, pauses and periods hold."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.broker.dispatch_lanes import Lanes
from emulator.broker.resources import FlowKey
from emulator.http.flow_keys import object_at_rest
from emulator.http.wire_objects import flow_view
from emulator.store.queries import StoredFlowKey
from emulator.testing import Harness, Receiver
from tests.conftest import NOW_AT

_URL = "https://example.com/take"
_PERIOD = "rate=1, period=1h"


async def _publish(qstash: Harness, key: str, limits: str, **headers: str) -> None:
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    flow = {"Upstash-Flow-Control-Key": key, "Upstash-Flow-Control-Value": limits}
    answer = await qstash.client.post(f"/v2/publish/{_URL}", headers={**flow, **lines})
    assert answer.status_code == 201, answer.text


async def _meet_others(qstash: Harness, count: int) -> None:
    """Keys that come once each, and are over: as they come, others that are at rest go."""
    for number in range(count):
        await _publish(qstash, f"other-{number:04}", "parallelism=3")
        await qstash.settle()
        await qstash.advance("1s")


def _in_memory(qstash: Harness) -> set[str]:
    return {lane.flow_key.key for lane in qstash.runtime.broker.state.lanes.flow_lanes()}


async def _found(qstash: Harness, key: str) -> dict[str, Any]:
    answer = await qstash.client.get(f"/v2/flowControl/{key}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_keys_at_rest_leave_memory_and_are_all_listed(qstash: Harness, receiver: Receiver) -> None:
    await _meet_others(qstash, 50)
    assert len(receiver.got) == 50
    assert len(_in_memory(qstash)) <= 2
    listed = (await qstash.client.get("/v2/flowControl")).json()
    assert [one["flowControlKey"] for one in listed] == [f"other-{number:04}" for number in range(50)]
    assert {one["parallelismMax"] for one in listed} == {3}
    searched = (await qstash.client.get("/v2/flowControl?search=-004")).json()
    assert [one["flowControlKey"] for one in searched] == [f"other-{number:04}" for number in range(40, 50)]
    assert (await _found(qstash, "other-0000"))["parallelismMax"] == 3
    assert (await qstash.client.get("/v2/flowControl/unknown")).status_code == 404


@given(
    key=st.text(st.characters(codec="utf-8"), min_size=1),
    limits=st.tuples(*[st.none() | st.integers(1, 10**9)] * 2),
    flags=st.tuples(*[st.booleans()] * 3),
    count=st.integers(0, 10**9),
    seconds=st.integers(1, 604_800),
    began_ago=st.integers(-(10**9), 10**9),
)
def test_an_object_in_the_list_says_what_the_key_alone_says(
    key: str,
    limits: tuple[int | None, int | None],
    flags: tuple[bool, bool, bool],
    count: int,
    seconds: int,
    began_ago: int,
) -> None:
    start_at = NOW_AT - began_ago
    stored = StoredFlowKey(key, *limits, seconds, *flags, count, start_at)
    alone = flow_view(FlowKey(**stored._asdict(), used_at=start_at), NOW_AT)
    assert json.loads(object_at_rest(stored, NOW_AT)) == alone


async def test_keys_of_every_kind_are_listed_as_each_is_found(qstash: Harness, receiver: Receiver) -> None:
    for key, limits in (
        ('a/b \u00fc"\\', "parallelism=3"),
        ("open", _PERIOD),
        ("pinned", "rate=9, period=2m"),
    ):
        await _publish(qstash, quote(key), limits)
    await qstash.client.post("/v2/flowControl/pinned/pin?parallelism=4")
    await qstash.client.post("/v2/flowControl/paused/pause")
    await qstash.settle()
    listed = (await qstash.client.get("/v2/flowControl")).json()
    assert len(listed) == 4
    for one in listed:
        assert await _found(qstash, quote(one["flowControlKey"], safe="")) == one


async def test_the_dashboard_shows_the_keys_in_use_before_many_at_rest(
    qstash: Harness, receiver: Receiver
) -> None:
    await _meet_others(qstash, 510)
    await _publish(qstash, "z-stripe", _PERIOD)
    await qstash.settle()
    shown = (await qstash.client.get("/emulator/queues")).json()
    keys = [one["flowControlKey"] for one in shown["flowControls"]]
    assert (len(keys), keys[-1], keys == sorted(keys), shown["hasMoreKeys"]) == (500, "z-stripe", True, True)
    assert len(receiver.got) == 511


async def test_a_key_stays_as_long_as_its_period(qstash: Harness, receiver: Receiver) -> None:
    await _publish(qstash, "stripe", _PERIOD)
    await _meet_others(qstash, 20)
    assert "stripe" in _in_memory(qstash)
    await _publish(qstash, "stripe", _PERIOD)
    await qstash.settle()
    assert (await _found(qstash, "stripe"))["waitListSize"] == 1
    await qstash.advance("1h")
    assert [one.at - NOW_AT for one in receiver.got if one.at >= NOW_AT + 3_600_000] == [3_600_000]


@pytest.mark.parametrize("is_restarted", [False, True], ids=["running", "started again"])
async def test_a_key_stays_as_long_as_a_message_of_it_is_not_finished(is_restarted: bool) -> None:
    """Longer than keys are kept that nobody uses."""
    async with Harness(now_at=NOW_AT, keep_messages_hours=24) as qstash:
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount("https://example.com", receiver)
        for _ in range(2):
            await _publish(qstash, "stripe", _PERIOD, Upstash_Delay="30d")
        await _meet_others(qstash, 20)
        if is_restarted:
            await qstash.runtime.crash()
        assert "stripe" in _in_memory(qstash)
        receiver.got.clear()
        await qstash.advance("30d")
        assert len(receiver.got) == 1
        await qstash.advance("1h")
        assert len(receiver.got) == 2
        # Nobody has used the others for a day.
        listed = (await qstash.client.get("/v2/flowControl")).json()
        assert [one["flowControlKey"] for one in listed] == ["stripe"]


async def test_what_its_owner_sets_holds_for_a_key_at_rest(qstash: Harness, receiver: Receiver) -> None:
    await _publish(qstash, "stripe", "parallelism=2, rate=5, period=10s")
    await qstash.advance("10s")
    await _meet_others(qstash, 5)
    assert "stripe" not in _in_memory(qstash)
    await qstash.client.post("/v2/flowControl/stripe/pause")
    paused = await _found(qstash, "stripe")
    assert (paused["isPaused"], paused["parallelismMax"], paused["rateMax"], paused["ratePeriod"]) == (
        True, 2, 5, 10,
    )  # fmt: skip
    await _meet_others(qstash, 5)
    await qstash.runtime.crash()
    before = len(receiver.got)
    await _publish(qstash, "stripe", "parallelism=2")
    await qstash.settle()
    assert (len(receiver.got), (await _found(qstash, "stripe"))["waitListSize"]) == (before, 1)
    await qstash.client.post("/v2/flowControl/stripe/resume")
    await qstash.settle()
    assert len(receiver.got) == before + 1


@pytest.mark.usefixtures("receiver")
async def test_a_pinned_key_stays_and_an_unpinned_one_goes(qstash: Harness) -> None:
    await _publish(qstash, "stripe", "parallelism=2")
    await qstash.settle()
    await _meet_others(qstash, 5)
    await qstash.client.post("/v2/flowControl/stripe/pin?parallelism=7")
    await _meet_others(qstash, 5)
    await qstash.runtime.crash()
    await _publish(qstash, "stripe", "parallelism=2")
    await qstash.settle()
    assert (await _found(qstash, "stripe"))["parallelismMax"] == 7
    await qstash.client.post("/v2/flowControl/stripe/unpin?parallelism=true")
    await _meet_others(qstash, 5)
    assert "stripe" not in _in_memory(qstash)
    assert (await _found(qstash, "stripe"))["parallelismMax"] == 7
    await _publish(qstash, "stripe", "parallelism=2")
    assert (await _found(qstash, "stripe"))["parallelismMax"] == 2


@pytest.mark.parametrize("others", [0, 5], ids=["in memory", "at rest"])
async def test_a_period_that_is_over_does_not_count_for_longer_ones(
    qstash: Harness, receiver: Receiver, others: int
) -> None:
    """A window begins with the first attempt after the one before has ended (contract 5.2)."""
    await _publish(qstash, "stripe", "rate=1, period=1s")
    await qstash.advance("1s")
    await _meet_others(qstash, others)
    before = len(receiver.got)
    for _ in range(2):
        await _publish(qstash, "stripe", _PERIOD)
    await qstash.settle()
    assert len(receiver.got) == before + 1


# The same with all keys in memory for ever


@dataclass(frozen=True)
class Step:
    """Something that happens: what, to which key, with which value."""

    what: str
    key: str
    value: str


_KEYS = st.sampled_from(["a", "b", "c", "d"])
_STEPS = st.one_of(
    st.builds(
        Step,
        st.just("publish"),
        _KEYS,
        st.sampled_from(["parallelism=1", "rate=1, period=20s", "rate=2, period=1s", "rate=1, period=1h"]),
    ),
    st.builds(Step, st.just("delay"), _KEYS, st.sampled_from(["5s", "1m", "2h"])),
    st.builds(Step, st.just("advance"), st.just(""), st.sampled_from(["1s", "10s", "1m", "1h"])),
    st.builds(
        Step,
        st.just("own"),
        _KEYS,
        st.sampled_from(
            [
                "pause",
                "resume",
                "pin?rate=1&period=30",
                "unpin?rate=true",
                "resetRate",
                "reset",
                "pin?parallelism=1",
            ]
        ),
    ),
    st.builds(Step, st.just("cancel"), _KEYS, st.just("")),
    st.builds(Step, st.just("crash"), st.just(""), st.just("")),
)


async def _play(steps: list[Step]) -> tuple[list[tuple[str, int]], Any]:
    """Play the steps. Return the deliveries with their times, and the keys at the end."""
    async with Harness(now_at=NOW_AT, seed=1) as qstash:
        receiver = Receiver(now=lambda: qstash.now)
        qstash.mount("https://example.com", receiver)
        for step in steps:
            await _do(qstash, step)
            await qstash.settle()
        listed = (await qstash.client.get("/v2/flowControl")).json()
        got = [(one.headers["upstash-flow-control-key"], one.at) for one in receiver.got]
        return got, listed


async def _do(qstash: Harness, step: Step) -> None:
    match step.what:
        case "publish":
            await _publish(qstash, step.key, step.value)
        case "delay":
            await _publish(qstash, step.key, "rate=1, period=20s", Upstash_Delay=step.value)
        case "advance":
            await qstash.advance(step.value)
        case "own":
            await qstash.client.post(f"/v2/flowControl/{step.key}/{step.value}")
        case "cancel":
            await qstash.client.request("DELETE", f"/v2/messages?flowControlKey={step.key}")
        case _:
            await qstash.runtime.crash()


@given(steps=st.lists(_STEPS, max_size=30))
@settings(max_examples=60)
async def test_nobody_can_tell_whether_keys_at_rest_are_in_memory(steps: list[Step]) -> None:
    got, listed = await _play(steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lanes, "_let_go", lambda _lanes, _now_at: None)
        expected, kept = await _play(steps)
    assert got == expected
    assert listed == kept
